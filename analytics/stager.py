"""Taking a batch apart before its turn: reading and keying need nothing of what is stored, so they wait for nobody.

While one batch is loaded, which only one thread can do, the next is read into a table of its own, in a database in
memory that all connections of the store see. Loading then begins with rows that have their pseudonyms and identities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import duckdb

from analytics.columns import Told, tell_unread
from analytics.enrich import Enricher
from analytics.staging import create_clear, hand_to_own_hops, key, tell
from mta.events.intake import Batch

__all__ = ["Staged", "Stager"]


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch whose events stand in `table`, keyed; the records themselves are let go.

    `received` counts them, `told` says what became of them, `events` how many they tell.
    """

    batch: Batch
    received: int
    told: Told
    events: int
    table: str


class Stager:
    """Stages batches for one store; any number of threads may ask at the same time."""

    def __init__(self, con: duckdb.DuckDBPyConnection, enricher: Enricher) -> None:
        self._con = con
        self._enricher = enricher
        self._numbers = count()
        con.execute("ATTACH ':memory:' AS staging")

    def stage(self, batch: Batch) -> Staged:
        """Read what is unread and key all events; on a connection of its own."""
        if not (batch.records or batch.unread):
            return Staged(batch, batch.received, Told(), 0, "")
        table = f"staging.keyed_{next(self._numbers)}"
        con = self._con.cursor()
        try:
            create_clear(con)
            told = Told(len(batch.records)) + tell_unread(con, batch.unread, len(batch.records))
            tell(con, enumerate(batch.records))
            hand_to_own_hops(con, self._enricher.own_networks)
            events = key(con, self._enricher.keyring, table)
            return Staged(replace(batch, records=(), unread=()), batch.received, told, events, table)
        finally:
            con.close()

    def forget(self, staged: Staged) -> None:
        """The batch is loaded, or never will be."""
        if staged.table:
            self._con.execute(f"DROP TABLE IF EXISTS {staged.table}")
