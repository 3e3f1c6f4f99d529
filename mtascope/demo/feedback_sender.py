"""Sends what providers return by mail, each a little after the mail it is about, and counts what became of it."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

from mtascope.demo.chance import draw
from mtascope.demo.feedback_mails import COMPLAINTS_TO, Taken, complaint, late_bounce
from mtascope.demo.injector import Injector, Outcome

__all__ = ["FeedbackKind", "FeedbackSender"]

FeedbackKind = Literal["complaints", "late_bounces"]

_PENDING_LIMIT = 10_000
_SHORTEST, _LONGEST = 0.3, 3.0


@dataclass(slots=True)
class _Counts:
    """Of one provider and kind: mails made = pending + sent + refused + unknown + dropped."""

    made: int = 0
    pending: int = 0
    sent: int = 0
    refused: int = 0
    unknown: int = 0
    dropped: int = 0


class FeedbackSender:
    """A queue in order of time, and one connection to the MTA's listener that empties it."""

    def __init__(self, host: str, port: int, *, delay: float = 1.0, clock: Callable[[], float] = time.time) -> None:
        """Reports leave 0.3 to 3 seconds after their mail, times `delay`."""
        self._delay = delay
        self._injector = Injector(host, port, helo="feedback.mailbox-provider.example")
        self._clock = clock
        self._queue: list[tuple[float, int, FeedbackKind, Taken]] = []
        self._number = 0
        self._counts: dict[tuple[str, FeedbackKind], _Counts] = {}
        self._woken = asyncio.Event()

    def report(self, kind: FeedbackKind, mail: Taken) -> None:
        """Send this back soon; beyond a limit of waiting mails it is dropped, and counted so."""
        counts = self._counts.setdefault((mail.provider, kind), _Counts())
        counts.made += 1
        if len(self._queue) >= _PENDING_LIMIT:
            counts.dropped += 1
            return
        counts.pending += 1
        self._number += 1
        pause = _SHORTEST + draw(mail.token, kind, "delay") * (_LONGEST - _SHORTEST)
        heapq.heappush(self._queue, (self._clock() + pause * self._delay, self._number, kind, mail))
        self._woken.set()

    def counts(self, provider: str) -> dict[str, dict[str, int]]:
        """What became of this provider's complaints and late bounces."""
        kinds: tuple[FeedbackKind, ...] = ("complaints", "late_bounces")
        return {kind: asdict(self._counts.get((provider, kind), _Counts())) for kind in kinds}

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                await self._wait()
                await self._send_first()
        finally:
            await self._injector.close()

    async def _wait(self) -> None:
        """Until the first mail of the queue is due; a mail that comes in meanwhile may be due sooner."""
        while not self._queue or self._queue[0][0] > self._clock():
            self._woken.clear()
            patience = self._queue[0][0] - self._clock() if self._queue else None
            try:
                await asyncio.wait_for(self._woken.wait(), patience)
            except TimeoutError:
                continue

    async def _send_first(self) -> None:
        """Take the first mail, send it, and count it only when its end is known."""
        _, _, kind, mail = heapq.heappop(self._queue)
        counts = self._counts[mail.provider, kind]
        outcome = Outcome(unknown=1)  # what it stays if we are cancelled on the way
        try:
            if kind == "complaints":
                outcome = await self._injector.send(f"feedback@{mail.host}", [COMPLAINTS_TO], complaint(mail))
            else:
                outcome = await self._injector.send("", [mail.sender], late_bounce(mail))
        finally:
            counts.pending -= 1
            counts.sent += outcome.accepted
            counts.refused += outcome.refused
            counts.unknown += outcome.unknown
