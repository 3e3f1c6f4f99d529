"""What figures can be split by: a trait of the mail, or a trait of its failure.

A trait of the mail (provider, tenant, ...) splits everything. A trait of a failure (bounce class, reply, ...) splits
failures only: a mail that arrived has none. A rate by bounce class is therefore "of everything sent, how much failed
for this reason", and its denominator is not split (analytics/rates.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DIMENSIONS", "FAILURE_TRAITS", "ROLLED", "Dimension", "Facet"]

Facet = Literal["", "final", "deferral", "oob"]
"""Which failure of a unit a count is about: none, the one that decided, the last deferral, or the late bounce."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something to group by: SQL over a unit row and over an event row. `rolled` ones are columns of `rollup`.

    A trait of the failure has in `of_failure` the field of the failure's struct instead.
    """

    name: str
    of_recipient: str
    of_event: str
    rolled: bool = False
    of_failure: str = ""
    shown: str = "{}"
    """How a field of the failure becomes what is shown."""

    def of_facet(self, facet: Facet) -> str:
        """SQL over a flat row, for counts about that failure of it."""
        if not self.of_failure:
            return self.of_recipient
        if not facet:
            return "''"
        return f"coalesce({self.shown.format(_FACETS[facet].format(*[self.of_failure] * 3))}, '')"


# An expired recipient counts by its last 4xx (METRICS.md): what the expiry itself says is ours.
_FACETS = {
    "final": "CASE WHEN terminal_outcome = 'expired' THEN coalesce(last_deferral_{}, terminal_{}) ELSE terminal_{} END",
    "deferral": "last_deferral_{}",
    "oob": "oob_{}",
}
_REPLY = "(SELECT text FROM reply_template WHERE id = {})"


def _plain(name: str) -> Dimension:
    return Dimension(name, f"coalesce({name}, '')", f"coalesce({name}, '')")


def _latest(name: str) -> Dimension:
    return Dimension(name, f"coalesce({name}_name, '')", f"coalesce({name}, '')")


DIMENSIONS: dict[str, Dimension] = {
    dimension.name: dimension
    for dimension in (
        Dimension("provider", "provider_name", "provider", rolled=True),
        Dimension("provider_group", "provider_grp", "provider_group", rolled=True),
        Dimension("gateway", "coalesce(provider_gateway, '')", "coalesce(gateway, '')", rolled=True),
        Dimension("direction", "direction", "direction::VARCHAR", rolled=True),
        _plain("domain"),
        _plain("sender_domain"),
        _latest("tenant"),
        _latest("campaign"),
        _latest("source"),
        _latest("source_ip"),
        _latest("pool"),
        _latest("dkim_domain"),
        _plain("node"),
        _plain("mta"),
        Dimension("bounce_class", "''", "coalesce(bounce_class, '')", of_failure="class"),
        Dimension("severity", "''", "coalesce(severity, '')", of_failure="severity"),
        Dimension("reply", "''", f"coalesce({_REPLY.format('template_id')}, '')", of_failure="template", shown=_REPLY),
    )
}
"""Every dimension by its name."""

ROLLED = tuple(name for name, dimension in DIMENSIONS.items() if dimension.rolled)
FAILURE_TRAITS = tuple(name for name, dimension in DIMENSIONS.items() if dimension.of_failure)
