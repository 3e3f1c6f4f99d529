"""The simulated mailbox providers as SMTP servers on loopback, one port each.

    python -m mtascope.demo.provider_server --config FILE --report FILE --ready FILE

reads `ProviderSettings` as JSON, writes ports and routes to the ready file once it listens, then its counts to the
report file every second and a last time at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax
from pydantic import BaseModel, ConfigDict, Field

from mta.events.instants import SECOND
from mtascope.demo.campaigns import load_campaigns
from mtascope.demo.certificate import server_context
from mtascope.demo.feedback_sender import FeedbackSender
from mtascope.demo.process import run_process
from mtascope.demo.provider import Provider, Stage
from mtascope.demo.providers import Profile, load_profiles, routes
from mtascope.demo.report_file import keep_writing, write_report
from mtascope.demo.scenario import Phase, load_scenario
from mtascope.settings import ClockSettings

__all__ = ["Fleet", "ProviderSettings", "main", "run"]

_SIZE_LIMIT = 36_700_160


class ProviderSettings(BaseModel):
    """What a providers process is told at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 1
    scenario: str = "steady"
    seconds: float | None = Field(default=None, gt=0)
    """Length of the run, by which the scenario's times are scaled; None for a run without an end."""
    address: str = "127.0.0.1"
    ports: dict[str, int] = Field(default_factory=dict)
    """Port of a provider by its name; any free one where none is given."""
    feedback_host: str = "127.0.0.1"
    feedback_port: int | None = None
    """Where complaints and late bounces are sent: the MTA's listener; None to send none."""
    clock: ClockSettings = Field(default_factory=ClockSettings)
    """What providers write as the time; how long things take is not scaled."""
    latency: float = Field(default=1.0, ge=0)
    """Factor on the time that providers take to answer, and to return reports."""


