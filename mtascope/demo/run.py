"""One run of the demo: the whole suite, simulated mailbox providers around it, seeded traffic through it, a reckoning.

Nothing in the middle knows that it is a demo: mail is sent over SMTP to the bundled MTA, which delivers it over SMTP to
the providers and logs what they said; the collector reads the log, the store counts. What the generator and the
providers counted on their own is compared with what the store says only at the end.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from analytics.steps import STEP
from mta.events.instants import SECOND, format_instant
from mtascope.demo.campaigns import load_campaigns
from mtascope.demo.history import habits, write_history
from mtascope.demo.log_counts import LogCounts, count_log
from mtascope.demo.provider_server import ProviderSettings
from mtascope.demo.providers import load_profiles
from mtascope.demo.report_file import read_report, write_report
from mtascope.demo.summary import summarise
from mtascope.demo.traffic import TrafficSettings
from mtascope.opened_store import open_store
from mtascope.processes import Child, ChildFailed, until
from mtascope.resources import reply_classifier, taxonomy
from mtascope.settings import ClockSettings, Settings
from mtascope.suite import Suite, free_port

__all__ = ["Demo", "DemoPlan"]

FEEDBACK_DOMAINS = ("feedback.mtascope.test", "bounces.mtascope.test")
_WATCHED = 60.0
"""Seconds that a run in scaled time waits for the watch at its end: on a busy machine it is still learning."""
_SETTLE = 8.0
"""Seconds that mail under way gets after the last one was sent; what is deferred then stays in flight."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to run: mails a second, for how long (None: until told), which scenario, from which seed, kept where.

    `speed` says how much faster than life the suite's clock runs, `history` whether four weeks came before.
    """

    data: Path
    rate: float = 50.0
    seconds: float | None = None
    scenario: str = "steady"
    seed: int = 1
    workers: int = 1
    speed: float = 1.0
    history: bool = True


class Demo:
    """Processes of one run. `start`, then `watch` until it is over, then `finish` for the summary."""

    def __init__(self, plan: DemoPlan) -> None:
        self.plan = plan
        self._clock = ClockSettings(speed=plan.speed, origin=time.time_ns() // 1000)
        self._smtp_port = free_port(2525)
        http_port = free_port(8080)
        self._ports = {"http": http_port, "metrics": free_port(2000, taken=(http_port,))}
        self._files = plan.data / "demo"
        self.suite: Suite | None = None
        self.providers = self._own_process("providers", "mtascope.demo.provider_server", "--ready", "ready")
        self.traffic = self._own_process("traffic", "mtascope.demo.traffic")
        self._tasks: list[asyncio.Task[int]] = []
        self.urls: dict[str, str] = {}

    async def start(self) -> None:
        """Bring everything up, the providers first: the MTA is told their ports. Raises ChildFailed."""
        plan = self.plan
        self._files.mkdir(parents=True, exist_ok=True)
        (plan.data / "run").mkdir(mode=0o700, exist_ok=True)
        self._tell(
            "providers",
            ProviderSettings(
                seed=plan.seed,
                scenario=plan.scenario,
                seconds=plan.seconds,
                feedback_port=self._smtp_port,
                clock=self._clock,
            ),
        )
        self._tasks.append(asyncio.create_task(self.providers.run()))
        ready = self._files / "ready.json"
        await until(ready.exists, "the simulated providers listening")
        config = plan.data / "settings.json"
        settings = self._settings(read_report(ready)["routes"])
        config.write_bytes(orjson.dumps(settings.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
        if plan.history:
            await asyncio.to_thread(self._write_history, settings)
        self.suite = Suite(settings, config, workers=plan.workers)
        await self.suite.start()
        self.urls = (await self.suite.ask("/v1/status"))["urls"]
        self._tell(
            "traffic",
            TrafficSettings(
                port=self._smtp_port,
                rate=plan.rate,
                seconds=plan.seconds,
                seed=plan.seed,
                scenario=plan.scenario,
                connections=max(4, min(64, round(plan.rate / 20))),
            ),
        )
        self._tasks.append(asyncio.create_task(self.traffic.run(), name="traffic"))

    async def watch(self, told: asyncio.Event) -> None:
        """Until the traffic has ended or `told` is set; raises when a part cannot go on."""
        assert self.suite is not None  # noqa: S101  (start has run)
        waits = {
            asyncio.create_task(told.wait()),
            asyncio.create_task(self.suite.failed()),
            self._tasks[-1],
        }
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits - done - {self._tasks[-1]}:
            task.cancel()
        for task in done:
            task.result()

    async def finish(self) -> dict[str, Any]:
        """Bring mail and figures to rest, stop everything, and give the summary."""
        assert self.suite is not None  # noqa: S101
        suite = self.suite
        await self.traffic.stop()
        ended = format_instant(self._clock() // STEP * STEP)
        await self._settle(suite)
        await suite.stop_mtas()
        await self.providers.stop()
        log = await asyncio.to_thread(count_log, suite.settings.folder.mta_log)
        await until(lambda: self._caught_up(suite, log), "the collector catching up with the log")
        await self._watched(suite, ended)
        status = await suite.ask("/v1/status")
        rates = await suite.ask("/v1/rates", {"by": "provider"})
        total = await suite.ask("/v1/rates", {"by": ""})
        incidents = await suite.ask("/v1/incidents", {"since": format_instant(self._clock.origin)})
        page = await asyncio.to_thread(_fetch, self.urls["metrics"])
        await suite.stop()
        return summarise(
            generator=read_report(self._report("traffic")),
            providers=read_report(self._report("providers")),
            log=log,
            status=status,
            rates=rates,
            total=total[0],
            incidents=incidents,
            page=page,
            urls=self.urls,
            restarts={child.name: child.restarts for child in (*suite.mtas, suite.owner)},
        )

    async def abandon(self) -> None:
        """Stop whatever runs, without a summary."""
        with suppress(ProcessLookupError):
            await asyncio.gather(self.traffic.stop(), self.providers.stop())
            if self.suite is not None:
                await self.suite.stop()

    async def _settle(self, suite: Suite) -> None:
        """Wait until every mail has been tried at least once, or patience ends."""
        deadline = time.monotonic() + _SETTLE
        while time.monotonic() < deadline:
            states = [await asyncio.to_thread(suite.live, number) for number in range(self.plan.workers)]
            if all(state is not None and state["fresh"] == 0 for state in states):
                return
            await asyncio.sleep(0.2)

    async def _watched(self, suite: Suite, ended: str) -> None:
        """The watch for incidents has judged the run, as far as whole steps go; patience ends."""

        async def judged() -> bool:
            status = await suite.ask("/v1/status")
            return bool((status["incidents"]["judged_to"] or "") >= ended)

        if self.plan.speed > 1:
            with suppress(ChildFailed):
                await until(judged, "the watch judging the last steps", seconds=_WATCHED)

    async def _caught_up(self, suite: Suite, log: LogCounts) -> bool:
        """The store has taken in every record of the finished log, and its figures were computed after that."""
        status = await suite.ask("/v1/status")
        return bool(status["store"].get("events", 0) >= log.distinct and status["store"]["identity_holds"])

    def _write_history(self, settings: Settings) -> None:
        """The watch's past, in the store before its owner opens it."""
        a_step = self.plan.rate * STEP / SECOND / self.plan.speed
        past = habits(load_profiles(), load_campaigns(), a_step, reply_classifier(), taxonomy())
        with open_store(settings) as store, store.writing() as con:
            write_history(con, past, self._clock.origin, self.plan.seed)

    def _settings(self, routes: list[dict[str, Any]]) -> Settings:
        """Seconds where a real MTA has minutes, so that retries and expiries can be watched."""
        speed = self.plan.speed
        return Settings.model_validate(
            {
                "data": self.plan.data,
                "mta": {
                    "hostname": "mta.mtascope.test",
                    "listen": [["127.0.0.1", self._smtp_port]],
                    "reuse_port": self.plan.workers > 1,
                    "feedback_domains": FEEDBACK_DOMAINS,
                    "routes": routes,
                    # The simulated providers slow us down often enough to be seen; real caution would stop the show.
                    "shaping_defaults": False,
                    "retry_interval": 3 * speed,
                    "max_retry_interval": 20 * speed,
                    "max_age": 90 * speed,
                    "connect_timeout": 5,
                    "reply_timeout": 20,
                    "log_flush_interval": 0.25,
                    "log_segment_duration": 30 * speed,
                },
                "clock": self._clock.model_dump(),
                "incidents": {"grace_s": 2 * speed, "patience_s": max(120, 4 * speed), "save_every_h": 24},
                "collector": {"poll_interval_s": 0.2, "batch_age_s": 0.5},
                # Nothing here is anybody's mail.
                "http": {
                    "port": self._ports["http"],
                    "metrics_port": self._ports["metrics"],
                    "open_to_loopback": True,
                },
            }
        )

    def _own_process(self, name: str, module: str, *extra: str) -> Child:
        words = ["--config", str(self._files / f"{name}.json"), "--report", str(self._report(name))]
        for option, value in zip(extra[::2], extra[1::2], strict=True):
            words += [option, str(self._files / f"{value}.json")]
        return Child(name, [sys.executable, "-m", module, *words], self.plan.data / "run", restart=False)

    def _tell(self, name: str, settings: BaseModel) -> None:
        write_report(self._files / f"{name}.json", settings.model_dump(mode="json"))

    def _report(self, name: str) -> Path:
        return self._files / f"{name}-report.json"


def _fetch(url: str) -> str:
    import httpx

    return httpx.get(url, timeout=10).raise_for_status().text


def clear(data: Path) -> None:
    """Remove what an earlier demo left in its folder, and only that."""
    for name in ("store", "mta", "run", "demo"):
        shutil.rmtree(data / name, ignore_errors=True)
    for name in ("settings.json", "keys.json"):
        (data / name).unlink(missing_ok=True)
