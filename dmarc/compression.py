"""Compressed streams, unpacked in pieces that are measured before they are passed on. What is cut gives what it can."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from dmarc.deviation import Deviation, Deviations
from dmarc.errors import DamagedReport
from dmarc.limits import Limits
from mta.events.errors import LimitExceeded

__all__ = ["STEP", "Budget", "Meter", "bunzip2", "gunzip", "unxz"]

STEP = 64 * 1024
"""Bytes that come out at a time."""
_XZ_MEMORY = 80 * 1024 * 1024
"""Bytes that an xz stream may want; its strongest ordinary setting wants 65 MB."""

_Machine = bz2.BZ2Decompressor | lzma.LZMADecompressor


@dataclass(slots=True)
class Budget:
    """Bytes that may still come out of one input."""

    left: int

    def spend(self, amount: int) -> None:
        """So many have come out; LimitExceeded where that is too many."""
        self.left -= amount
        if self.left < 0:
            raise LimitExceeded("unpacks to more than one input may hold")


class Meter:
    """Watches what comes out of one compressed stream; `packed` is what has gone in."""

    def __init__(self, limits: Limits, budget: Budget, deviations: Deviations, packed: int = 0) -> None:
        self.deviations = deviations
        self.packed = packed
        self.unpacked = 0
        self._limits = limits
        self._budget = budget

    def passed(self, out: bytes) -> bytes:
        """`out`, once it is known to be within the limits."""
        limits = self._limits
        self.unpacked += len(out)
        if self.unpacked > limits.ratio_from and self.unpacked > limits.ratio * max(self.packed, 1):
            raise LimitExceeded(f"unpacks to more than {limits.ratio} times its size: a bomb")
        self._budget.spend(len(out))
        return out

    def damaged(self, error: Exception) -> Iterator[bytes]:
        """Keep what came out before the damage; nothing came out: say so."""
        if not self.unpacked:
            raise DamagedReport(f"damaged compression: {error}", reason="damaged") from error
        self.deviations.note(Deviation.CONTAINER_CUT)
        yield from ()


def gunzip(chunks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    """What every member of a gzip stream holds (RFC 1952 section 2.2 allows several). A cut is noted, not raised.

    A stream of zlib's, which some take for gzip, is understood too.
    """
    inflater: zlib._Decompress | None = None
    for chunk in chunks:
        data = chunk
        while data:
            if inflater is None:
                data = data.lstrip(b"\0")
                if not data:
                    break
                if meter.packed and not data.startswith(b"\x1f"):
                    meter.deviations.note(Deviation.CONTAINER_TRAILING_BYTES)
                    return
                inflater = zlib.decompressobj(wbits=47)
            before, standing = len(data), inflater.copy()
            try:
                out = inflater.decompress(data, STEP)
            except zlib.error as error:
                yield from map(meter.passed, _last_words(standing, data))
                yield from meter.damaged(error)
                return
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            meter.packed += before - len(data)
            if out:
                yield meter.passed(out)
            if inflater.eof:
                inflater = None
    if inflater is not None:
        yield from meter.damaged(EOFError("the stream ends early"))


def bunzip2(chunks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    """What a bzip2 stream holds. A cut is noted, not raised."""
    return _decompressed(chunks, bz2.BZ2Decompressor(), meter)


def unxz(chunks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    """What an xz stream holds. A cut is noted, not raised."""
    return _decompressed(chunks, lzma.LZMADecompressor(memlimit=_XZ_MEMORY), meter)


def _decompressed(chunks: Iterator[bytes], machine: _Machine, meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        meter.packed += len(chunk)
        data = chunk
        while not machine.eof and (data or not machine.needs_input):
            try:
                out = machine.decompress(data, STEP)
            except (OSError, ValueError, lzma.LZMAError, MemoryError) as error:
                yield from meter.damaged(error)
                return
            data = b""
            if out:
                yield meter.passed(out)
        if machine.eof:
            if machine.unused_data:
                meter.deviations.note(Deviation.CONTAINER_TRAILING_BYTES)
            return
    yield from meter.damaged(EOFError("the stream ends early"))


def _last_words(inflater: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What comes out before the byte at which a stream is damaged; the library drops it with the error."""
    for byte in data:
        try:
            out = inflater.decompress(bytes((byte,)))
        except zlib.error:
            return
        if out:
            yield out