class Fleet:
    """All providers of a run, listening. Use as an asynchronous context manager; `ports` is filled inside."""

    def __init__(
        self,
        settings: ProviderSettings,
        profiles: Sequence[Profile] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.profiles = tuple(profiles or load_profiles())
        self.ports: dict[str, int] = {}
        self._clock = clock
        self._started = clock()
        self._first_mail: float | None = None
        self._sender = (
            FeedbackSender(settings.feedback_host, settings.feedback_port, delay=settings.latency, clock=clock)
            if settings.feedback_port is not None
            else None
        )
        self._scenario = load_scenario(settings.scenario)
        stage = self._stage()
        self._doors = [_Door(Provider(profile, stage), settings.latency) for profile in self.profiles]
        self._servers: list[asyncio.Server] = []
        self._sending: asyncio.Task[None] | None = None

    def _stage(self) -> Stage:
        return Stage(
            seed=self.settings.seed,
            scenario=self._scenario,
            now=self._active_phases,
            clock=lambda: self.settings.clock() / SECOND if self.settings.clock.speed > 1 else self._clock(),
            pools=load_campaigns().pools,
            feedback=self._sender.report if self._sender else None,
        )

    def _active_phases(self) -> tuple[Phase, ...]:
        """The scenario begins with the first mail: how long the rest of the suite takes to start does not matter."""
        if self._first_mail is None:
            self._first_mail = self._clock()
        return self._scenario.active(self._clock() - self._first_mail, self.settings.seconds)

    async def __aenter__(self) -> Self:
        hosts = sorted({host for profile in self.profiles for host in profile.domains.values()})
        tls = server_context(hosts)
        for door in self._doors:
            await self._listen(door, tls)
        if self._sender is not None:
            self._sending = asyncio.create_task(self._sender.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        await asyncio.gather(*(door.shut() for door in self._doors))
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _listen(self, door: _Door, tls: ssl.SSLContext) -> None:
        name = door.provider.profile.name
        door.tls = tls if door.provider.profile.starttls != "absent" else None
        server = await asyncio.get_running_loop().create_server(
            door.open, self.settings.address, self.settings.ports.get(name, 0)
        )
        self._servers.append(server)
        self.ports[name] = server.sockets[0].getsockname()[1]

    def routes(self) -> list[dict[str, object]]:
        """Where the MTA must deliver each domain."""
        return routes(self.profiles, self.ports, self.settings.address)

    def snapshot(self) -> dict[str, Any]:
        """Counts of every provider by name, with its complaints and late bounces, and how the run stands."""
        return {
            "pid": os.getpid(),
            "seed": self.settings.seed,
            "scenario": self.settings.scenario,
            "elapsed": round(self._clock() - self._started, 3),
            "providers": {door.provider.profile.name: self._of(door.provider) for door in self._doors},
        }

    def _of(self, provider: Provider) -> dict[str, Any]:
        returned = self._sender.counts(provider.profile.name) if self._sender else {}
        return {**provider.counts.snapshot(), **returned}


@dataclass(slots=True, eq=False)
class _Door:
    """One listening provider: makes the protocol object of each connection and knows which are open."""

    provider: Provider
    latency: float
    tls: ssl.SSLContext | None = None
    inside: set[_Connection] = field(default_factory=set)

    def open(self) -> SMTP:
        return _Connection(self)

    async def think(self, *about: object) -> None:
        if pause := self.provider.latency(*about) * self.latency:
            await asyncio.sleep(pause)

    async def shut(self) -> None:
        """Hang up on everybody."""
        handlers = [connection.hang_up() for connection in self.inside]
        await asyncio.gather(*(handler for handler in handlers if handler is not None), return_exceptions=True)


class _Dialogue:
    """aiosmtpd's hooks for one connection; a 250 is counted in the same step in which it is handed to the socket."""

    def __init__(self, door: _Door) -> None:
        self._door = door
        self._provider = door.provider

    async def handle_EHLO(  # noqa: N802 (the name and the parameters are aiosmtpd's)
        self, server: SMTP, session: Session, _envelope: Envelope, hostname: str, _responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        offers = [server.hostname, f"SIZE {_SIZE_LIMIT}", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES"]
        if self._door.tls is not None and session.ssl is None:
            offers.insert(1, "STARTTLS")
        return [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        sender = envelope.mail_from or ""
        await self._door.think("rcpt", sender, address)
        refusal = self._provider.at_rcpt(sender, address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        sender, content = envelope.mail_from or "", envelope.original_content or b""
        await self._door.think("dot", sender, envelope.rcpt_tos[0])
        return self._provider.at_dot(sender, envelope.rcpt_tos, content)

    def handle_STARTTLS(self, *_: object) -> bool:  # noqa: N802
        self._provider.counts.tls_established += 1
        return True


class _Connection(SMTP):
    """aiosmtpd's server with this provider's greeting, its limit on connections, and its trouble with TLS."""

    def __init__(self, door: _Door) -> None:
        self._door = door
        super().__init__(
            _Dialogue(door), data_size_limit=_SIZE_LIMIT, tls_context=door.tls, hostname="-", ident="-", timeout=60
        )

    async def _handle_client(self) -> None:
        door = self._door
        if len(door.inside) > door.provider.profile.connections:
            await self.push(door.provider.busy())
            self.hang_up()
            return
        self.hostname, _, self.__ident__ = door.provider.banner().partition(" ")
        await super()._handle_client()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._door.inside.add(self)
        self._door.provider.visited(len(self._door.inside))
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._door.inside.discard(self)
        super().connection_lost(error)

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        if not self._door.provider.breaks_handshake():
            await super().smtp_STARTTLS(arg)
            return
        await self.push("220 2.0.0 Ready to start TLS")
        self.hang_up()

    def hang_up(self) -> asyncio.Task[None] | None:
        """Close the connection; the task that serves it ends soon after."""
        if self.transport is not None:
            self.transport.close()
        return self._handler_coroutine


async def run(settings: ProviderSettings, report: Path, ready: Path, stop: asyncio.Event) -> None:
    """Listen until `stop` is set; the ready file appears when all ports listen."""
    async with Fleet(settings) as fleet:
        write_report(ready, {"pid": os.getpid(), "ports": fleet.ports, "routes": fleet.routes()})
        await keep_writing(report, fleet.snapshot, stop)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="mtascope.demo.provider_server", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="settings as JSON")
    parser.add_argument("--report", type=Path, required=True, help="where the counts go")
    parser.add_argument("--ready", type=Path, required=True, help="where ports and routes go")
    given = parser.parse_args(arguments)
    run_process(given.config, ProviderSettings, lambda settings, stop: run(settings, given.report, given.ready, stop))


if __name__ == "__main__":
    main()
