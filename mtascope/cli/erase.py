"""`mtascope erase`: forget one person."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from analytics.care import erase
from mta.events.errors import SettingsError
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.questions import order
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.argument("recipient")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(recipient: str, data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Make the store forget whose mail it was; what became of the mail stays counted.

    The logs that were read, and the spool, are not the store's: erase or expire those too.

    Example: mtascope erase someone@gmail.com
    """
    if "@" not in recipient:
        raise SettingsError(f"{recipient!r} is no address", where="RECIPIENT")
    answer: dict[str, Any] = order(
        load_settings(config, data_dir),
        "/v1/erase",
        {"recipient": recipient},
        lambda store: asdict(erase(store, recipient)),
    )
    if as_json:
        emit(answer)
    else:
        say(", ".join(f"{name} {count}" for name, count in answer.items()))
    return Exit.DONE if any(answer.values()) else Exit.REFUSED
