"""What a recipient counts as, in one small number.

Figures ask the same dozen questions of every recipient: did it arrive, at once, what was the verdict, was it put off.
The answers take few forms. They are found once, when a recipient changes, and kept as the bits of `profile` beside it:
millions of recipients then condense to a few thousand rows by their dimensions and this number alone, and only those
rows are taken apart again (analytics/figures.py).

A trait that has been released keeps its place; a new one goes to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from analytics.lifecycle import OUTCOMES

__all__ = ["PROFILE", "TRAITS", "Trait", "unfolded"]

_LOOPS = "(SELECT provider FROM provider_label WHERE runs_loop)"
_FAILED = "coalesce(terminal_outcome IN ('bounced', 'expired'), false)"
_DELIVERED = "coalesce(terminal_outcome = 'delivered', false)"
_VERDICTS = ("", "hard", "soft", "block", "undetermined", "none", "admin", "other")


@dataclass(frozen=True, slots=True)
class Trait:
    """One answer: SQL over a flat row (analytics/recipients.py), a condition or, with `words`, one of these texts."""

    name: str
    sql: str
    words: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """How many bits it takes."""
        return 3 if self.words else 1

    @property
    def number(self) -> str:
        """SQL of the answer as a number."""
        if not self.words:
            return f"({self.sql})::UINTEGER"
        cases = " ".join(f"WHEN '{word}' THEN {number}" for number, word in enumerate(self.words))
        return f"(CASE {self.sql} {cases} ELSE {len(self.words) - 1} END)::UINTEGER"


def _final(field: str) -> str:
    """A field of the failure that decided.

    An expired recipient counts by its last 4xx (METRICS.md): the text of the expiry itself is ours and says nothing
    about the provider.
    """
    last_4xx = f"coalesce(last_deferral_{field}, terminal_{field})"
    return f"CASE WHEN terminal_outcome = 'expired' THEN {last_4xx} ELSE terminal_{field} END"


def _verdict(applies: str, bounce_class: str, severity: str) -> str:
    judged = f"CASE WHEN {bounce_class} = 'unknown' THEN 'undetermined' ELSE coalesce({severity}, 'other') END"
    return f"CASE WHEN {applies} THEN {judged} ELSE '' END"


TRAITS: tuple[Trait, ...] = (
    Trait("outcome", "coalesce(terminal_outcome, 'in_flight')", OUTCOMES),
    Trait("verdict", _verdict(_FAILED, _final("class"), _final("severity")), _VERDICTS),
    Trait("oob_verdict", _verdict(f"{_DELIVERED} AND oob_moment IS NOT NULL", "oob_class", "oob_severity"), _VERDICTS),
    Trait("failed_locally", f"{_FAILED} AND coalesce({_final('origin')} = 'local', false)"),
    Trait("refused_remotely", "coalesce(terminal_outcome = 'bounced' AND terminal_origin = 'remote', false)"),
    Trait("at_once", f"{_DELIVERED} AND coalesce(delivered_attempt = 1, false) AND deferred_at IS NULL"),
    Trait("attempted", "first_attempt_at IS NOT NULL"),
    Trait("deferred", "deferred_at IS NOT NULL"),
    Trait("held_up", "held_up_at IS NOT NULL"),
    Trait("complained", "complained_at IS NOT NULL"),
    # Only a provider that runs a feedback loop can complain; elsewhere silence means nothing (promise 6).
    Trait("complainable", f"{_DELIVERED} AND provider_name IN {_LOOPS}"),
    # A hop that its next hop stands for counts as nothing but the tries that were made there.
    Trait("absorbed", "successor IS NOT NULL"),
)
"""Every trait; the first takes the lowest bits."""


def _shifts() -> dict[str, int]:
    shifts, used = {}, 0
    for trait in TRAITS:
        shifts[trait.name], used = used, used + trait.bits
    return shifts


_SHIFTS = _shifts()

PROFILE = " + ".join(f"{trait.number} * {1 << _SHIFTS[trait.name]}" for trait in TRAITS)
"""SQL over a flat row: its profile, an unsigned number."""


def unfolded(profile: str = "profile") -> str:
    """SQL of every trait as a column, from a profile."""
    columns = []
    for trait in TRAITS:
        value = f"(({profile} // {1 << _SHIFTS[trait.name]}) % {1 << trait.bits})"
        if trait.words:
            cases = " ".join(f"WHEN {number} THEN '{word}'" for number, word in enumerate(trait.words))
            value = f"CASE {value} {cases} END"
        else:
            value = f"{value} = 1"
        columns.append(f"{value} AS {trait.name}")
    return ", ".join(columns)
