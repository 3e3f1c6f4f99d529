"""Since which minute: the most likely instant at which a rate rose, from counts by the minute. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["changed_at"]

_PSEUDO = 0.5


def changed_at(minutes: Sequence[tuple[int, int, int]]) -> int | None:
    """The minute that best parts (minute, counted, bad), in order, into a low and a high rate; None without a rise.

    Maximises the likelihood of two binomial rates, the later one higher, over every place to cut.
    """
    total, total_bad = sum(row[1] for row in minutes), sum(row[2] for row in minutes)
    best, found = 0.0, None
    whole = _likelihood(total, total_bad)
    sent = bad = 0
    for minute, counted, went_bad in minutes:
        after, after_bad = total - sent, total_bad - bad
        if sent and bad * after < after_bad * sent:
            gain = _likelihood(sent, bad) + _likelihood(after, after_bad) - whole
            if gain > best:
                best, found = gain, minute
        sent, bad = sent + counted, bad + went_bad
    return found


def _likelihood(counted: int, bad: int) -> float:
    rate = (bad + _PSEUDO) / (counted + 2 * _PSEUDO)
    return bad * math.log(rate) + (counted - bad) * math.log1p(-rate)
