"""`mtascope dashboards build`: the Grafana boards as files."""

from __future__ import annotations

from pathlib import Path

import click

from mtascope.output import emit, json_option, say

__all__ = ["command"]


@click.group()
def command() -> None:
    """Grafana boards, generated from code.

    Example: mtascope dashboards build --out /etc/grafana/dashboards
    """


@command.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@json_option
def build(out: Path, *, as_json: bool) -> None:
    """Write one JSON file for each board, for import or provisioning.

    Example: mtascope dashboards build --out ./boards
    """
    from dashboards.build import build_boards

    files = build_boards(out)
    if as_json:
        emit({"files": [str(path) for path in files]})
    else:
        for path in files:
            say(f"wrote {path}")
