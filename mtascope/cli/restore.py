"""`mtascope restore`: a backup comes back."""

from __future__ import annotations

from pathlib import Path

import click

from analytics.care import restore
from analytics.parts import PART_NAME, Parts
from mta.events.errors import SettingsError
from mtascope.output import data_option, emit, json_option, say
from mtascope.settings import DataFolder, load_settings

__all__ = ["command"]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(file: str, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Bring a backup back into a data directory that has no store yet. Every file is checked first.

    Example: mtascope restore /backup/mtascope-2026-01-31.tar --data /var/lib/mtascope
    """
    archive = Path(file)
    if not archive.exists():
        raise SettingsError("no such file", where=file)
    folder = load_settings(config, data_dir).folder
    files = restore(archive, lambda name: _place(folder, name))
    if as_json:
        emit({"data": str(folder.root), "files": files})
    else:
        say(f"restored into {folder.root}: {len(files)} files")


def _place(folder: DataFolder, name: str) -> Path:
    places = {"store.duckdb": folder.store, "keys.json": folder.keys}
    part = name.removeprefix("parts/")
    if part != name and PART_NAME.fullmatch(part):
        return Parts(folder.store).path(part)
    if name not in places:
        raise SettingsError(f"the backup holds {name!r}, which this version does not know")
    return places[name]
