"""Samples with golden outcomes, and how events are written there."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from collector.formats.outcome import Ignored, LineParser
from mta.events.errors import ParseError
from mta.events.event import Event

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Event)}


def _fields(event: Event) -> dict[str, Any]:
    fields = {name: getattr(event, name) for name, default in _DEFAULTS.items() if getattr(event, name) != default}
    if event.reply:
        enhanced = str(event.reply.enhanced) if event.reply.enhanced else None
        fields["reply"] = dataclasses.asdict(event.reply) | {"enhanced": enhanced}
    return fields


@pytest.fixture(scope="session")
def told():
    """`told(parse, line)`: what a line gives, as the golden files write it."""

    def outcome(parse: LineParser, line: bytes) -> Any:
        try:
            found = parse(line)
        except ParseError as error:
            return {"refused": error.reason}
        return {"ignored": found.kind} if isinstance(found, Ignored) else [_fields(event) for event in found]

    return outcome
