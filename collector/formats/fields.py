"""Typed access to the fields of a JSON record, for every dialect that writes one.

A field is absent (or null, which is the same), of the right type, or the record is refused: the error names the field
and the type that was found, never the value, which may be a person's. `within` is the path of the object that is looked
into, with its final dot, if that is not the record itself.
"""

from __future__ import annotations

from typing import Any

from collector.quarantine import Reason
from mta.events.errors import ParseError

__all__ = ["first_text", "kind_of", "mapping", "missing", "number", "text", "texts", "wrong"]

_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "a boolean", list: "an array", dict: "an object"}
_EMPTY: dict[str, Any] = {}


def text(record: dict[str, Any], key: str, within: str = "") -> str | None:
    """A string."""
    value = record.get(key)
    if value is None or type(value) is str:
        return value
    raise wrong(within + key, "a string", value)


def number(record: dict[str, Any], key: str, below: int, within: str = "") -> int | None:
    """An integer from 0 up to, not including, `below`; true and false are none."""
    value = record.get(key)
    if value is None:
        return None
    if type(value) is not int:
        raise wrong(within + key, "an integer", value)
    if not 0 <= value < below:
        raise ParseError(f"{value} is out of range", reason=Reason.MALFORMED, where=within + key)
    return value


def mapping(record: dict[str, Any], key: str) -> dict[str, Any]:
    """An object; an absent one is empty. Do not change it."""
    value = record.get(key)
    if value is None:
        return _EMPTY
    if type(value) is not dict:
        raise wrong(key, "an object", value)
    return value


def texts(value: Any, where: str) -> list[str]:
    """A string or an array of them, as a list."""
    if value is None:
        return []
    if type(value) is str:
        return [value]
    if type(value) is list and all(type(one) is str for one in value):
        return value
    raise wrong(where, "a string or an array of strings", value)


def first_text(value: Any, where: str) -> str | None:
    """The first of `texts`."""
    found = texts(value, where)
    return found[0] if found else None


def missing(field: str) -> ParseError:
    """Without this field nothing is left to count."""
    return ParseError("missing or empty", reason=Reason.MISSING_FIELD, where=field)


def wrong(field: str, expected: str, value: Any) -> ParseError:
    """The field holds something else than the dialect writes there."""
    return ParseError(f"{expected} expected, not {kind_of(value)}", reason=Reason.MALFORMED, where=field)


def kind_of(value: Any) -> str:
    """What JSON calls a value of this type, in words."""
    return _KINDS.get(type(value), "null")
