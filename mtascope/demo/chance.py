"""Chance that can be repeated: a draw is a function of what it is about, never of order or time.

Everything random in the demo comes from here. Two runs with one seed give the same mail the same fate, whichever
connection carried it first, and a restart changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from hashlib import blake2b
from itertools import accumulate
from typing import Generic, TypeVar

__all__ = ["Wheel", "draw", "token"]

Item = TypeVar("Item")


def draw(*parts: object) -> float:
    """A number in [0, 1), evenly spread, always the same for the same parts."""
    return (int.from_bytes(_digest(parts), "big") >> 11) / 2**53


def token(*parts: object) -> str:
    """Sixteen hex digits by the same rule: an identifier that looks random and is not."""
    return _digest(parts).hex()


def _digest(parts: tuple[object, ...]) -> bytes:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()


class Wheel(Generic[Item]):
    """A wheel of fortune: each item owns a slice as wide as its weight."""

    def __init__(self, items: Iterable[tuple[Item, float]]) -> None:
        pairs = list(items)
        self._items = [item for item, _ in pairs]
        self._edges = list(accumulate(weight for _, weight in pairs))

    def at(self, where: float) -> Item:
        """The item at `where` in [0, 1) of the way round."""
        index = bisect_right(self._edges, where * self._edges[-1])
        return self._items[min(index, len(self._items) - 1)]
