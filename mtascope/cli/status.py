"""`mtascope status`: health of each part."""

from __future__ import annotations

from typing import Any

import click

from mta.events.errors import MtascopeError
from mtascope.client import connect
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Health of each part of the suite that runs on this data directory.

    Example: mtascope status --data var/demo
    """
    folder = load_settings(config, data_dir).folder
    owner = connect(folder)
    if owner is None:
        raise _NothingRuns("nothing runs here", where=str(folder.root), remedy="start it: mtascope up")
    answer: dict[str, Any] = owner.get("/v1/status")
    if as_json:
        emit(answer)
    else:
        _print(answer)
    return Exit.DONE if answer["store"].get("identity_holds", True) else Exit.REFUSED


class _NothingRuns(MtascopeError):
    temporary = True


def _print(answer: dict[str, Any]) -> None:
    store, collector = answer["store"], answer["collector"]
    say(f"store      {store.get('events', 0)} events, {store['bytes'] / 1e6:.1f} MB, "
        f"identity {'holds' if store.get('identity_holds', True) else 'BROKEN'}")  # fmt: skip
    receipt = collector["receipt"]
    say(f"collector  {receipt['stored']} records stored, {receipt['duplicates']} duplicates, "
        f"{receipt['quarantined']} quarantined, lag {collector['lag_s'] or 0:.1f} s")  # fmt: skip
    for name, state in answer["mta"].items():
        say(f"{name:10} {state}")
    for name, url in answer["urls"].items():
        say(f"{name:10} {url}")
