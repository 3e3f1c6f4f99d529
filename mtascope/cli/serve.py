"""`mtascope serve`: the owner of the store alone."""

from __future__ import annotations

import asyncio
import signal

import click

from mtascope.console import page_with_token
from mtascope.output import data_option, emit, json_option, say
from mtascope.owner import Owner
from mtascope.settings import Settings, load_settings

__all__ = ["command"]


@click.command()
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Own the store: follow logs, answer the API, show console and metrics, until Ctrl-C.

    Example: mtascope serve --data /var/lib/mtascope
    """
    asyncio.run(_serve(load_settings(config, data_dir), as_json=as_json))


async def _serve(settings: Settings, *, as_json: bool) -> None:
    owner = Owner(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, owner.stop)
    running = asyncio.create_task(owner.run())
    waiting = asyncio.create_task(owner.started.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if owner.started.is_set():
        for name, url in page_with_token(settings, owner.urls).items():
            say(f"{name:8} {url}")
        if as_json:
            emit({"urls": owner.urls, "token_file": str(settings.folder.console_token)})
    await running
