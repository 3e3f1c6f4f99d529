"""Dialects as files and folders bring them: taken up in mid-file, several in one folder, rotated and compressed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest
import zstandard

from collector.follower import Follower
from collector.ingest import ingest_paths
from collector.settings import CollectorSettings
from collector.testing import MemoryStore

DATA = Path(__file__).parents[1] / "data"
PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.ZstdCompressor().compress}
SAMPLES = ["postfix/a-message", "exim/a-message", "powermta/records", "haraka/default"]


def sample(name: str) -> list[dict]:
    return json.loads((DATA / f"{name}.json").read_text())


def log(name: str) -> bytes:
    return "".join(record["line"] + "\n" for record in sample(name)).encode()


def events(name: str) -> int:
    return sum(len(record["gives"]) for record in sample(name) if isinstance(record["gives"], list))


def settings(folder: Path) -> CollectorSettings:
    return CollectorSettings(paths=(str(folder),), node="here", timezone="UTC")


def test_a_log_whose_header_was_read_before_a_restart_is_read_on_by_it(tmp_path, store):
    header, *rows = log("powermta/records").splitlines(keepends=True)
    path = tmp_path / "acct.csv"
    path.write_bytes(header + rows[0])
    for more in (b"", b"".join(rows[1:8])):
        with path.open("ab") as file:
            file.write(more)
        follower = Follower(settings(tmp_path), store)
        while follower.step():
            pass
        follower.flush()
        follower.close()
    assert not store.quarantined
    assert store.receipt.events_stored == 7


@pytest.mark.parametrize("suffix", PACKED)
def test_a_folder_of_several_dialects_is_read_whatever_its_files_are_packed_with(tmp_path, store, suffix):
    for name in SAMPLES:
        (tmp_path / f"{name.replace('/', '-')}.log{suffix}").write_bytes(PACKED[suffix](log(name)))
    receipt, files = ingest_paths([str(tmp_path)], store, settings(tmp_path))
    assert (files, receipt.events_stored) == (len(SAMPLES), sum(map(events, SAMPLES)))
    assert receipt.adds_up


@pytest.mark.parametrize("name", SAMPLES)
def test_reading_a_log_again_stores_nothing_new(tmp_path, name):
    store = MemoryStore()
    (tmp_path / "log").write_bytes(log(name))
    first, _ = ingest_paths([str(tmp_path)], store, settings(tmp_path))
    again, _ = ingest_paths([str(tmp_path)], store, settings(tmp_path))
    assert (first.events_stored, again.events_stored) == (events(name), 0)
    assert again.adds_up
