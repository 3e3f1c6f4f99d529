"""`mtascope demo`: everything at once, on simulated mailbox providers."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import click

from mta.events.errors import SettingsError
from mta.events.instants import SECOND
from mtascope.demo.run import Demo, DemoPlan, clear
from mtascope.demo.scenario import scenario_names
from mtascope.demo.summary import describe
from mtascope.output import Duration, Exit, emit, json_option, say

__all__ = ["command"]

_DEFAULT_DATA = Path("var") / "demo"


@click.command()
@click.option("--for", "duration", type=Duration(), default=None, help="Stop by itself: 30s, 5m. Default: Ctrl-C.")
@click.option("--rate", type=click.FloatRange(0.1, 2000), default=50.0, show_default=True, help="Mails a second.")
@click.option("--scenario", type=click.Choice(scenario_names()), default="steady", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same mail and replies.")
@click.option(
    "--speed", type=click.FloatRange(1, 600), default=1.0, show_default=True, help="Minutes that pass in a minute."
)
@click.option("--history/--no-history", default=True, show_default=True, help="Four weeks came before.")
@click.option("--workers", type=click.IntRange(1, 16), default=1, show_default=True, help="MTA processes.")
@click.option(
    "--data", "data_dir", type=click.Path(file_okay=False), default=None, help="Default: var/demo, made anew."
)
@json_option
def command(  # noqa: PLR0913
    duration: int | None,
    rate: float,
    scenario: str,
    seed: int,
    speed: float,
    workers: int,
    data_dir: str | None,
    *,
    history: bool,
    as_json: bool,
) -> int:
    """Run the whole suite on simulated mailbox providers and seeded traffic, with real SMTP on loopback.

    With --speed 60 an hour of the suite's time passes in a minute: incidents open while you watch.

    Example: mtascope demo --for 90s --speed 60 --scenario gmail-defers
    """
    plan = DemoPlan(
        data=_folder(data_dir),
        rate=rate,
        seconds=duration / SECOND if duration is not None else None,
        scenario=scenario,
        seed=seed,
        workers=workers,
        speed=speed,
        history=history,
    )
    summary = asyncio.run(_run(plan))
    if as_json:
        emit(summary)
    else:
        click.echo(describe(summary))
    return Exit.DONE if summary["identity_holds"] else Exit.REFUSED


def _folder(data_dir: str | None) -> Path:
    """The folder of this run: the default one is made anew, one that was named must be empty."""
    if data_dir is None:
        clear(_DEFAULT_DATA)
        return _DEFAULT_DATA.resolve()
    path = Path(data_dir)
    if path.exists() and any(path.iterdir()):
        raise SettingsError(
            "is not empty: a demo's figures start from zero", where=str(path), remedy="name a new folder"
        )
    return path.resolve()


async def _run(plan: DemoPlan) -> dict[str, Any]:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    demo = Demo(plan)
    try:
        await demo.start()
        _welcome(demo, plan)
        showing = asyncio.create_task(_show(demo))
        await demo.watch(told)
        showing.cancel()
        say(
            "\nending: the last mails are delivered, then the figures are compared" if sys.stderr.isatty() else "ending"
        )
        return await demo.finish()
    except BaseException:
        await demo.abandon()
        raise


def _welcome(demo: Demo, plan: DemoPlan) -> None:
    until = f"for {plan.seconds:g} s" if plan.seconds else "until Ctrl-C"
    pace = f", {plan.speed:g} times as fast as life" if plan.speed > 1 else ""
    say(f"mtascope demo: {plan.rate:g} mails/s, scenario {plan.scenario}, {until}{pace}")
    say("")
    say(f"  page     {demo.urls['page']}        rates per provider, live")
    say(f"  api      {demo.urls['api']}      the same as JSON: /rates, /reasons, /status")
    say(f"  metrics  {demo.urls['metrics']} for Prometheus")
    say(f"  data     {plan.data}")
    say("")


async def _show(demo: Demo) -> None:
    """One line that keeps changing, on a terminal only."""
    if demo.suite is None or not sys.stderr.isatty():
        return
    while True:
        await asyncio.sleep(1)
        [total] = await demo.suite.ask("/v1/rates", {"by": ""})
        rate = total["delivery_rate"]["value"]
        share = f"{100 * rate:.1f} %" if rate is not None else "no data"
        click.echo(
            f"\r\x1b[K  injected {total['injected']}  delivered {total['delivered']}  bounced {total['bounced']}  "
            f"in flight {total['in_flight']}  delivery rate {share}",
            err=True,
            nl=False,
        )
