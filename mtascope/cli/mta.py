"""`mtascope mta`: one worker of the bundled MTA."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import click

from mta.delivery.suppression import Suppression
from mta.events.provider import OTHER
from mta.events.reply import SmtpReply
from mta.events.return_path import ReturnPaths
from mta.feedback.reader import FeedbackReader
from mta.settings import parse_endpoint
from mta.worker import Worker, WorkerPaths, run
from mtascope.keys import load_keyring
from mtascope.output import data_option, emit, json_option, say
from mtascope.processes import fast_loop
from mtascope.resources import bounce_phrases, classifier_of, provider_map
from mtascope.settings import ClassifySettings, Settings, load_settings

__all__ = ["command"]


@click.command()
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@click.option("--listen", multiple=True, metavar="HOST:PORT", help="Listen here instead of where the settings say.")
@click.option("--worker", type=click.IntRange(min=0), default=0, show_default=True, help="Number of this worker.")
@json_option
def command(data_dir: str | None, config: str | None, listen: tuple[str, ...], worker: int, *, as_json: bool) -> None:
    """Run the bundled MTA until Ctrl-C: accept mail by SMTP, keep it durably, deliver it, log what happened.

    SIGHUP reads settings, users, certificates and shaping files again and ends no connection.

    Example: mtascope mta --data /var/lib/mtascope --listen 127.0.0.1:2525
    """
    settings = _read(config, data_dir, listen)
    settings.folder.create()
    paths = WorkerPaths.under(settings.data, worker)
    pid_file = settings.folder.run / f"mta-{worker}.pid"

    def ready(running: Worker) -> None:
        pid_file.write_text(f"{os.getpid()}\n")
        running.metrics.expect_tls((*provider_map().labelled, OTHER))
        _announce(running, paths, as_json=as_json)

    keyring = load_keyring(settings.folder.keys)
    paths_back = ReturnPaths(keyring, settings.mta.return_path_days)
    reader = FeedbackReader(bounce_phrases(), paths_back, frozenset(path.domain for path in settings.mta.return_paths))
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(
            run(
                settings.mta,
                paths,
                ready=ready,
                feedback=reader,
                provider_label=_provider,
                keyring=keyring,
                suppression=Suppression(settings.folder.suppression, lambda: load_keyring(settings.folder.keys)),
                classify=partial(_bounce_class, settings.classify),
                clock=settings.clock,
                reread=lambda: _read(config, data_dir, listen).mta,
            )
        )
    pid_file.unlink(missing_ok=True)


def _read(config: str | None, data_dir: str | None, listen: tuple[str, ...]) -> Settings:
    settings = load_settings(config, data_dir)
    return _listening(settings, listen) if listen else settings


def _listening(settings: Settings, listen: tuple[str, ...]) -> Settings:
    try:
        endpoints = tuple(parse_endpoint(text) for text in listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    return settings.model_copy(update={"mta": settings.mta.model_copy(update={"listen": endpoints})})


def _announce(worker: Worker, paths: WorkerPaths, *, as_json: bool) -> None:
    found = worker.recovery
    for damage in found.damages:
        say(f"damaged  {damage}")
    say(f"spool    {found.messages} messages waiting, {found.records} log records still to be written")
    for host, port in worker.addresses:
        say(f"smtp     {host}:{port}")
    say(f"control  unix:{paths.control}")
    say("ready")
    if as_json:
        emit(
            {
                "smtp": [list(address) for address in worker.addresses],
                "control": str(paths.control),
                "control_tcp_port": worker.control.tcp_port,
                "log": str(paths.log),
                "recovered_messages": found.messages,
            }
        )


def _provider(domain: str, mx: str | None) -> str:
    providers = provider_map()
    return providers.label(providers.lookup(domain, mx).name)


def _bounce_class(rules: ClassifySettings, reply: SmtpReply, domain: str, mx: str) -> str:
    """For shaping rules that name classes; the rules of replies are read when the first such rule asks."""
    provider = provider_map().lookup(domain, mx).name
    return classifier_of(rules).classify(reply, provider=provider, peer=mx).bounce_class
