"""Writes what Grafana and Prometheus read. Output depends on the code alone, so building again changes no file."""

from __future__ import annotations

from pathlib import Path

from dashboards.alerts import GROUPS
from dashboards.boards import BOARDS
from dashboards.rules import Links, as_yaml

__all__ = ["RULE_FILE", "build_boards", "build_rules"]

RULE_FILE = "mtascope.yaml"


def build_boards(out: Path) -> list[Path]:
    """Write one JSON file for each board into the folder, which is made if absent; answers the files."""
    return [_written(out / board.filename, board.as_json()) for board in BOARDS]


def build_rules(out: Path, links: Links | None = None) -> list[Path]:
    """Write the rule file into the folder, which is made if absent; answers it."""
    return [_written(out / RULE_FILE, as_yaml(GROUPS, links))]


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
