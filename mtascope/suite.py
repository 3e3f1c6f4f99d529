"""The whole suite on one machine: MTA workers and the owner of the store, each a process of its own, watched."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from mtascope.client import OwnerClient, OwnerUnavailable, ask_socket, connect
from mtascope.processes import Child, ChildFailed, command_line, until
from mtascope.settings import Settings

__all__ = ["Suite", "free_port"]


class Suite:
    """Starts and stops the processes of one settings file. Use `start`, then `failed` to wait, then `stop`."""

    def __init__(self, settings: Settings, config: Path, *, workers: int = 1) -> None:
        self.settings = settings
        folder = settings.folder
        folder.create()
        self.mtas = [
            Child(f"mta-{number}", command_line("mta", "--config", config, "--worker", str(number)), folder.run)
            for number in range(workers)
        ]
        self.owner = Child("owner", command_line("serve", "--config", config), folder.run)
        self._running: dict[str, asyncio.Task[int]] = {}

    async def start(self) -> None:
        """Start everything and wait until it serves. Raises ChildFailed."""
        for child in (*self.mtas, self.owner):
            self._running[child.name] = asyncio.create_task(child.run(), name=child.name)
        for number, _ in enumerate(self.mtas):
            await self._first(until(partial(self._serves, number), f"MTA worker {number} serving"))
        await self._first(until(lambda: self.client() is not None, "the store's owner serving", seconds=60))

    async def failed(self) -> None:
        """Wait until a part cannot go on; raises what it said."""
        done, _ = await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            raise ChildFailed(f"{task.get_name()} ended with code {task.result()}")

    async def stop_mtas(self) -> None:
        """Let the workers finish what is under way; their logs are complete then."""
        await asyncio.gather(*(child.stop() for child in self.mtas))

    async def stop(self) -> None:
        """End everything, the owner last, so that it loads what the workers still wrote."""
        await self.stop_mtas()
        await self.owner.stop()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _serves(self, worker: int) -> bool:
        return self.live(worker) is not None

    def live(self, worker: int) -> dict[str, Any] | None:
        """What an MTA worker says of itself; None when it does not answer."""
        with suppress(httpx.HTTPError, ValueError):
            path = self.settings.folder.mta_socket(worker)
            answer: dict[str, Any] = ask_socket(path, "/api/live", timeout=2.0).json()
            return answer
        return None

    def client(self) -> OwnerClient | None:
        """The owner's API, if it answers now."""
        return connect(self.settings.folder)

    async def ask(self, url: str, parameters: dict[str, Any] | None = None, seconds: float = 20.0) -> Any:
        """An answer of the owner, waiting through a restart of it."""
        answer: list[Any] = []

        def ask() -> bool:
            client = self.client()
            if client is None:
                return False
            with suppress(OwnerUnavailable):
                answer.append(client.get(url, parameters))
            return bool(answer)

        await until(lambda: asyncio.to_thread(ask), f"an answer to {url}", seconds=seconds)
        return answer[0]

    async def _first(self, waiting: Any) -> None:
        """Wait for something, unless a child fails first."""
        task = asyncio.ensure_future(waiting)
        done, _ = await asyncio.wait((task, *self._running.values()), return_when=asyncio.FIRST_COMPLETED)
        if task not in done:
            task.cancel()
            await self.failed()
        await task


def free_port(preferred: int, taken: Sequence[int] = (), host: str = "127.0.0.1") -> int:
    """The preferred port if nobody has it, else one that the system picks."""
    for port in (preferred, 0, 0, 0):
        with suppress(OSError), socket.create_server((host, port)) as probe:
            found: int = probe.getsockname()[1]
            if found not in taken:
                return found
    raise ChildFailed(f"no free port on {host}")
