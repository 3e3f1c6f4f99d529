"""One series under watch: expects, weighs, opens an incident, and closes it when mail is normal again.

Everything is decided at a step from that step and the past. While an incident is open nothing of it is learnt; when it
closes, the windows begin anew, so that its tail does not open the next one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from analytics.spikes.baseline import STEPS_PER_HOUR, Baseline, Block, Expectation, Priors, null_rate
from analytics.spikes.evidence import Evidence
from analytics.spikes.settings import SpikeSettings

__all__ = ["Change", "ChangeKind", "Watch"]

_RING = 73
"""Steps that are remembered one by one, plus one: six hours."""
_SURE = 4.0
"""Nats of evidence for normal mail that close an incident."""
_MOST_URGENT = 2.0
"""Nats by which the size of the loss moves the threshold at most."""
_USUAL_LOSS = 100.0
"""Extra bounces an hour for which the threshold is meant."""
_SILENT = 6 * STEPS_PER_HOUR
"""Steps without any mail that close an incident."""
_RENEW_STEPS = 24 * STEPS_PER_HOUR
_WORSE = 2.0
"""Times the rate last told of that is news."""


class ChangeKind(Enum):
    """What happened to an incident."""

    OPENED = "opened"
    RENEWED = "renewed"
    """It doubled, or has lasted another day."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Change:
    """An incident of `series` changed at `step`; it began, as far as can be told, with step `began`.

    `level` is the bounce rate that was seen: since it began when it opens, lately when it is renewed, and over its
    whole length when it closes. `baseline` is the rate expected when it opened.
    """

    series: str
    kind: ChangeKind
    step: int
    opened: int
    began: int
    level: float
    baseline: float
    bounced: int
    sent: int


@dataclass(slots=True)
class _Open:
    """An incident while it lasts."""

    opened: int
    began: int
    baseline: float
    told: float
    """The level last told of, and at which step."""
    told_at: int
    bounced: int
    sent: int
    mail_at: int
    """The last step with mail."""
    recovery: float = 0.0
    recovering_since: int = 0
    seen_bounced: int = 0
    seen_sent: int = 0
    """Up to the step before recovery set in: what the level is made of."""


class _Recent:
    """Running sums of the last steps: mails, bounces and expected bounces of any of the latest windows."""

    __slots__ = ("_at", "_bounced", "_expected", "_sent")

    def __init__(self) -> None:
        self._at = 0
        self._sent = [0] * _RING
        self._bounced = [0] * _RING
        self._expected = [0.0] * _RING

    def add(self, sent: int, bounced: int, expected: float) -> None:
        last, at = self._at, (self._at + 1) % _RING
        self._sent[at] = self._sent[last] + sent
        self._bounced[at] = self._bounced[last] + bounced
        self._expected[at] = self._expected[last] + expected
        self._at = at

    def window(self, steps: int) -> tuple[int, int, float]:
        """(sent, bounced, expected) of the latest `steps`, at most six hours."""
        at, then = self._at, self._at - min(steps, _RING - 1)
        return (
            self._sent[at] - self._sent[then],
            self._bounced[at] - self._bounced[then],
            self._expected[at] - self._expected[then],
        )

    def forget(self) -> None:
        self._sent = [0] * _RING
        self._bounced = [0] * _RING
        self._expected = [0.0] * _RING

    def state(self) -> list[Any]:
        return [self._at, self._sent, self._bounced, self._expected]

    def restore(self, state: Sequence[Any]) -> None:
        self._at, self._sent, self._bounced, self._expected = state


