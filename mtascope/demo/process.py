"""How the demo's own processes start and stop: settings from a JSON file, one event loop, an orderly end at SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mta.events.errors import MtascopeError, SettingsError
from mtascope.processes import fast_loop
from mtascope.supervised import end_with_the_supervisor

__all__ = ["read_settings", "run_process"]

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(path: Path, model: type[Settings]) -> Settings:
    """The settings in a JSON file; SettingsError says which one is wrong."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SettingsError(str(error), where=str(path)) from error


def run_process(path: Path, model: type[Settings], work: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    """Run `work` with the settings in `path` on a fresh event loop; SIGTERM and SIGINT set the event that it is given.

    An error that mtascope can name ends the process with status 2 and one line on standard error.
    """
    end_with_the_supervisor()
    try:
        settings = read_settings(path, model)
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(_until_told(settings, work))
    except MtascopeError as error:
        sys.stderr.write(f"mtascope: {error}\n")
        sys.exit(2)


async def _until_told(settings: Settings, work: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await work(settings, stop)
