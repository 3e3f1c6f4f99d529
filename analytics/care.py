"""Care of the data: a copy that can be trusted, its return, and forgetting one person."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import duckdb
import orjson

from analytics.errors import StoreDamaged, StoreError
from analytics.parts import Parts
from analytics.store import Store
from analytics.suppression import forget

__all__ = ["Backup", "Erasure", "back_up", "erase", "restore"]

_MANIFEST = "manifest.json"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: file names and their SHA-256, and how large the archive is."""

    path: str
    files: Mapping[str, str]
    bytes: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """How many rows no longer point at a person."""

    events: int
    recipients: int
    reports: int
    suppressions: int
    """Entries of the suppression list that no longer tell an address, a note or a source; they stay in force."""


def back_up(store: Store, target: Path, beside: Mapping[str, Path]) -> Backup:
    """Write the database as of now, its sealed parts, and the files `beside` it (the keyring) to one tar file.

    Loads wait while the files are copied. The archive appears under its name only when it is whole and on disk; it
    holds keys and is therefore readable by its owner only. StoreError if something is there already.
    """
    if target.exists():
        raise StoreError("is there already", where=str(target), remedy="name a new file")
    half = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with store.at_rest() as database:
            sealed = {f"parts/{path.name}": path for path in store.part_files()}
            digests = _write_archive(half, {"store.duckdb": database, **sealed, **beside})
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
    return Backup(str(target), digests, target.stat().st_size)


def restore(archive: Path, place: Callable[[str], Path]) -> dict[str, str]:
    """Unpack a backup: `place` says where each name goes. Every file is checked before any is put in its place.

    StoreDamaged names a file that is missing or not what was backed up; StoreError one that is in the way.
    """
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(_MANIFEST)
            digests: dict[str, str] = orjson.loads(member.read(_CHUNK)) if member is not None else {}
            targets = {name: place(name) for name in digests}
            for name, target in targets.items():
                if target.exists():
                    raise StoreError(f"{name} is there already", where=str(target), remedy="restore into a new folder")
            halves = {name: _unpack(tar, name, target, digests[name]) for name, target in targets.items()}
    except (tarfile.TarError, orjson.JSONDecodeError, KeyError, EOFError) as error:
        raise StoreDamaged(f"is no backup: {error}", where=str(archive)) from error
    for name, half in halves.items():
        half.replace(targets[name])
    return digests


def erase(store: Store, address: str) -> Erasure:
    """Make the store forget whose mail it was; what became of the mail stays counted.

    The address's pseudonyms under every key go from events, recipients and reports. Reading the same logs again brings
    nothing back, because the events are still known.
    """
    hashes = store.recipient_hashes(address)
    with store.writing() as con:
        events, recipients, reports, _ = (
            con.execute(
                f"UPDATE {table} SET recipient_hash = NULL WHERE list_contains(?::UBIGINT[], recipient_hash)", [hashes]
            ).fetchall()[0][0]
            for table in ("event", "unit", "feedback", "correction")
        )
        sealed_events, sealed_recipients = _erase_sealed(con, store.parts, hashes, store.clock())
        con.execute(
            "UPDATE dmarc.failure SET recipient_hashes = [] WHERE list_has_any(recipient_hashes, ?::UBIGINT[])",
            [hashes],
        )
        suppressions = forget(con, hashes)
    return Erasure(events + sealed_events, recipients + sealed_recipients, reports, suppressions)


def _erase_sealed(con: duckdb.DuckDBPyConnection, parts: Parts, hashes: Sequence[int], now: int) -> tuple[int, int]:
    """Write the parts anew that point at this person; how many events and recipients did."""
    listed = ", ".join(str(number) for number in hashes)
    forgotten = f"* REPLACE (CASE WHEN recipient_hash NOT IN ({listed}) THEN recipient_hash END AS recipient_hash)"
    events = recipients = 0
    for name in parts.names(con):
        told, people = con.execute(
            "SELECT coalesce(sum(len(events)), 0)::BIGINT, coalesce(sum(n), 0)::BIGINT "
            f"FROM read_parquet('{parts.path(name)}') WHERE recipient_hash IN ({listed})"
        ).fetchall()[0]
        if told:
            parts.rewrite(con, [name], forgotten, now)
        events, recipients = events + told, recipients + people
    return events, recipients


def _write_archive(path: Path, files: Mapping[str, Path]) -> dict[str, str]:
    digests = {name: _digest(source) for name, source in files.items()}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w") as tar:
            manifest = orjson.dumps(digests)
            head = tarfile.TarInfo(_MANIFEST)
            head.size = len(manifest)
            tar.addfile(head, BytesIO(manifest))
            for name, source in files.items():
                tar.add(source, arcname=name)
        raw.flush()
        os.fsync(raw.fileno())
    return digests


def _unpack(tar: tarfile.TarFile, name: str, target: Path, digest: str) -> Path:
    """One member beside its place, checked; names in the archive never become paths."""
    member = tar.extractfile(name)
    if member is None:
        raise StoreDamaged(f"{name} is missing", where=str(tar.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.{os.getpid()}")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        shutil.copyfileobj(member, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())
    if _digest(half) != digest:
        half.unlink()
        raise StoreDamaged(f"{name} is not what was backed up", where=str(tar.name), remedy="take another backup")
    return half


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
