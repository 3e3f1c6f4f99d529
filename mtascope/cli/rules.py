"""`mtascope rules build`: Prometheus recording and alert rules as files."""

from __future__ import annotations

from pathlib import Path

import click

from mtascope.output import emit, json_option, say

__all__ = ["command"]


@click.group()
def command() -> None:
    """Prometheus recording and alert rules, generated from code.

    Example: mtascope rules build --out /etc/prometheus/rules
    """


@command.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@click.option(
    "--runbooks", default="docs/runbooks", show_default=True, help="Where the runbook pages are: path or URL."
)
@click.option("--grafana", default="", metavar="URL", help="Grafana's address, to make links to boards complete.")
@json_option
def build(out: Path, runbooks: str, grafana: str, *, as_json: bool) -> None:
    """Write the rule file; name it under rule_files in prometheus.yml.

    Example: mtascope rules build --out ./rules --grafana https://grafana.example.com
    """
    from dashboards.build import build_rules
    from dashboards.rules import Links

    files = build_rules(out, Links(runbooks, grafana))
    if as_json:
        emit({"files": [str(path) for path in files]})
    else:
        for path in files:
            say(f"wrote {path}")
