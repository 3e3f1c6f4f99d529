"""The suppression list as the MTA reads it: one file, made by the owner of the store, mapped by every worker.

It holds no address. A recipient is known by its 64-bit pseudonym under the recipient key of an epoch, folded with the
tenant that the entry is for. Layout, little endian:

    4,096 bytes     a JSON object (version, count, epochs, reasons, CRC-32 of the rest), filled up with blanks
    65,537 x 4      fan-out: how many keys have their first 16 bits below n (as in a git pack index)
    count x 8       keys, ascending
    count x 4       seconds since 1970 at which the entry ends; 4,294,967,295: never
    count x 1       number of the reason

A look-up reads two numbers of the fan-out and halves what lies between them: about 15 keys of a million, so the work
does not grow with the list. 13 bytes an entry, once for all workers of a machine, because pages of a file are shared.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import Any
from zlib import crc32

import orjson

from mta.events.errors import ParseError
from mta.events.instants import SECOND

__all__ = ["NEVER", "Suppressed", "SuppressionList", "encode", "tenant_key"]

NEVER = 0xFFFF_FFFF
_FORMAT = "mtascope-suppression-1"
_HEAD = 4096
_SPANS = 65_536
_FAN_BYTES = 4 * (_SPANS + 1)
_ENTRY_BYTES = 8 + 4 + 1


def tenant_key(tenant: str) -> int:
    """What a tenant's entries are folded with (exclusive or); 0 for the list of everybody."""
    return int.from_bytes(sha256(b"\x05" + tenant.encode("utf8")).digest()[:8], "big") if tenant else 0


def encode(
    keys: array[int], ends: array[int], reasons: bytes, *, names: Sequence[str], epochs: Sequence[int], version: int
) -> bytes:
    """The file. `keys` ascend; `ends` are seconds, `reasons` numbers of `names`, both in the order of the keys."""
    counts = [0] * (_SPANS + 1)
    for key in keys:
        counts[(key >> 48) + 1] += 1
    body = b"".join((_little(array("I", accumulate(counts))), _little(keys), _little(ends), reasons))
    head = {
        "format": _FORMAT,
        "version": version,
        "count": len(keys),
        "epochs": list(epochs),
        "reasons": list(names),
        "crc32": crc32(body),
    }
    return orjson.dumps(head).ljust(_HEAD - 1) + b"\n" + body


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Why a recipient is not sent to."""

    reason: str
    tenant_only: bool


class SuppressionList:
    """A file that was read (or mapped). ParseError says what is wrong with one that is damaged.

    `epochs` are those of the recipient keys that its entries were made under.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        head = _head(view)
        count = head["count"]
        if len(view) != _HEAD + _FAN_BYTES + count * _ENTRY_BYTES:
            raise ParseError(f"{len(view)} bytes are not what {count} entries need", reason="malformed")
        if crc32(view[_HEAD:]) != head["crc32"]:
            raise ParseError("the checksum does not fit", reason="malformed")
        if sys.byteorder == "big":
            raise ParseError("is read on little-endian machines only", reason="malformed")
        keys = _HEAD + _FAN_BYTES
        self._fan = view[_HEAD:keys].cast("I")
        self._keys = view[keys : keys + 8 * count].cast("Q")
        self._ends = view[keys + 8 * count : keys + 12 * count].cast("I")
        self._reasons = view[keys + 12 * count :]
        self._names: Sequence[str] = head["reasons"]
        self.epochs: Sequence[int] = head["epochs"]
        self.version: int = head["version"]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, hashes: Sequence[int], tenant: str, now: int) -> Suppressed | None:
        """Whether the recipient with these pseudonyms (one an epoch) is suppressed for the tenant, at an instant."""
        for fold in (0, tenant_key(tenant)) if tenant else (0,):
            for pseudonym in hashes:
                reason = self._reason(pseudonym ^ fold, now)
                if reason is not None:
                    return Suppressed(reason, tenant_only=fold != 0)
        return None

    def _reason(self, key: int, now: int) -> str | None:
        span = key >> 48
        end = self._fan[span + 1]
        found = bisect_left(self._keys, key, self._fan[span], end)
        if found == end or self._keys[found] != key or self._ends[found] <= now // SECOND:
            return None
        return self._names[self._reasons[found]]


def _head(view: memoryview) -> Mapping[str, Any]:
    try:
        head = orjson.loads(bytes(view[:_HEAD]))
        known = head["format"] == _FORMAT and isinstance(head["count"], int) and head["count"] >= 0
        if known and all(key in head for key in ("version", "epochs", "reasons", "crc32")):
            found: Mapping[str, Any] = head
            return found
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise ParseError("is no suppression list of this version", reason="malformed")
