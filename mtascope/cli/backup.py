"""`mtascope backup`: store and keys in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mtascope.output import data_option, emit, json_option, say
from mtascope.owner import backup_answer
from mtascope.questions import order
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(file: str, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Write the store and the keys to one file, while the suite runs or while it does not.

    The file holds keys: keep it as you keep them. The MTA's spool and log are not in it.

    Example: mtascope backup /backup/mtascope-2026-01-31.tar
    """
    settings, path = load_settings(config, data_dir), str(Path(file).resolve())
    answer: dict[str, Any] = order(
        settings, "/v1/backup", {"path": path}, lambda store: backup_answer(store, path, settings)
    )
    if as_json:
        emit(answer)
    else:
        say(f"{answer['path']}: {answer['bytes'] / 1e6:.1f} MB, {len(answer['files'])} files")
