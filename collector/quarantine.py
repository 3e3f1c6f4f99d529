"""Why a record could not be read, and how much of it is kept.

A refused record is never dropped (promise 1): it goes into the same batch as its neighbours, with a reason that
counters can carry and with its first bytes, so that a person can look at it and a later version can read it again. The
bytes are kept as they came; addresses in them are hidden by whoever stores them (promise 9).
"""

from __future__ import annotations

from enum import StrEnum

from mta.events.errors import ParseError
from mta.events.intake import Quarantined

__all__ = ["KEPT_BYTES", "Reason", "refused"]

KEPT_BYTES = 4096
"""How many bytes of a refused record are kept unless the settings say otherwise."""


class Reason(StrEnum):
    """Why a record was refused. Stable words: they are label values and are stored."""

    MALFORMED = "malformed"
    """The bytes are not what the dialect writes, or a field has the wrong type."""
    MISSING_FIELD = "missing-field"
    """A field without which the record says nothing is absent."""
    UNKNOWN_TYPE = "unknown-type"
    """The dialect is understood, this kind of record is not (a newer server?)."""
    UNKNOWN_FORMAT = "unknown-format"
    """No dialect recognises the line."""
    LIMIT = "limit"
    """Longer, deeper or more numerous than a limit allows."""
    TRUNCATED = "truncated"
    """The source ended inside the record."""
    DAMAGED = "damaged"
    """The compressed stream is corrupt; nothing behind this point can be read."""


def refused(source: str, offset: int, raw: bytes, error: ParseError, *, keep: int = KEPT_BYTES) -> Quarantined:
    """The quarantine entry for a record that a parser refused with `error`; at most `keep` bytes of `raw` are kept."""
    return Quarantined(source, offset, error.reason, str(error), raw[:keep], len(raw))
