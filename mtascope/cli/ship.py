"""`mtascope ship`: follow logs on this machine and send them to a collector on another."""

from __future__ import annotations

import signal
import ssl
import threading
from pathlib import Path
from typing import Any

import click
import httpx

from collector.errors import LandingFailed
from collector.landing import Landing
from collector.settings import CollectorSettings
from collector.shipper import Gatherer, Progress, Sender, buffer_limits
from mta.events.errors import SettingsError
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.settings import load_settings

__all__ = ["command"]

_LOOK_EVERY_S = 0.5
_PATIENCE_S = 30.0


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--to", "url", required=True, metavar="URL", help="The collector's address: [collector.http] there.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False), help="Holds the collector's token.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Whom to trust, if not the system's list.")
@click.option("--cert", type=click.Path(exists=True, dir_okay=False), help="Client certificate (PEM).")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Its key (PEM).")
@click.option("--name", default=None, help="This machine's name in the records (default: its host name).")
@click.option(
    "--buffer", "megabytes", type=click.IntRange(1), default=1024, show_default=True, help="Disk buffer, MiB."
)
@click.option("--once", is_flag=True, help="Send what is there now, and end.")
@data_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - each is an option that somebody needs
    paths: tuple[str, ...], url: str, token_file: str | None, ca: str | None, cert: str | None, key: str | None,
    name: str | None, megabytes: int, data_dir: str | None, *, once: bool, as_json: bool,
) -> int:  # fmt: skip
    """Follow logs here and send each line to a collector, until Ctrl-C.

    What is new is written to a buffer under the data directory first, and deleted when the collector has it. zstd
    segments are sent too.

    Example: mtascope ship --to https://collector.example:8081 --token-file /etc/mtascope/token /var/log/kumomta
    """
    folder = load_settings(None, data_dir).folder.root / "ship"
    buffer = Landing(folder / "buffer", buffer_limits(megabytes << 20))
    buffer.open()
    absolute = tuple(str(Path(path).resolve()) for path in paths)
    settings = CollectorSettings.model_validate({"paths": absolute} | ({"node": name} if name else {}))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    gatherer = Gatherer(settings, buffer, Progress(folder / "gathered.json"))
    with _client(url, token_file, ca, cert, key) as client:
        sender = Sender(
            buffer.folder, Progress(folder / "sent.json"), client, stop, _PATIENCE_S if once else float("inf")
        )
        if once:
            _once(gatherer, buffer, sender, stop)
        else:
            _follow(gatherer, buffer, sender, stop)
    gatherer.close()
    answer = {"gathered": gatherer.records, "sent": sender.records, "trouble": sender.trouble or None}
    emit(answer) if as_json else say(", ".join(f"{word} {value}" for word, value in answer.items()))
    return Exit.MISSING if once and sender.trouble else Exit.DONE


def _follow(gatherer: Gatherer, buffer: Landing, sender: Sender, stop: threading.Event) -> None:
    """Gather in this thread and send in another, until told to stop."""
    sending = threading.Thread(target=sender.run, name="sender")
    sending.start()
    known: set[str] = set()
    try:
        while not stop.is_set():
            try:
                more = gatherer.step()
            except LandingFailed:
                more = False  # the buffer is full: the logs wait for us
            errors = {str(error) for error in gatherer.errors}
            for error in errors - known:
                say(error)
            known = errors
            if not more:
                stop.wait(_LOOK_EVERY_S)
    finally:
        stop.set()
        buffer.close()
        sending.join()


def _once(gatherer: Gatherer, buffer: Landing, sender: Sender, stop: threading.Event) -> None:
    """Gather and send by turns until there is nothing left."""
    more = True
    while more and not stop.is_set():
        try:
            more = gatherer.step()
        except LandingFailed:
            sender.step()
    buffer.close()
    while sender.step():
        pass


def _client(url: str, token_file: str | None, ca: str | None, cert: str | None, key: str | None) -> httpx.Client:
    headers = {"User-Agent": "mtascope-ship"}
    if token_file is not None:
        headers["Authorization"] = f"Bearer {Path(token_file).read_text('utf8').strip()}"
    if not url.startswith(("http://", "https://")):
        raise SettingsError("no http:// or https:// address", where="--to")
    options: dict[str, Any] = {}
    if url.startswith("https://"):
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
        options["verify"] = context
    return httpx.Client(base_url=url, headers=headers, timeout=60.0, **options)
