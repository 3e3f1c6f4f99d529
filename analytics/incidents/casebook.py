"""The open incidents: takes the signals of each step in, looks for causes, and says what has changed.

One book serves the live watch and the replay of history: both feed it the same signals and ask the same evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from analytics.incidents.advice import advise
from analytics.incidents.findings import Evidence, Mail
from analytics.incidents.grouping import OURS, Case, Clue, home_of, leads_of
from analytics.incidents.incident import Incident, Signal, SignalKey, incident_id
from analytics.incidents.kinds import SPIKES, Kind
from analytics.incidents.signals import SignalChange
from analytics.spikes import ChangeKind
from mta.events.instants import HOUR, MINUTE

__all__ = ["KEPT", "Casebook", "Page", "Told"]

KEPT = 2 * HOUR
"""How long a closed case stays, for what may still belong to it."""
_YOUNG = HOUR
"""An incident of this age is looked at anew with every step, later every hour."""
_CAUSES = 5
_FIRST = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Told:
    """A change that somebody may want to hear of."""

    change: ChangeKind
    incident: Incident


@dataclass(frozen=True, slots=True)
class Page:
    """What one step has changed: all incidents as they are now, and of these what is news."""

    told: list[Told]
    changed: list[Incident]


class Casebook:
    """`groups` maps bounce classes to their groups, for the advice; `incidents` are open or ended lately."""

    def __init__(
        self, evidence: Evidence, groups: Mapping[str, str] | None = None, incidents: Iterable[Incident] = ()
    ) -> None:
        self._evidence = evidence
        self._groups = groups or {}
        self._cases: dict[str, Case] = {}
        self._provider_groups: dict[str, str] = {}
        for incident in incidents:
            self._reopen(incident)

    @property
    def open(self) -> list[Incident]:
        """Those that last, in the order in which they were opened."""
        return [case.incident for case in self._cases.values() if case.incident.closed is None]

    def signal(self, key: SignalKey) -> Signal | None:
        """The open signal of a series, if it has one."""
        case = self._case_of(key)
        return None if case is None else next(one for one in case.incident.signals if one.key == key)

    def update(self, incident: Incident) -> None:
        """Replace what is known of an incident."""
        if incident.id in self._cases:
            self._cases[incident.id].incident = incident

    def take(self, changes: Sequence[SignalChange], at: int) -> Page:
        """Take in the changes of the step that ended at `at`."""
        told: dict[str, ChangeKind] = {}
        touched: dict[str, Case] = {}
        for change in sorted(changes, key=_order):
            case, news = self._take(change, at)
            if case is None:
                continue
            touched[case.incident.id] = case
            if news is not None:
                told[case.incident.id] = _graver(told.get(case.incident.id), news)
        for key, case in self._cases.items():
            if key in touched or (case.incident.closed is None and self._is_due(case.incident, at)):
                self._investigate(case, at)
                touched[key] = case
        self._forget(at)
        return Page(
            [Told(change, touched[key].incident) for key, change in told.items()],
            [case.incident for case in touched.values()],
        )

    def _take(self, change: SignalChange, at: int) -> tuple[Case | None, ChangeKind | None]:
        signal = change.signal
        case = self._case_of(signal.key)
        if change.change is not ChangeKind.OPENED:
            if case is None:
                return None, None
            case.incident = case.incident.with_signal(signal)
            if change.change is ChangeKind.RENEWED:
                return case, ChangeKind.RENEWED
            return case, ChangeKind.CLOSED if case.incident.closed is not None else None
        if case is not None:  # known already: what is replayed after a restart
            return case, None
        clue = self._clue(signal, at)
        case = home_of(signal, clue, self._cases.values())
        if case is None:
            case = self._cases[incident_id(signal)] = Case(_opened(signal))
            case.add(signal, clue)
            return case, ChangeKind.OPENED
        was_over = case.incident.closed is not None
        case.add(signal, clue)
        return case, ChangeKind.RENEWED if was_over and case.incident.closed is None else None

    def _case_of(self, key: SignalKey) -> Case | None:
        for case in self._cases.values():
            if any(one.key == key and one.closed is None for one in case.incident.signals):
                return case
        return None

    def _clue(self, signal: Signal, at: int) -> Clue:
        if signal.provider not in self._provider_groups:
            self._provider_groups |= self._evidence.groups([signal.provider])
        findings = self._evidence.look(Mail(signal.kind, (signal.provider,)), signal.began, at)
        return replace(leads_of(findings, signal), group=self._provider_groups.get(signal.provider, ""))

    def _investigate(self, case: Case, at: int) -> None:
        """Look for causes anew, in the mail of all signals of the incident's kind."""
        incident = case.incident
        if incident.kind not in SPIKES:
            case.incident = replace(incident, advice=advise(incident, self._groups))
            return
        alike = [one for one in incident.signals if one.kind is incident.kind]
        mail = Mail(incident.kind, tuple(dict.fromkeys(one.provider for one in alike)))
        began = min(one.began for one in alike)
        found = self._evidence.look(mail, began, at)
        for trait in incident.scope.items():
            if trait in found.shares and trait not in {(cause.dimension, cause.value) for cause in found.causes}:
                # A part that shows trouble of its own while the whole hides it.
                part = self._evidence.look(replace(mail, scope=(trait,)), began, at)
                ours = (cause for cause in part.causes if cause.dimension in OURS)
                found = replace(part, causes=[found.shares[trait], *ours])
        known = found.changed is not None and began - HOUR <= found.changed < incident.opened
        incident = replace(
            incident,
            began=found.changed if known and found.changed is not None else began,
            causes=found.causes[:_CAUSES],
            replies=found.replies,
        )
        case.incident = replace(incident, advice=advise(incident, self._groups))
        case.explain(found)

    def _reopen(self, incident: Incident) -> None:
        """Take up an incident that an earlier process opened; its clues are found again."""
        case = self._cases[incident.id] = Case(replace(incident, signals=[]))
        for signal in incident.signals:
            case.add(signal, self._clue(signal, signal.closed or signal.opened))
        case.incident = incident

    def _is_due(self, incident: Incident, at: int) -> bool:
        return at - incident.opened <= _YOUNG or at % HOUR < 5 * MINUTE

    def _forget(self, at: int) -> None:
        for key, case in list(self._cases.items()):
            if case.incident.closed is not None and case.incident.closed < at - KEPT:
                del self._cases[key]


def _opened(signal: Signal) -> Incident:
    return Incident(
        id=incident_id(signal),
        kind=signal.kind,
        provider=signal.provider,
        scope=signal.scope,
        began=signal.began,
        opened=signal.opened,
        closed=None,
        level=signal.level,
        baseline=signal.baseline,
        numerator=signal.numerator,
        denominator=signal.denominator,
    )


def _order(change: SignalChange) -> tuple[bool, bool, int, str, str]:
    """What ends before what begins, wholes before parts, and kinds in the order in which an incident takes its name."""
    signal = change.signal
    opens = change.change is ChangeKind.OPENED
    return opens, bool(signal.dimension), _FIRST[signal.kind], signal.provider, signal.value


def _graver(one: ChangeKind | None, other: ChangeKind) -> ChangeKind:
    """Of two changes of one incident in one step, the one to tell."""
    order = (ChangeKind.OPENED, ChangeKind.CLOSED, ChangeKind.RENEWED)
    return other if one is None else min(one, other, key=order.index)
