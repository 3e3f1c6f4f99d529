"""Readers in processes of their own: the same store as without them, in the same order, and no silent loss."""

from __future__ import annotations

import os
import signal

import pytest

from analytics.dmarc_store import DmarcStore
from analytics.enrich import Enricher
from analytics.store import Store
from dmarc.errors import ReaderFailed
from dmarc.ingest import ReportIngest, ingest_files
from dmarc.mailbox.folder import find_files
from dmarc.reader_process import ReaderProcesses, ingest_paths
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

NOW = 1_767_225_600_000_000
KEYRING = Keyring(b"i" * 32, {1: b"r" * 32})
TABLES = ("report", "record", "auth", "override", "tls_policy", "failure", "input", "quarantine")


@pytest.fixture
def stored(tmp_path):
    """Loads a folder in a store of its own, by the way that is given, and tells what every table holds."""
    made = 0

    def load(fill) -> dict[str, list[tuple[object, ...]]]:
        nonlocal made
        made += 1
        enricher = Enricher(KEYRING, provider_map(), taxonomy(), reply_classifier())
        with Store(tmp_path / f"{made}.duckdb", enricher, clock=lambda: NOW) as store:
            reports = DmarcStore(store)
            fill(ReportIngest(reports, KEYRING, lambda: NOW))
            reports.close()
            return {table: store.query(f"FROM dmarc.{table} ORDER BY ALL") for table in TABLES}

    return load


@pytest.fixture
def folder(tmp_path, report, record, gz, samples):
    """Files of every kind, many small ones, revisions and damage among them."""
    root = tmp_path / "files"
    root.mkdir()
    for number in range(120):
        data = report([record(count=number + 1)], report_id=f"r{number % 110}")
        (root / f"{number:04}.gz").write_bytes(gz(data))
    for number, data in enumerate(samples):
        (root / f"sample{number}").write_bytes(data)
    (root / "junk").write_bytes(b"junk")
    (root / "empty").write_bytes(b"")
    (root / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"")
    return root


def names(folder) -> list[str]:
    return [file.path for file in find_files(str(folder))]


def read_by_two(paths: list[str], ingest: ReportIngest) -> list[int]:
    with ReaderProcesses(2) as readers:
        return list(ingest_paths(paths, ingest, readers))


def test_several_processes_store_what_one_stores(stored, folder):
    alone = stored(lambda ingest: ingest_files(find_files(str(folder)), ingest))
    together = stored(lambda ingest: read_by_two(names(folder), ingest))
    assert together == alone
    assert len(alone["report"]) > 110


def test_progress_is_told_and_a_file_that_vanished_is_passed_over(stored, folder):
    told: list[int] = []
    stored(lambda ingest: told.extend(read_by_two([*names(folder), "/nowhere/at/all"], ingest)))
    assert told == sorted(told)
    assert told[-1] == len(names(folder))
    assert len(told) > 3


def kill_and_go_on(ingest: ReportIngest, paths: list[str]) -> None:
    with ReaderProcesses(2) as readers:
        for _ in readers.take(paths, ingest):
            for reader in readers._readers:
                os.kill(reader.pid, signal.SIGKILL)


def test_a_reader_that_dies_is_an_error_and_stores_nothing_half(stored, folder):
    def fill(ingest) -> None:
        with pytest.raises(ReaderFailed):
            kill_and_go_on(ingest, names(folder))

    assert stored(fill)["report"] == []
