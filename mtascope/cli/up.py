"""`mtascope up`: the whole suite on one machine."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import click
import orjson

from mtascope.console import page_with_token
from mtascope.output import data_option, emit, json_option, say
from mtascope.settings import Settings, load_settings
from mtascope.suite import Suite

__all__ = ["command"]


@click.command()
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="MTA processes (default: one per core).")
@json_option
def command(data_dir: str | None, config: str | None, workers: int | None, *, as_json: bool) -> None:
    """Run MTA workers, collector, store, API, console and metrics until Ctrl-C.

    Example: mtascope up --config /etc/mtascope.toml
    """
    workers = workers or os.cpu_count() or 1
    settings = load_settings(config, data_dir)
    settings = settings.model_copy(
        update={"data": settings.data.resolve(), "mta": settings.mta.model_copy(update={"reuse_port": workers > 1})}
    )
    asyncio.run(_run(settings, workers, as_json=as_json))


async def _run(settings: Settings, workers: int, *, as_json: bool) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    suite = Suite(settings, _written(settings), workers=workers)
    try:
        await suite.start()
        urls = (await suite.ask("/v1/status"))["urls"]
        for name, url in page_with_token(settings, urls).items():
            say(f"{name:8} {url}")
        if as_json:
            emit({"urls": urls, "token_file": str(settings.folder.console_token)})
        waits = {asyncio.create_task(told.wait()), asyncio.create_task(suite.failed())}
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()
    finally:
        await suite.stop()


def _written(settings: Settings) -> Path:
    """The settings as the children read them: resolved, in the run folder, for this user only."""
    settings.folder.create()
    path = settings.folder.run / "settings.json"
    content = settings.model_dump(mode="json")
    if settings.http.token is not None:
        content["http"]["token"] = settings.http.token.get_secret_value()
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(orjson.dumps(content))
    return path
