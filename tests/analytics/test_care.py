"""A backup is whole and comes back as it was; an erased person is forgotten and stays so."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from analytics.care import back_up, erase, restore
from analytics.errors import StoreDamaged, StoreError
from analytics.identity import check
from analytics.rates import Question, ask
from analytics.store import Store
from analytics.trace import trace
from mta.events.event import Event, EventType
from mta.events.intake import Batch

START = 1_780_000_000_000_000
MAILS = [
    Event(
        type=EventType.RECEPTION,
        time=START + n,
        node="n",
        mta="kumomta",
        queue_id=f"q{n}",
        recipient=f"u{n % 3}@gmail.com",
    )
    for n in range(30)
]


@pytest.fixture
def filled(store: Store) -> Store:
    store.load(Batch("test", [(mail,) for mail in MAILS]))
    return store


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    return path


def test_a_backup_comes_back_with_every_number(
    filled: Store, keys: Path, tmp_path: Path, store_at: Callable[[Path], Store]
) -> None:
    before = ask(filled, Question())
    made = back_up(filled, tmp_path / "backup.tar", {"keys.json": keys})
    filled.load(Batch("test", [(replace(MAILS[0], queue_id="after the backup"),)]))
    place = tmp_path / "new"
    assert restore(tmp_path / "backup.tar", lambda name: place / name) == made.files
    with store_at(place / "store.duckdb") as again:
        assert ask(again, Question()) == before
        assert check(again.cursor()).holds
        assert again.load(Batch("test", [(mail,) for mail in MAILS])).duplicates == 30


def test_a_backup_is_for_its_owner_only_and_overwrites_nothing(filled: Store, keys: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar"
    back_up(filled, target, {"keys.json": keys})
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match=r"backup\.tar"):
        back_up(filled, target, {})


def test_a_restore_overwrites_nothing(filled: Store, keys: Path, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "backup.tar", {"keys.json": keys})
    with pytest.raises(StoreError, match="there already"):
        restore(tmp_path / "backup.tar", lambda name: tmp_path / name)


@pytest.mark.parametrize("harm", ["cut", "flipped", "rubbish"])
def test_a_damaged_backup_is_named_and_nothing_is_put_in_place(
    filled: Store, keys: Path, tmp_path: Path, harm: str
) -> None:
    archive = tmp_path / "backup.tar"
    back_up(filled, archive, {"keys.json": keys})
    data = bytearray(archive.read_bytes())
    if harm == "cut":
        del data[len(data) // 2 :]
    elif harm == "flipped":
        data[len(data) // 2] ^= 0xFF
    else:
        data = bytearray(b"no archive")
    archive.write_bytes(data)
    place = tmp_path / "new"
    with pytest.raises(StoreDamaged, match=r"backup\.tar"):
        restore(archive, lambda name: place / name)
    assert not (place / "store.duckdb").exists()


def test_names_in_an_archive_never_become_paths(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        manifest = b'{"../../evil": "0"}'
        head = tarfile.TarInfo("manifest.json")
        head.size = len(manifest)
        tar.addfile(head, BytesIO(manifest))
    asked: list[str] = []

    def place(name: str) -> Path:
        asked.append(name)
        raise StoreError(f"unknown name {name}")

    with pytest.raises(StoreError, match="unknown name"):
        restore(archive, place)
    assert asked == ["../../evil"]


def test_an_erased_person_is_found_no_more_and_a_replay_does_not_bring_them_back(filled: Store) -> None:
    before = ask(filled, Question())
    assert len(trace(filled, "u1@gmail.com")) == 10
    erased = erase(filled, "U1@gmail.com")
    assert (erased.events, erased.recipients, erased.reports) == (10, 10, 0)
    filled.load(Batch("test", [(mail,) for mail in MAILS]))
    assert trace(filled, "u1@gmail.com") == []
    assert len(trace(filled, "u2@gmail.com")) == 10
    assert ask(filled, Question()) == before
    assert erase(filled, "u1@gmail.com").events == 0
