"""How much more failures clump together than single recipients would: what widens every interval.

Mail goes out in campaigns, and one bad list or one block makes thousands of recipients fail at once. A plain interval
takes each recipient for a coin of its own and is far too narrow then. METRICS.md rule 5 multiplies the variance by

    phi = 1 + (m - 1) * rho

where m is how many recipients a clump has (those of one campaign and sender in one hour at one provider) and rho how
alike the fates within a clump are. rho is fitted by the moments of a one-way analysis of variance over the clumps of
the last days, for each provider and rate by itself; providers with few clumps get that of all mail. Both are kept in
the store, so that every answer stays what it is until the next fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.buckets import Step
from analytics.definitions import RATES, Rate, total_of
from analytics.figures import Cut, figures
from analytics.relations import told, units
from analytics.store import Store
from mta.events.instants import DAY

__all__ = ["Clumping", "Dispersion", "fit", "read"]

_ALL = ""
"""The provider that stands for all mail."""
_WINDOW = 7 * DAY
_FEWEST = 30
"""Fewer clumps than this tell nothing."""
_MOST_ALIKE = 0.5
"""A clump is never as good as a single recipient: more than this is the chance of a few large ones."""


@dataclass(frozen=True, slots=True)
class Clumping:
    """`rho` of one rate at one provider, and the size of the clump in which a recipient finds itself."""

    size: float
    rho: float

    @classmethod
    def of_sums(cls, clumps: int, n: float, k: float, shares: float, squares: float) -> Clumping:
        """From sums over clumps of n recipients of whom k failed: of n, k, k²/n and n²."""
        if clumps < 2 or n <= clumps:
            return cls(1.0, 0.0)
        between = (shares - k * k / n) / (clumps - 1)
        within = (k - shares) / (n - clumps)
        typical = (n - squares / n) / (clumps - 1)
        spread = between + (typical - 1) * within
        rho = (between - within) / spread if spread > 0 else 0.0
        return cls(squares / n, min(_MOST_ALIKE, max(0.0, rho)))

    def phi(self, denominator: int) -> float:
        """By how much a rate over so many recipients varies more than one over as many coins."""
        return 1 + max(0.0, min(self.size, denominator) - 1) * self.rho


_COINS = Clumping(1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Dispersion:
    """What was fitted last, by provider and rate."""

    known: dict[tuple[str, str], Clumping]

    def phi(self, provider: str | None, rate: Rate, denominator: int) -> float:
        """The factor for a rate at a provider, or of all mail (None); 1 before anything was fitted."""
        found = self.known.get((provider or _ALL, rate.name)) or self.known.get((_ALL, rate.name), _COINS)
        return found.phi(denominator)


def read(store: Store) -> Dispersion:
    """What was fitted last."""
    rows = store.query("SELECT provider, rate, size, rho FROM dispersion")
    return Dispersion({(provider, rate): Clumping(size, rho) for provider, rate, size, rho in rows})


def fit(store: Store) -> Dispersion:
    """Learn anew from the mail that was injected in the last days, and keep it."""
    now = store.clock()
    rows = store.query(_sums(store, now - _WINDOW), {"since": now - _WINDOW})
    found = {
        (provider, rate.name): Clumping.of_sums(*sums)
        for provider, *values in rows
        for rate, sums in zip(RATES, _by_rate(values), strict=True)
        if sums[0] >= _FEWEST
    }
    with store.writing() as con:
        con.execute("DELETE FROM dispersion")
        if found:
            columns = [
                list(column) for column in zip(*((*key, c.size, c.rho) for key, c in found.items()), strict=True)
            ]
            con.execute(
                "INSERT INTO dispersion SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::DOUBLE[]), "
                "unnest(?::DOUBLE[]), make_timestamp(?)",
                [*columns, now],
            )
    return Dispersion(found)


def _by_rate(values: Sequence[float]) -> list[tuple[int, float, float, float, float]]:
    return [tuple(values[start : start + 5]) for start in range(0, len(values), 5)]  # type: ignore[misc]


def _sums(store: Store, since: int) -> str:
    """SELECT of five sums a rate over the clumps of each provider, and of all mail."""
    cut = Cut(
        by=("provider", "tenant", "campaign", "sender_domain"),
        selected=("direction",),
        bucket=Step("1h").sql("{0}"),
        within="{0} >= make_timestamp($since)",
        where="direction = 'outbound'",
    )
    clumps = figures(units(store, "cohort", since), told(store, "cohort", since, None, cut.dimensions), "cohort", cut)
    columns = []
    for rate in RATES:
        n, k = total_of(rate.denominator), total_of(rate.numerator)
        k = f"least({k}, {n})"
        columns.append(
            f"count(*) FILTER ({n} > 0), coalesce(sum({n}), 0)::DOUBLE, coalesce(sum({k}), 0)::DOUBLE, "
            f"coalesce(sum({k} * {k} / nullif({n}, 0)), 0)::DOUBLE, coalesce(sum({n} * {n}), 0)::DOUBLE"
        )
    return (
        f"SELECT coalesce(provider, '{_ALL}'), {', '.join(columns)} FROM ({clumps}) "
        "GROUP BY GROUPING SETS ((provider), ())"
    )
