"""Rules at work: what providers say sets, for a while, what may go to them.

A rule of a shaping file that fits a refusal often enough has effects: a way out is suspended, or what a tenant or a
campaign sends by it; or that mail is given up; or a limit is another. Effects end by themselves. They stand in one
small file, which is replaced under a lock: all workers of the machine keep them, restarts do not end them, and people
can read it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from mta.control.record import INTERNAL
from mta.delivery.effects import Effect, EffectFile
from mta.delivery.lane import Way
from mta.delivery.limit_table import LimitTable
from mta.delivery.limits import read_value
from mta.delivery.shaping_rule import Action, ActionKind, Rule, one_line
from mta.events.instants import SECOND
from mta.events.reply import SmtpReply
from mta.queue.message import Clock, Message

__all__ = ["Automation", "Classify"]

_LOG = logging.getLogger(__name__)
_NEARLY = 10
"""An effect that has used up less than a tenth of its time is not prolonged: a storm of refusals costs one write."""

Classify = Callable[[SmtpReply, str, str], str]
"""The bounce class of a reply, to a recipient of that domain, by that mail host."""


_OF_TENANT = frozenset({ActionKind.SUSPEND_TENANT, ActionKind.BOUNCE_TENANT})
_OF_CAMPAIGN = frozenset({ActionKind.SUSPEND_CAMPAIGN, ActionKind.BOUNCE_CAMPAIGN})


class Automation:
    """Watches replies, keeps effects. `on_change` is called when other effects hold than before."""

    def __init__(self, file: EffectFile, table: LimitTable, clock: Clock, classify: Classify | None = None) -> None:
        self._file = file
        self._table = table
        self._clock = clock
        self._classify = classify
        self._effects: dict[str, list[Effect]] = {}
        self._seen = 0
        self._next_end = 0
        self.on_change: Callable[[], None] = lambda: None

    # What replies do

    def judge(self, way: Way, message: Message, reply: SmtpReply) -> None:
        """A message was refused on that way: see whether a rule fits, and do what it says."""
        if not way.shape.rules:
            return
        line, internal = one_line(reply), reply.text.startswith(INTERNAL)
        for rule in way.shape.rules:
            if (rule.match_internal or not internal) and self._fits(rule, line, way, message, reply):
                self._fire(rule, way, message, line)

    def _fits(self, rule: Rule, line: str, way: Way, message: Message, reply: SmtpReply) -> bool:
        if not rule.matches(line):
            host = way.destination.hosts[0].name
            if not rule.classes or self._classify is None:
                return False
            if self._classify(reply, message.domain, host) not in rule.classes:
                return False
        if rule.trigger is None:
            return True
        return self._table.tally(f"{rule.origin} {way.path}", rule.trigger.period) >= rule.trigger.quantity

    def _fire(self, rule: Rule, way: Way, message: Message, line: str) -> None:
        now = self._clock()
        effects = [self._effect(rule, action, way, message, line, now) for action in rule.actions]
        wanted = [effect for effect in effects if effect is not None and not self._holds_already(effect, now)]
        if wanted:
            _LOG.warning("%s: %s", rule.origin, ", ".join(f"{each.kind.value} {each.name}".strip() for each in wanted))
            self._keep(wanted)

    def _effect(self, rule: Rule, action: Action, way: Way, message: Message, line: str, now: int) -> Effect | None:
        meta, kind = message.envelope.meta, action.kind
        tenant = meta.get("tenant", "") if kind in _OF_TENANT else ""
        campaign = meta.get("campaign", "") if kind in _OF_CAMPAIGN else ""
        if (kind in _OF_TENANT and not tenant) or (kind in _OF_CAMPAIGN and not campaign):
            return None
        return Effect(
            str(uuid4()),
            kind,
            way.path,
            now,
            now + int(rule.duration * SECOND),
            rule.origin,
            line,
            message.domain if kind is ActionKind.SET_DOMAIN_CONFIG else "",
            tenant,
            campaign,
            action.name,
            action.value,
        )

    def _holds_already(self, effect: Effect, now: int) -> bool:
        same = next((each for each in self._effects.get(effect.path, ()) if each.about == effect.about), None)
        return same is not None and same.expires - now > (effect.expires - now) * (_NEARLY - 1) // _NEARLY

    # What holds

    def effects(self) -> list[Effect]:
        """All that hold now, the oldest first."""
        now = self._clock()
        found = (each for group in self._effects.values() for each in group if each.expires > now)
        return sorted(found, key=lambda effect: effect.since)

    def about(self, way: Way, message: Message) -> Effect | None:
        """What holds a message back or gives it up; giving up goes first."""
        found = [each for each in self._standing(way.path) if each.concerns(message)]
        return max(found, key=lambda effect: effect.bounces, default=None)

    def shaped(self, way: Way, domain: str) -> Way:
        """The way with the limits that rules have set; those for a domain alone give it a scope of its own."""
        sets = [each for each in self._standing(way.path) if each.name and each.domain in {"", domain}]
        if not sets:
            return way
        values = {each.name: read_value(each.name, each.value) for each in sets}
        scope = domain if any(each.domain for each in sets) else way.shape.scope
        return replace(way, shape=replace(way.shape, limits=replace(way.shape.limits, **values), scope=scope))

    def _standing(self, path: str) -> Sequence[Effect]:
        found = self._effects.get(path)
        return [each for each in found if each.expires > self._clock()] if found else ()

    # The file

    def refresh(self) -> None:
        """See what other workers did and what has ended; once a second is often enough."""
        seen = self._file.stamp
        if seen != self._seen:
            self._adopt(self._file.read(), seen)
        elif self._next_end and self._next_end <= self._clock():
            self._adopt(self.effects(), seen)

    def _adopt(self, effects: Sequence[Effect], seen: int) -> None:
        self._seen = seen
        self._effects = {}
        for effect in effects:
            self._effects.setdefault(effect.path, []).append(effect)
        self._next_end = min((effect.expires for effect in effects), default=0)
        self.on_change()

    def _keep(self, wanted: Sequence[Effect]) -> None:
        try:
            effects = self._file.change(lambda kept: [*kept, *wanted])
        except OSError as error:
            _LOG.error("cannot keep what shaping rules did: %s", error)
        else:
            self._adopt(effects, self._file.stamp)
