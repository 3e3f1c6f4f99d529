"""`mtascope ingest`: load files once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from analytics.store import Store
from collector.ingest import ingest_paths
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.owner import ingest_answer
from mtascope.questions import order
from mtascope.settings import Settings, load_settings

__all__ = ["command"]


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--format", "format_name", default="auto", show_default=True, help="The dialect of the logs.")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(
    paths: tuple[str, ...], format_name: str, data_dir: str | None, config: str | None, *, as_json: bool
) -> int:
    """Load log files or folders once; repeating it changes no number.

    Example: mtascope ingest /var/log/kumomta
    """
    settings = load_settings(config, data_dir)
    absolute = [str(Path(path).resolve()) for path in paths]
    answer: dict[str, Any] = order(
        settings,
        "/v1/ingest",
        {"paths": absolute, "format": format_name},
        lambda store: _load(store, settings, absolute, format_name),
    )
    if as_json:
        emit(answer)
    else:
        say(", ".join(f"{name} {value}" for name, value in answer.items()))
    return Exit.REFUSED if answer["quarantined"] else Exit.DONE


def _load(store: Store, settings: Settings, paths: list[str], format_name: str) -> dict[str, Any]:
    began = time.monotonic()
    collector = settings.collector.model_copy(update={"format": format_name})
    receipt, files = ingest_paths(paths, store, collector, _progress if sys.stderr.isatty() else lambda *_: None)
    return ingest_answer(receipt, files, time.monotonic() - began)


def _progress(path: str, files: int, records: int) -> None:
    click.echo(f"\r\x1b[K{files} files, {records} records; reading {path}", err=True, nl=False)
