"""`mtascope doctor`: whether everything is as it should be."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from analytics.errors import StoreDamaged
from analytics.identity import check
from analytics.parts import Damage
from mta.events.errors import MtascopeError
from mtascope.client import connect
from mtascope.keys import load_keyring
from mtascope.names import clashes
from mtascope.output import Exit, data_option, emit, json_option
from mtascope.settings import Settings, load_settings

__all__ = ["command"]

_LEAST_FREE = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `fix` says what to do where it is not ok."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None


@click.command()
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Check the installation, settings, keys, store, ports, clock, name clashes and disk.

    Example: mtascope doctor --config /etc/mtascope.toml
    """
    checks = list(_checks(data_dir, config))
    if as_json:
        emit({"checks": [asdict(found) for found in checks]})
    else:
        for found in checks:
            click.echo(f"{'ok  ' if found.ok else 'FAIL'}  {found.name}: {found.detail}")
            if not found.ok and found.fix:
                click.echo(f"      {found.fix}")
    return Exit.DONE if all(found.ok for found in checks) else Exit.REFUSED


def _checks(data_dir: str | None, config: str | None) -> Iterator[Check]:
    yield Check("python", sys.version_info >= (3, 11), sys.version.split()[0], "mtascope needs Python 3.11 or newer")
    yield _names()
    try:
        settings = load_settings(config, data_dir)
    except MtascopeError as error:
        yield Check("settings", ok=False, detail=str(error), fix="correct the settings file")
        return
    yield Check("settings", ok=True, detail=config or "defaults")
    yield _disk(settings.folder.root)
    yield _clock()
    owner = connect(settings.folder)
    if owner is not None:
        holds = owner.get("/v1/status")["store"].get("identity_holds", True)
        yield Check("store", ok=holds, detail="owned by a running process", fix="see mtascope status")
        return
    yield from _ports(settings)
    if settings.folder.keys.exists():
        yield _guarded("keys", "readable", lambda: load_keyring(settings.folder.keys))
    if settings.folder.store.exists():
        yield _guarded("store", "opens, and the counting identity holds", lambda: _inspect(settings))


def _names() -> Check:
    found = clashes()
    detail = "; ".join(f"{package} is also installed by {', '.join(others)}" for package, others in found.items())
    return Check("names", not found, detail or "no clash", "give mtascope an environment of its own")


def _disk(root: Path) -> Check:
    existing = next(folder for folder in (root, *root.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return Check("disk", free > _LEAST_FREE, f"{free / 1e9:.1f} GB free for {root}", "free some space")


def _clock() -> Check:
    """Whether the wall clock is plausible; comparing it with the world is the time service's duty."""
    year = time.gmtime().tm_year
    return Check("clock", 2024 <= year <= 2100, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "set the clock")


def _ports(settings: Settings) -> Iterator[Check]:
    http = settings.http
    wanted = [("http", http.host, http.port), ("metrics", http.metrics_host, http.metrics_port)]
    wanted += [("smtp", host, port) for host, port in settings.mta.listen]
    for name, host, port in wanted:
        try:
            with closing(socket.create_server((host, port))):
                yield Check(f"port {port}", ok=True, detail=f"free for {name}")
        except OSError as error:
            yield Check(f"port {port}", ok=False, detail=f"{name}: {error.strerror}", fix="choose another port")


def _guarded(name: str, fine: str, probe: Callable[[], object]) -> Check:
    try:
        probe()
    except MtascopeError as error:
        return Check(name, ok=False, detail=str(error), fix=error.remedy)
    return Check(name, ok=True, detail=fine)


def _told(damaged: Sequence[Damage]) -> str:
    """What is lost until the files are put back; figures by provider stay, for they are in the database."""
    return "; ".join(
        f"{one.name} {one.reason}: {one.recipients} recipients and {one.events} events of {one.days} are passed over"
        for one in damaged
    )


def _inspect(settings: Settings) -> None:
    from mtascope.opened_store import open_store

    with open_store(settings) as store, closing(store.cursor()) as cursor:
        damaged = store.verify()
        if damaged:
            raise StoreDamaged(_told(damaged), where=str(store.parts.folder), remedy="put the files back from a backup")
        identity = check(cursor)
        if not identity.holds:
            raise MtascopeError(f"the counting identity fails by {identity.broken} recipients", where=str(store.path))
