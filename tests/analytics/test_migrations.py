"""Stores of every released schema open in this version with all their numbers; a newer one is refused (test_store)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analytics.identity import check
from analytics.migrations import SCHEMA
from analytics.rates import Question, ask
from analytics.store import Store

KEPT = Path(__file__).parents[1] / "data" / "store"


@pytest.mark.parametrize("schema", [2])
def test_a_store_of_an_older_schema_opens_answers_as_it_did_and_can_be_sealed(
    schema: int, tmp_path: Path, hasty_store_at: Callable[[Path], Store]
) -> None:
    path = tmp_path / "store.duckdb"
    path.write_bytes(gzip.decompress((KEPT / f"schema-{schema}.duckdb.gz").read_bytes()))
    rows = json.loads((KEPT / f"schema-{schema}.json").read_text("utf8"))["by_domain_and_tenant"]
    expected = {(row.pop("domain"), row.pop("tenant")): row for row in rows}
    with hasty_store_at(path) as store:
        assert store.query("SELECT max(version) FROM schema_version") == [(SCHEMA,)]
        for _ in range(2):
            found = {tuple(row.key.values()): row.counts for row in ask(store, Question(by=("domain", "tenant")))}
            assert {key: {name: found[key][name] for name in row} for key, row in expected.items()} == expected
            assert check(store.cursor()).holds
            store.tend(thoroughly=True)
        assert store.query("SELECT count(*) > 0 FROM part") == [(True,)]