class Watch:
    """Of one series. `threshold` is set by the detector, which knows how many series there are."""

    def __init__(self, name: str, priors: Priors, settings: SpikeSettings) -> None:
        self.name = name
        self.threshold = settings.threshold
        self.baseline = Baseline(priors)
        self._settings = settings
        self._evidence = Evidence(settings.lifts)
        self._recent = _Recent()
        self._blocks: deque[Block] = deque()
        self._left_out: deque[tuple[int, int | None]] = deque()
        self._incident: _Open | None = None
        self._expectation: Expectation = self.baseline.expectation
        self._step: int | None = None

    def observe(self, step: int, sent: int, bounced: int) -> Change | None:
        """Take in the counts of the next step. Steps that were skipped count as steps without mail."""
        self._skip_to(step)
        block = self._blocks[-1] if self._blocks else None
        if block is None or block.hour != step // STEPS_PER_HOUR:
            block = self._begin_hour(step // STEPS_PER_HOUR)
        self._step = step
        expected = sent * self._expectation.rate
        block.steps.append((step, sent, bounced, expected))
        self._recent.add(sent, bounced, expected)
        if self._incident is not None:
            return self._follow(self._incident, step, sent, bounced)
        if sent and self.baseline.warm:
            return self._weigh(step, sent, bounced)
        return None

    def teach(self, hour: int, steps: Sequence[tuple[int, int, int]], *, thorough: bool) -> None:
        """Learn a past hour, (step, sent, bounced) each, without judging it.

        An hour whose scatter is not learnt may be one entry for all its steps.
        """
        expectation = self._expectation = self.baseline.expect(hour)
        counted = [(step, sent, bounced, sent * expectation.rate) for step, sent, bounced in steps]
        width = 0 if thorough else STEPS_PER_HOUR
        self.baseline.learn(Block(hour, expectation, counted, width), thorough=thorough)
        self._step = steps[-1][0]

    def restate(self, step: int, sent: int, bounced: int) -> None:
        """Counts of a judged step have changed: late mail opens nothing, but what is learnt shall be right."""
        for block in self._blocks:
            if block.hour == step // STEPS_PER_HOUR:
                block.restate(step, sent, bounced)

    @property
    def troubled(self) -> bool:
        """Whether an incident is open."""
        return self._incident is not None

    def state(self) -> dict[str, Any]:
        """Everything that this watch knows, as JSON has it, for `restore`."""
        return {
            "baseline": self.baseline.state(),
            "evidence": self._evidence.state(),
            "recent": self._recent.state(),
            "blocks": [block.state() for block in self._blocks],
            "left_out": list(self._left_out),
            "incident": None if self._incident is None else asdict(self._incident),
            "expectation": self._expectation.state(),
            "step": self._step,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was told."""
        self.baseline.restore(state["baseline"])
        self._evidence.restore(state["evidence"])
        self._recent.restore(state["recent"])
        self._blocks = deque(Block.restored(block) for block in state["blocks"])
        self._left_out = deque((start, end) for start, end in state["left_out"])
        self._incident = None if state["incident"] is None else _Open(**state["incident"])
        self._expectation = Expectation.restored(state["expectation"])
        self._step = state["step"]

    def _skip_to(self, step: int) -> None:
        if self._step is None:
            return
        missing = step - self._step - 1
        if missing >= _RING:
            self._recent.forget()
            self._evidence.forget()
        for _ in range(min(missing, _RING - 1)):
            self._recent.add(0, 0, 0.0)

    def _begin_hour(self, hour: int) -> Block:
        """Learn what is two hours old, then expect anew."""
        was_warm = self.baseline.warm
        while self._blocks and self._blocks[0].hour < hour - 1:
            self._learn(self._blocks.popleft())
        if self.baseline.warm and not was_warm:
            self._recent.forget()
        self._expectation = self.baseline.expect(hour)
        block = Block(hour, self._expectation, [])
        self._blocks.append(block)
        return block

    def _learn(self, block: Block) -> None:
        count = len(block.steps)
        while self._left_out and (ended := self._left_out[0][1]) is not None and ended <= block.steps[0][0]:
            self._left_out.popleft()
        for start, end in self._left_out:
            block.steps = [step for step in block.steps if step[0] < start or (end is not None and step[0] >= end)]
        self.baseline.learn(block, whole=len(block.steps) == count)

    def _weigh(self, step: int, sent: int, bounced: int) -> Change | None:
        settings, expectation = self._settings, self._expectation
        normal = null_rate(expectation, sent, settings.margin)
        hourly = max(self._recent.window(STEPS_PER_HOUR)[0], expectation.volume * STEPS_PER_HOUR)
        least = settings.least_extra_an_hour / hourly
        self._evidence.add(step, sent, bounced, normal, self.baseline.clumping.value, least, self.baseline.redundancy)
        score, began = self._evidence.strongest()
        if score < self.threshold - _MOST_URGENT:
            return None
        total, count, expected = self._recent.window(step - began + 1)
        extra = count - expected
        if extra < max(settings.least_extra, settings.least_rise * total) or count < settings.least_ratio * expected:
            return None
        if score < self._asked(extra, step - began + 1):
            return None
        return self._open(step, max(began, step - _RING + 2), total, count)

    def _asked(self, extra: float, steps: int) -> float:
        """The evidence asked for: waiting costs bounces, a false alarm costs the same always: large losses open sooner.

        In the theory of stopping the threshold falls with the logarithm of the cost of delay. A single step, which may
        be one unlucky mailing, needs more.
        """
        urgency = math.log(extra / steps * STEPS_PER_HOUR / _USUAL_LOSS)
        lone = self._settings.lone_step if steps == 1 else 0.0
        return self.threshold + lone - max(-_MOST_URGENT, min(_MOST_URGENT, urgency))

    def _open(self, step: int, began: int, sent: int, bounced: int) -> Change:
        level = bounced / sent
        self._incident = _Open(
            step, began, self._expectation.rate, level, step, bounced, sent, step,
            recovering_since=step + 1, seen_bounced=bounced, seen_sent=sent,
        )  # fmt: skip
        self._left_out.append((began, None))
        self._evidence.forget()
        return self._change(self._incident, ChangeKind.OPENED, step, level)

    def _follow(self, incident: _Open, step: int, sent: int, bounced: int) -> Change | None:
        """Wait for `quiet_steps` of mail that speaks for the baseline rather than for less than half of the rise.

        Where no mail comes any more there is nothing left to say.
        """
        if sent:
            incident.mail_at = step
        elif step - incident.mail_at >= _SILENT:
            return self._close(incident, step)
        incident.sent += sent
        incident.bounced += bounced
        normal = self._expectation.rate
        raised = normal + max(0.8 * self._settings.least_rise, 0.4 * (incident.told - normal))
        gain = bounced * math.log(normal / raised) + sent * (raised - normal)
        # Clumped mail says less than its number: divide by the design effect of a step.
        incident.recovery += gain / (1.0 + sent * normal * self.baseline.clumping.value)
        if incident.recovery <= 0.0:
            incident.recovery, incident.recovering_since = 0.0, step + 1
            incident.seen_bounced, incident.seen_sent = incident.bounced, incident.sent
            return self._renew(incident, step)
        if step - incident.recovering_since + 1 >= self._settings.quiet_steps and incident.recovery >= _SURE:
            return self._close(incident, step)
        return None

    def _renew(self, incident: _Open, step: int) -> Change | None:
        if step - incident.opened >= self._settings.new_normal_hours * STEPS_PER_HOUR:
            sent, bounced, _ = self._recent.window(_RING)
            self.baseline.adopt(bounced / max(1, sent))
            self._expectation = self.baseline.expect(step // STEPS_PER_HOUR)
            incident.recovering_since = step
            return self._close(incident, step)
        sent, bounced, _ = self._recent.window(min(STEPS_PER_HOUR // 2, step - incident.told_at))
        if not sent:
            return None
        doubled = bounced >= 2 * self._settings.least_extra and bounced >= _WORSE * incident.told * sent
        if not doubled and step - incident.told_at < _RENEW_STEPS:
            return None
        incident.told, incident.told_at = bounced / sent, step
        return self._change(incident, ChangeKind.RENEWED, step, incident.told)

    def _close(self, incident: _Open, step: int) -> Change:
        self._incident = None
        began, _ = self._left_out.pop()
        self._left_out.append((began, incident.recovering_since))
        self._recent.forget()
        return self._change(incident, ChangeKind.CLOSED, step, incident.seen_bounced / max(1, incident.seen_sent))

    def _change(self, incident: _Open, kind: ChangeKind, step: int, level: float) -> Change:
        return Change(
            series=self.name, kind=kind, step=step, opened=incident.opened, began=incident.began, level=level,
            baseline=incident.baseline, bounced=incident.seen_bounced, sent=incident.seen_sent,
        )  # fmt: skip
