"""How strongly the latest steps speak for a spike: cumulative sums of the log-likelihood ratio.

For each size of rise that is looked for, every step adds how much likelier its bounces are under the raised rate than
under the normal one; a sum that falls below zero starts anew. This is a scan over every window at once: a jump of 60
points shows in one step, one of 5 points in a clumpy series in half an hour, and no window length has to be chosen.
Counts are negative-binomial. Clumping belongs to the mail (rho), not to the rate: at a raised rate the same rho means a
smaller relative scatter, so a rise in *every* step speaks louder than one wild step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["Evidence"]

_WORTH_A_LOOK = 1.2


class Evidence:
    """Of one series, in nats, for each of `lifts`."""

    __slots__ = ("_lifts", "_scores", "_since")

    def __init__(self, lifts: Sequence[float]) -> None:
        self._lifts = tuple(lifts)
        self._scores = [0.0] * len(self._lifts)
        self._since = [0] * len(self._lifts)

    def forget(self) -> None:
        """Start anew."""
        self._scores = [0.0] * len(self._lifts)

    def add(
        self, step: int, sent: int, bounced: int, normal: float, clumping: float, least: float, redundancy: float
    ) -> None:
        """One step: `normal` rate, `clumping` (coefficient of the squared mean); lifts below `least` are left out.

        Where clumps outlast a step, `redundancy` steps are worth one.
        """
        mean = sent * normal
        if not sent or (bounced <= _WORTH_A_LOOK * mean and not any(self._scores)):
            return
        size = 1.0 / clumping
        base = _log_likelihood(bounced, mean, size)
        for index, lift in enumerate(self._lifts):
            if lift < least:
                self._scores[index] = 0.0
                continue
            if not self._scores[index]:
                self._since[index] = step
            raised = normal + lift
            gain = _log_likelihood(bounced, sent * raised, size * raised / normal) - base
            self._scores[index] = max(0.0, self._scores[index] + gain / redundancy)

    def strongest(self) -> tuple[float, int]:
        """The largest sum, and the step at which it began."""
        score = max(self._scores)
        return score, self._since[self._scores.index(score)]

    def state(self) -> list[list[float]]:
        """The sums so far, for `restore`."""
        return [self._scores, [float(step) for step in self._since]]

    def restore(self, state: Sequence[Sequence[float]]) -> None:
        """Go on with the sums that `state` told."""
        self._scores, self._since = list(state[0]), [int(step) for step in state[1]]


def _log_likelihood(count: int, mean: float, size: float) -> float:
    """Of a negative-binomial count, without the term that depends on the count alone."""
    likelihood = math.lgamma(count + size) - math.lgamma(size) - size * math.log1p(mean / size)
    return likelihood + count * math.log(mean / (size + mean)) if count else likelihood
