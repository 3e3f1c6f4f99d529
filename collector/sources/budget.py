"""How much all connections of a road may hold in memory together (promise 7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from collector.errors import LandingBusy

__all__ = ["Budget", "Reservation"]


class Budget:
    """So many bytes. Used from one event loop."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """What one request takes, given back at its end."""
        mine = Reservation(self)
        try:
            yield mine
        finally:
            self.used -= mine.size


class Reservation:
    """A share of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """Take `size` bytes more. Raises LandingBusy, having taken none, when the budget is spent."""
        if self._budget.used + size > self._budget.size:
            raise LandingBusy(f"{self._budget.used} bytes are being received already")
        self._budget.used += size
        self.size += size
