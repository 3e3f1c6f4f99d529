"""The roads that the settings open: each a listener in front of a landing of its own.

Nothing here knows the store. What is landed waits for whoever drains it (`collector/drain.py`), so a road takes
records while the store is away, and could as well run in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from collector.landing import Landing, LandingLimits
from collector.metrics import ROADS, RoadHealth
from collector.settings import CollectorSettings, ListenerSettings, RedisSettings
from collector.sources.elasticsearch import create_elasticsearch
from collector.sources.http import create_intake
from collector.sources.http_server import HttpListener
from collector.sources.lumberjack import LumberjackServer
from collector.sources.otlp import create_otlp
from collector.sources.redis import RedisList
from collector.sources.syslog import SyslogServer

__all__ = ["Listener", "Roads", "landing_folders"]


class Listener(Protocol):
    """A server on a socket that is bound already, or whatever else brings records."""

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, or takes from."""

    async def start(self) -> None:
        """Serve from now on."""

    async def stop(self) -> None:
        """Serve no more; what was not acknowledged comes again."""


def landing_folders(root: Path) -> dict[str, Path]:
    """Every road's folder below `root`, also of roads that are closed now: what they took is still to be stored."""
    return {road: root / road for road in ROADS}


class Roads:
    """All open roads. `start` binds and serves, `stop` ends; `health` has an entry for each road ever since the start.

    Raises SourceError and LandingFailed from `start` when a port or a folder cannot be had.
    """

    def __init__(self, settings: CollectorSettings, root: Path) -> None:
        self.health = {road: RoadHealth() for road in ROADS}
        self.addresses: dict[str, tuple[str, int]] = {}
        self._settings = settings
        self._folders = landing_folders(root)
        self._landings: list[Landing] = []
        self._listeners: dict[str, Listener] = {}

    async def start(self) -> None:
        """Open every road that has settings; none stays open if one cannot be."""
        try:
            for road, make in self._makers().items():
                self._listeners[road] = make()
            for listener in self._listeners.values():
                await listener.start()
        except BaseException:
            await self.stop()
            raise
        self.addresses = {road: listener.address for road, listener in self._listeners.items()}

    async def stop(self) -> None:
        """Close every road; what it acknowledged is on disk."""
        for listener in self._listeners.values():
            await listener.stop()
        self._listeners.clear()
        for landing in self._landings:
            landing.close()
        self._landings.clear()

    def _makers(self) -> dict[str, Callable[[], Listener]]:
        settings, line = self._settings, self._settings.max_line_bytes
        makers: dict[str, Callable[[], Listener]] = {}
        if (http := settings.http) is not None:
            makers["http"] = lambda: HttpListener(
                create_intake(self._landing("http", http), self._landing("webhook", http), http, line),
                http,
                self.health["http"],
            )
        if (lumberjack := settings.lumberjack) is not None:
            makers["lumberjack"] = lambda: LumberjackServer(self._landing("lumberjack", lumberjack), lumberjack, line)
        if (elastic := settings.elasticsearch) is not None:
            makers["elasticsearch"] = lambda: HttpListener(
                create_elasticsearch(self._landing("elasticsearch", elastic), elastic, line),
                elastic,
                self.health["elasticsearch"],
            )
        if (syslog := settings.syslog) is not None:
            makers["syslog"] = lambda: SyslogServer(self._landing("syslog", syslog), syslog, line)
        if (otlp := settings.otlp) is not None:
            makers["otlp"] = lambda: HttpListener(
                create_otlp(self._landing("otlp", otlp), otlp, line), otlp, self.health["otlp"]
            )
        if (redis := settings.redis) is not None:
            makers["redis"] = lambda: RedisList(self._landing("redis", redis), redis, line)
        return makers

    def _landing(self, road: str, listener: ListenerSettings | RedisSettings) -> Landing:
        health = self.health[road]
        health.capacity_bytes = listener.landing_bytes
        limits = LandingLimits(capacity_bytes=listener.landing_bytes, free_bytes=self._settings.landing_free_bytes)
        landing = Landing(self._folders[road], limits, health)
        landing.open()
        self._landings.append(landing)
        return landing
