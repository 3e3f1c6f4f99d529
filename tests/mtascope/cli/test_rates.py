"""`mtascope rates` prints what was asked for, in the form asked for, from a store that nobody owns."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mta.events.event import Event, EventType
from mta.events.instants import DAY
from mta.events.intake import Batch
from mtascope.cli.query import command as query
from mtascope.cli.rates import command as rates
from mtascope.opened_store import open_store
from mtascope.settings import load_settings

START = 1_780_000_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store with a mail on each of two days."""
    with open_store(load_settings(None, tmp_path / "var")) as store:
        common: dict[str, Any] = {
            "node": "n",
            "mta": "kumomta",
            "type": EventType.RECEPTION,
            "recipient": "u@gmail.com",
        }
        events = [Event(time=at, created=at, queue_id=f"q{at}", **common) for at in (START, START + DAY)]
        store.load(Batch("test", [(event,) for event in events]))
    return tmp_path / "var"


def run(command: Any, *words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def test_steps_are_days_of_the_zone(data: Path) -> None:
    found = run(rates, "--data", str(data), "--step", "1d", "--zone", "Europe/Berlin", "--json")
    assert [row["time"][11:16] for row in json.loads(found.stdout)] == ["22:00", "22:00"]


def test_csv_and_ndjson_have_a_row_a_group(data: Path) -> None:
    found = run(rates, "--data", str(data), "--step", "1d", "--format", "csv")
    assert [row["injected"] for row in csv.DictReader(io.StringIO(found.stdout))] == ["1", "1"]
    [line] = run(rates, "--data", str(data), "--format", "ndjson").stdout.splitlines()
    assert json.loads(line)["provider"] == "gmail"


def test_a_query_prints_csv_or_json(data: Path) -> None:
    sql = "SELECT provider, sum(n) AS mails FROM v_recipient GROUP BY ALL"
    assert run(query, sql, "--data", str(data)).stdout.splitlines() == ["provider,mails", "gmail,2"]
    assert json.loads(run(query, sql, "--data", str(data), "--json").stdout)["rows"] == [["gmail", 2]]
