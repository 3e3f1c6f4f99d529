"""A collector with open roads on free loopback ports, and everything that was landed read into a store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collector.drain import Drain
from collector.metrics import RoadHealth
from collector.roads import Roads, landing_folders
from collector.settings import CollectorSettings
from collector.testing import MemoryStore


@dataclass
class OpenRoads:
    """`at(road)` is where it listens; `drain()` hands what has landed to the store."""

    roads: Roads
    settings: CollectorSettings
    root: Path
    store: MemoryStore

    def at(self, road: str) -> tuple[str, int]:
        return self.roads.addresses[road]

    def url(self, road: str) -> str:
        return "http://{}:{}".format(*self.at(road))

    def health(self, road: str) -> RoadHealth:
        return self.roads.health[road]

    def drain(self) -> MemoryStore:
        drain = Drain(landing_folders(self.root), self.store, self.settings)
        while drain.step():
            pass
        drain.flush()
        drain.close()
        return self.store

    @property
    def recipients(self) -> list[str]:
        return [event.recipient for event in self.drain().events.values()]


@pytest.fixture
async def open_roads(tmp_path, store) -> AsyncIterator[Any]:
    """Opens the roads whose settings it is given, each on a free port, and closes them at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**roads: Any) -> OpenRoads:
            shared = {"landing_free_bytes": 0, **roads.pop("shared", {})}
            tables = {name: {"port": 0} | table for name, table in roads.items()}
            settings = CollectorSettings.model_validate(shared | tables)
            opened = Roads(settings, tmp_path / "landing")
            await opened.start()
            stack.push_async_callback(opened.stop)
            return OpenRoads(opened, settings, tmp_path / "landing", store)

        yield make
