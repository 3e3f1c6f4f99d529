"""The traffic generator: a steady, seeded stream of mail into the MTA, and an exact account of what became of it.

    python -m mtascope.demo.traffic --config FILE --report FILE

reads `TrafficSettings` as JSON, keeps a report of its counts, and ends by itself when the time is up, or at SIGTERM.
Mail `n` is due `n / rate` seconds after the start, give or take a little; a stream that was held up catches up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mtascope.demo.campaigns import Composer, Mail, load_campaigns
from mtascope.demo.chance import draw
from mtascope.demo.injector import Injector, Outcome
from mtascope.demo.process import run_process
from mtascope.demo.providers import load_profiles
from mtascope.demo.report_file import keep_writing
from mtascope.demo.scenario import load_scenario

__all__ = ["Traffic", "TrafficSettings", "main", "run"]

_JITTER = 0.5
"""How far a mail may stray from its instant, in distances between mails."""
_LAST_MAILS = 10.0
"""Seconds that mails under way at the end get to be answered."""


class TrafficSettings(BaseModel):
    """What the generator is told at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int
    rate: float = Field(default=50.0, gt=0)
    """Mails a second."""
    seconds: float | None = Field(default=None, gt=0)
    """How long mails are sent; None until told to stop."""
    seed: int = 1
    scenario: str = "steady"
    scenario_seconds: float | None = Field(default=None, gt=0)
    """Length of the run by which the scenario's times are scaled, where it is not `seconds`."""
    first: int = 0
    """Number of the first mail: a second generator with the same seed continues where the first one ended."""
    connections: int = Field(default=8, ge=1, le=500)


@dataclass(slots=True)
class _Account:
    """offered = accepted + refused + unknown + under way, all in recipients."""

    mails: int = 0
    offered: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    tenants: Counter[str] = field(default_factory=Counter)
    """Accepted recipients by tenant."""

    def begin(self, mail: Mail) -> None:
        self.mails += 1
        self.offered += len(mail.recipients)

    def end(self, mail: Mail, outcome: Outcome) -> None:
        self.accepted += outcome.accepted
        self.refused += outcome.refused
        self.unknown += outcome.unknown
        self.tenants[mail.tenant] += outcome.accepted


class Traffic:
    """A number of connections that share one stream of mails."""

    def __init__(self, settings: TrafficSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._clock = clock
        self._started = clock()
        self._next = settings.first
        self._account = _Account()
        self._scenario = load_scenario(settings.scenario)
        self._composer = Composer(load_profiles(), load_campaigns(), settings.seed, self._gone)
        self._injectors = [
            Injector(settings.host, settings.port, helo="generator.mtascope.test") for _ in range(settings.connections)
        ]
        self._finished = False

    async def run(self, stop: asyncio.Event) -> None:
        """Send until the time is up or `stop` is set; then let the mails under way come to their end."""
        senders = [asyncio.create_task(self._send_all(injector, stop)) for injector in self._injectors]
        limit = asyncio.create_task(self._give_up(senders, stop))
        try:
            await asyncio.wait(senders, return_when=asyncio.FIRST_EXCEPTION)
            stop.set()
            for problem in await asyncio.gather(*senders, return_exceptions=True):
                if isinstance(problem, Exception):
                    raise problem
        finally:
            limit.cancel()
            self._finished = True

    async def _give_up(self, senders: Sequence[asyncio.Task[None]], stop: asyncio.Event) -> None:
        """What is still under way a while after the end stays unknown."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self.settings.seconds)
        await asyncio.sleep(_LAST_MAILS)
        for task in senders:
            task.cancel()

    def snapshot(self) -> dict[str, Any]:
        """The account so far; `under_way` counts recipients not answered yet, `next` is the number of the next mail."""
        account = self._account
        answered = account.accepted + account.refused + account.unknown
        return {
            "pid": os.getpid(),
            "seed": self.settings.seed,
            "scenario": self.settings.scenario,
            "elapsed": round(self._clock() - self._started, 3),
            "finished": self._finished,
            "mails": account.mails,
            "offered": account.offered,
            "accepted": account.accepted,
            "refused": account.refused,
            "unknown": account.unknown,
            "under_way": account.offered - answered,
            "reconnects": sum(injector.reconnects for injector in self._injectors),
            "tenants": dict(account.tenants),
            "next": self._next,
        }

    async def _send_all(self, injector: Injector, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                number, self._next = self._next, self._next + 1
                due = self._due(number)
                if self.settings.seconds is not None and due >= self._started + self.settings.seconds:
                    self._next = min(self._next, number)
                    return
                if await self._sleep_until(due, stop):
                    await self._send(injector, number)
        finally:
            await injector.close()

    def _due(self, number: int) -> float:
        nth = number - self.settings.first
        stray = (draw(self.settings.seed, number, "jitter") - 0.5) * _JITTER
        return self._started + max(0.0, nth + stray) / self.settings.rate

    async def _sleep_until(self, due: float, stop: asyncio.Event) -> bool:
        """True when it is time; False when the generator was stopped first."""
        if (pause := due - self._clock()) > 0:
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                return True
        return not stop.is_set()

    async def _send(self, injector: Injector, number: int) -> None:
        mail = self._composer.compose(number, self._clock())
        self._account.begin(mail)
        try:
            outcome = await injector.send(mail.sender, mail.recipients, mail.content)
        except asyncio.CancelledError:
            self._account.end(mail, Outcome(unknown=len(mail.recipients)))
            raise
        self._account.end(mail, outcome)

    def _gone(self, campaign: str) -> float:
        """Share of the campaign's recipients that no longer exist, by the scenario at this moment."""
        run = self.settings.scenario_seconds or self.settings.seconds
        active = self._scenario.active(self._clock() - self._started, run)
        return max((phase.gone for phase in active if phase.campaign == campaign), default=0.0)


async def run(settings: TrafficSettings, report: Path, stop: asyncio.Event) -> None:
    """Send, and keep the report; the last one says `finished`."""
    traffic = Traffic(settings)
    done = asyncio.Event()
    writing = asyncio.create_task(keep_writing(report, traffic.snapshot, done))
    try:
        await traffic.run(stop)
    finally:
        done.set()
        await writing


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until the time is up, SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="mtascope.demo.traffic", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="settings as JSON")
    parser.add_argument("--report", type=Path, required=True, help="where the counts go")
    given = parser.parse_args(arguments)
    run_process(given.config, TrafficSettings, lambda settings, stop: run(settings, given.report, stop))


if __name__ == "__main__":
    main()
