"""`mtascope collect`: the collector alone."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict
from pathlib import Path

import click

from collector.follower import Follower
from mta.events.errors import MtascopeError
from mtascope.client import connect
from mtascope.opened_store import open_store
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.report_mailboxes import ReportMailboxes
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(paths: tuple[str, ...], data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Follow log folders and report mailboxes into the store of this data directory, without API and metrics.

    It works until Ctrl-C. The paths come on top of those in the settings. Where an owner of the store runs already,
    it is the one that follows: name the paths in its settings instead.

    Example: mtascope collect /var/log/kumomta
    """
    settings = load_settings(config, data_dir)
    if connect(settings.folder) is not None:
        raise _OwnerRuns(
            "an owner of the store runs already",
            where=str(settings.folder.root),
            remedy="put the paths under [collector] in its settings",
        )
    follow = (*settings.collector.paths, *(str(Path(path).resolve()) for path in paths))
    with open_store(settings) as store:
        follower = Follower(settings.collector.model_copy(update={"paths": follow}), store)
        mailboxes = ReportMailboxes(settings, store, lambda _: {})
        threads = [threading.Thread(target=work, daemon=True) for work in mailboxes.works]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: follower.stop())
        say(f"following {', '.join((*follow, *mailboxes.health)) or 'nothing: name a path'}")
        for thread in threads:
            thread.start()
        follower.run()
        mailboxes.stop()
        for thread in threads:
            thread.join()
        mailboxes.close()
        receipt = follower.receipt
    if as_json:
        emit(asdict(receipt))
    else:
        say(", ".join(f"{name} {value}" for name, value in asdict(receipt).items()))
    return Exit.REFUSED if receipt.quarantined else Exit.DONE


class _OwnerRuns(MtascopeError):
    temporary = True
