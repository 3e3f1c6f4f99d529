"""Which signals are one incident: those that one cause explains. Pure.

A signal belongs to an incident that is open, or ended less than an hour before it began, if

1. the incident shows at the same provider, and nothing speaks against one cause: tenants or pools that have nothing to
   do with each other are two troubles, everything else at one provider at one time is one; or
2. it shows elsewhere, but what carries its excess (a tenant, a campaign, a source, a pool, ...) carries this one's; or
3. both show at providers of one group (Gmail and Google Workspace), in the same way, and nobody of ours stands out; or
4. both are silence: one line is cut, not twelve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from analytics.causes import Cause
from analytics.incidents.findings import Findings
from analytics.incidents.incident import Incident, Signal
from analytics.incidents.kinds import Kind
from mta.events.instants import HOUR

__all__ = ["OURS", "Case", "Clue", "home_of", "leads_of"]

Trait = tuple[str, str]
_SAME = HOUR
"""What begins no later than this after an incident ended is the same one, back again."""
_LEADING = 0.8
"""Causes with this share of the best one's information say the same."""
OURS = frozenset({"tenant", "campaign", "source", "pool", "sender_domain", "node", "tls_version"})
"""Dimensions of the sending side: what they name can be the cause at many providers at once."""
_APART = frozenset({Kind.REPORTS, Kind.IDENTITY})
"""Kinds that have nothing to do with what happens to mail."""


@dataclass(frozen=True, slots=True)
class Clue:
    """What was found about one signal: its traits, the leading ones among them, and its provider's group."""

    leads: frozenset[Trait] = frozenset()
    traits: frozenset[Trait] = frozenset()
    group: str = ""


@dataclass(slots=True)
class Case:
    """An incident with what is known of its cause: that of its first signal, until `explain` knows more."""

    incident: Incident
    leads: frozenset[Trait] = frozenset()
    traits: frozenset[Trait] = frozenset()
    groups: frozenset[str] = frozenset()

    def add(self, signal: Signal, clue: Clue) -> None:
        """Take a signal in."""
        if not self.incident.signals:
            self.leads = clue.leads
        self.incident = self.incident.with_signal(signal)
        self.traits |= clue.traits
        self.groups |= {clue.group} - {""}

    def explain(self, findings: Findings) -> None:
        """What was found in the mail of all its signals."""
        self.leads = frozenset(_leading(findings.causes))
        self.traits |= {trait for trait in findings.traits if trait[0] in OURS} | self.leads


def leads_of(findings: Findings, signal: Signal) -> Clue:
    """The clue of a signal, from what was found in the mail of its provider.

    A tenant or pool that shows trouble while its provider as a whole names nobody is its own lead.
    """
    leads = frozenset(_leading(findings.causes))
    part = {(signal.dimension, signal.value)} if signal.dimension else set()
    if not leads:
        leads = frozenset(part)
    return Clue(leads, frozenset({trait for trait in findings.traits if trait[0] in OURS} | leads))


def home_of(signal: Signal, clue: Clue, cases: Iterable[Case]) -> Case | None:
    """The case that the signal belongs to, if there is one: at its own provider rather than elsewhere."""
    near = [case for case in cases if _near(signal, case.incident)]
    if signal.kind is Kind.SILENCE and (quiet := [case for case in near if case.incident.kind is Kind.SILENCE]):
        return quiet[0]
    here = [case for case in near if signal.provider in case.incident.providers and not _conflict(clue, case)]
    if here:
        return max(here, key=lambda case: len(case.leads & clue.traits))
    if signal.kind in _APART:
        return None
    for case in near:
        if clue.leads & case.traits or case.leads & clue.traits:
            return case
    return next((case for case in near if _same_group(signal, clue, case)), None)


def _leading(causes: Iterable[Cause]) -> Iterator[Trait]:
    """What leads among the causes on our side."""
    ours = [cause for cause in causes if cause.dimension in OURS]
    for cause in ours:
        if cause.information >= _LEADING * ours[0].information:
            yield cause.dimension, cause.value


def _near(signal: Signal, incident: Incident) -> bool:
    if (signal.kind in _APART or incident.kind in _APART) and signal.kind is not incident.kind:
        return False
    return incident.closed is None or signal.began <= incident.closed + _SAME


def _conflict(clue: Clue, case: Case) -> bool:
    if not clue.leads or not case.leads:
        return False
    return not (clue.leads & case.traits or case.leads & clue.traits)


def _same_group(signal: Signal, clue: Clue, case: Case) -> bool:
    nobody = not clue.leads and not case.leads
    return nobody and bool(clue.group) and clue.group in case.groups and signal.kind in case.incident.kinds
