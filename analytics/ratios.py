"""A ratio that can be trusted: numerator, denominator, Wilson interval, and a verdict only where there is volume.

Promise 6 and rules 4 and 5 of METRICS.md: below its floor a ratio is shown without colour and raises no alert.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

from mta.events.frozen import quickly_built

__all__ = ["Ratio", "Threshold", "Verdict", "floor_of", "ratio", "wilson"]

Verdict = Literal["good", "warning", "bad", "insufficient", "no_data"]

_Z = 1.959964
"""The normal quantile of a two-sided 95 % interval."""
_MIN_EVENTS = 5
"""A bad verdict needs at least this many events (METRICS.md rule 4)."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where a ratio stops being good. `bad` lies beyond `warning`: above it, or below it where `low_is_bad`."""

    warning: float
    bad: float
    low_is_bad: bool = False


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`num / den` with the 95 % interval [`low`, `high`]; all None but the counts where there is nothing to divide.

    `num` is None where the question has no answer (complaints at a provider that runs no loop): "no data", never zero.
    `phi` is by how much the variance was widened because failures come in clumps (analytics/dispersion.py).
    """

    num: int | None
    den: int
    value: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    phi: float = 1.0


def wilson(num: int, den: int, phi: float = 1.0) -> tuple[float, float]:
    """The Wilson score interval at 95 % for `num` of `den`, `den` > 0; exactly 0 and 1 at its ends.

    A variance that is `phi` times that of as many coins is that of `den / phi` coins.
    """
    share, z2, coins = num / den, _Z * _Z, den / phi
    centre = (share + z2 / (2 * coins)) / (1 + z2 / coins)
    spread = _Z * math.sqrt(share * (1 - share) / coins + z2 / (4 * coins * coins)) / (1 + z2 / coins)
    return (max(0.0, centre - spread) if num else 0.0, min(1.0, centre + spread) if num < den else 1.0)


@cache
def floor_of(threshold: Threshold) -> int:
    """The smallest denominator at which one single event cannot cross the warning line."""
    margin = 1 - threshold.warning if threshold.low_is_bad else threshold.warning
    return math.ceil(round(1 / margin, 9))


def ratio(num: int | None, den: int, threshold: Threshold | None, phi: float = 1.0) -> Ratio:
    """The ratio with its interval and verdict; without a threshold it is never judged, only shown."""
    if num is None or den <= 0:
        return Ratio(num=num, den=den, value=None, low=None, high=None, verdict="no_data")
    low, high = wilson(min(max(num, 0), den), den, phi)
    verdict = _verdict(num, den, threshold)
    return Ratio(num=num, den=den, value=num / den, low=low, high=high, verdict=verdict, phi=phi)


def _verdict(num: int, den: int, threshold: Threshold | None) -> Verdict:
    if threshold is None or den < floor_of(threshold):
        return "insufficient"
    value = num / den
    faults = den - num if threshold.low_is_bad else num
    if not _beyond(value, threshold.warning, threshold):
        return "good"
    if faults < _MIN_EVENTS:
        return "insufficient"
    return "bad" if _beyond(value, threshold.bad, threshold) else "warning"


def _beyond(value: float, line: float, threshold: Threshold) -> bool:
    return value < line if threshold.low_is_bad else value >= line
