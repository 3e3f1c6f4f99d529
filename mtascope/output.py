"""What commands print: JSON for programs on standard output, messages for people on standard error, exit codes."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any

import click
import orjson

from mta.events.instants import DAY, HOUR, MINUTE, SECOND

__all__ = ["Duration", "Exit", "data_option", "emit", "json_option", "say"]


class Exit(IntEnum):
    """Exit codes of every command (`docs/commands.md`)."""

    DONE = 0
    REFUSED = 1
    """Done, with something refused or quarantined."""
    USAGE = 2
    """Wrong usage or settings."""
    MISSING = 3
    """A needed service or file is missing."""


def emit(value: Any) -> None:
    """One JSON document, one line, on standard output."""
    click.echo(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode())


def say(message: str) -> None:
    """A message for people, on standard error."""
    click.echo(message, err=True)


class Duration(click.ParamType[int]):
    """`30s`, `5m`, `2h`, `1d` or plain seconds; the value is in microseconds."""

    name = "duration"
    _UNITS = {"": SECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Microseconds; refuses what it cannot read, naming it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value).strip())
        if not found:
            self.fail(f"{value!r} is no duration: write 30s, 5m, 2h or 1d", param, ctx)
        return int(float(found[1]) * self._UNITS[found[2]])


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
data_option = click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False),
    default=None,
    help="Data directory (default: from the settings, else ./var).",
)
