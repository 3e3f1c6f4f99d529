"""How much more than chance the bounces of a series scatter, learnt from the series itself and from its neighbours.

Bounces come in clumps: beside chance (Poisson) their variance has a part that grows with the square of the mean, which
makes counts negative-binomial. Its coefficient decides what is surprising, and a moment estimate of it is spoilt by
one spike. So each coefficient of a logarithmic grid is scored by its likelihood, in which a count that none of them
explains costs a bounded amount. The scores fade, and are joined with what the other series of the installation say: a
quiet newcomer starts from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = ["Dispersion", "DispersionPrior"]

_OUTLIER = math.log(0.002)
"""Log share of counts that may come from elsewhere."""
_FLOOR = 0.02
"""Share of the prior that no candidate can lose: a series may be unlike all others."""
_SHARP = 0.6
"""A posterior with this much on one candidate is sharper than the grid: interpolate."""


class DispersionPrior:
    """What all series together believe of a coefficient: the mean of their posteriors.

    Candidates go from `low` to `high` in equal ratios; until series have spoken they are weighed around `guess`.
    """

    def __init__(self, low: float, high: float, points: int, guess: float) -> None:
        self.ratio = (high / low) ** (1 / (points - 1))
        self.candidates = tuple(low * self.ratio**index for index in range(points))
        self._guess = [math.exp(-0.5 * math.log(candidate / guess) ** 2) for candidate in self.candidates]
        self.log_weights = self._logs(self._guess)

    def learn(self, series: Iterable[Dispersion]) -> None:
        """Take the mean of the posteriors, and of the guess as one more series, as the prior of each."""
        sums = list(self._guess)
        for one in series:
            sums = [total + share for total, share in zip(sums, one.posterior(), strict=True)]
        self.log_weights = self._logs(sums)

    @staticmethod
    def _logs(weights: list[float]) -> list[float]:
        total = sum(weights)
        return [math.log(weight / total + _FLOOR / len(weights)) for weight in weights]


class Dispersion:
    """The coefficient of one series: variance = mean + (known + coefficient) * mean ** 2."""

    __slots__ = ("_keep", "_prior", "_scores", "value")

    def __init__(self, prior: DispersionPrior, keep: float) -> None:
        """`keep` is the share of the old evidence that each new count leaves."""
        self._prior = prior
        self._keep = keep
        self._scores = [0.0] * len(prior.candidates)
        self.value = 0.0
        """The coefficient as of the last `settle`."""
        self.settle()

    def learn(self, count: int, mean: float, known: float = 0.0) -> None:
        """One count where `mean` was expected; `known` is dispersion that has another cause."""
        if mean < 1e-9:  # below it logarithms leave the range of floats
            return
        lgamma, log, exp, keep, scores = math.lgamma, math.log, math.exp, self._keep, self._scores
        base = -lgamma(count + 1)
        floor = _OUTLIER - log(count + mean + 1.0)
        for index, candidate in enumerate(self._prior.candidates):
            size = 1.0 / (known + candidate)
            likelihood = base + lgamma(count + size) - lgamma(size) + size * log(size / (size + mean))
            if count:
                likelihood += count * log(mean / (size + mean))
            if likelihood < floor + 4.0:
                top = max(floor, likelihood)
                likelihood = top + log(exp(likelihood - top) + exp(floor - top))
            scores[index] = scores[index] * keep + likelihood

    def posterior(self) -> list[float]:
        """Probability of each candidate."""
        logs = self._log_posterior()
        top = max(logs)
        weights = [math.exp(value - top) for value in logs]
        total = sum(weights)
        return [weight / total for weight in weights]

    def settle(self) -> None:
        """Bring `value` up to date: the mean of the log posterior, or its interpolated peak where it is sharp."""
        shares, candidates = self.posterior(), self._prior.candidates
        peak = max(range(len(shares)), key=shares.__getitem__)
        if shares[peak] > _SHARP and 0 < peak < len(shares) - 1:
            left, middle, right = self._log_posterior()[peak - 1 : peak + 2]
            offset = 0.5 * (left - right) / (left - 2 * middle + right)
            self.value = candidates[peak] * self._prior.ratio**offset
        else:
            self.value = math.exp(sum(share * math.log(c) for share, c in zip(shares, candidates, strict=True)))

    def state(self) -> list[float]:
        """What was learnt, for `restore`."""
        return [*self._scores, self.value]

    def restore(self, state: Sequence[float]) -> None:
        """Know again what `state` told."""
        *self._scores, self.value = state

    def _log_posterior(self) -> list[float]:
        return [score + prior for score, prior in zip(self._scores, self._prior.log_weights, strict=True)]
