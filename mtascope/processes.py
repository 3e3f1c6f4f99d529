"""Children of the front door: started, watched, restarted when they die, ended in order.

A child that dies is started again at once, then with growing pauses; whatever it had acknowledged is on disk, so a
restart is the whole recovery. A child that ends with the exit code for wrong usage or settings would end so again:
that is raised instead, with the last lines it wrote.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mta.events.errors import MtascopeError
from mtascope.output import Exit
from mtascope.supervised import MARK

__all__ = ["Child", "ChildFailed", "command_line", "fast_loop", "until"]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_STEADY_AFTER = 10.0
"""A child that ran this long (seconds) has recovered: the next death starts with the short pause again."""


class ChildFailed(MtascopeError):
    """A part of the suite cannot run."""


class Child:
    """One process, by name. Its pid is in `<folder>/<name>.pid`, what it writes to standard error in `<name>.log`."""

    def __init__(self, name: str, argv: Sequence[str], folder: Path, *, restart: bool = True) -> None:
        self.name = name
        self.restarts = 0
        self._argv = tuple(argv)
        self._pid_file = folder / f"{name}.pid"
        self._log_file = folder / f"{name}.log"
        self._restart = restart
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def run(self) -> int:
        """Keep the process running until `stop`; the exit code of its last life. Raises ChildFailed."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await self._live()
            if self._stopping or not self._restart:
                return code
            if code in {Exit.USAGE, Exit.MISSING}:
                raise ChildFailed(f"{self.name} cannot run: {self._last_words()}", remedy=f"see {self._log_file}")
            self.restarts += 1
            pause = _FIRST_PAUSE if time.monotonic() - began > _STEADY_AFTER else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def stop(self, patience: float = 20.0) -> None:
        """SIGTERM, and SIGKILL for one that does not listen; returns when it is gone."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _live(self) -> int:
        with self._log_file.open("ab") as log:
            # Its own session: Ctrl-C at the terminal goes to us alone, and we end the children in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,  # see mtascope/supervised.py
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, MARK: "1"},
            )
        self._pid_file.write_text(f"{self._process.pid}\n", "ascii")
        try:
            return await self._process.wait()
        finally:
            if self._process.returncode is None:  # we are being cancelled: leave no orphan
                with suppress(ProcessLookupError):
                    self._process.kill()
            self._pid_file.unlink(missing_ok=True)

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._log_file.read_text("utf8", "replace").strip().splitlines()
            return " / ".join(lines[-3:])
        return "it said nothing"


def command_line(*words: str | os.PathLike[str]) -> list[str]:
    """How to call this program's own command line in another process."""
    return [sys.executable, "-m", "mtascope", *(os.fspath(word) for word in words)]


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's event loop, where there is one: it has no Windows build, and asyncio's own is only slower."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def until(
    ready: Callable[[], Awaitable[bool] | bool], what: str, *, seconds: float = 30.0, every: float = 0.05
) -> None:
    """Wait for a condition; ChildFailed names what did not come."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ready()
        if await answer if isinstance(answer, Awaitable) else answer:
            return
        if time.monotonic() > deadline:
            raise ChildFailed(f"{what} did not happen within {seconds:g} s")
        await asyncio.sleep(every)
