"""The store from the command line: through its live owner, or by opening the file when nobody owns it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from mta.events.errors import SettingsError
from mta.events.instants import parse_instant
from mtascope.client import connect
from mtascope.output import Duration

if TYPE_CHECKING:  # not loaded where an owner answers
    from analytics.store import Store
    from mtascope.settings import Settings

__all__ = ["answer", "instant", "order"]


def answer(
    settings: Settings,
    url: str,
    parameters: Mapping[str, Any],
    ask: Callable[[Store], Any],
    *,
    timeout: float | None = 30.0,
) -> Any:
    """The owner's answer to `GET url`, or `ask` of the store where there is no owner; both give the same JSON."""
    owner = connect(settings.folder, timeout)
    return owner.get(url, parameters) if owner is not None else _alone(settings, ask)


def order(settings: Settings, url: str, body: Any, act: Callable[[Store], Any]) -> Any:
    """The owner's answer to `POST url`, however long it takes, or what `act` does with the store itself."""
    owner = connect(settings.folder, timeout=None)
    return owner.post(url, body) if owner is not None else _alone(settings, act)


def _alone(settings: Settings, act: Callable[[Store], Any]) -> Any:
    from mtascope.opened_store import open_store

    with open_store(settings) as store:
        return act(store)


def instant(option: str, text: str | None) -> int | None:
    """An instant in RFC 3339, or how long ago it was: `24h`."""
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        pass
    try:
        return time.time_ns() // 1000 - Duration().convert(text, None, None)
    except click.BadParameter as error:
        raise SettingsError(f"{text!r} is no time", where=option, remedy="write 2026-01-31T12:00:00Z or 24h") from error
