"""Loading a batch: one transaction in which facts, outcomes, figures, counters and checkpoints change together or not.

The order inside the transaction:

1. tell the events and key them (`analytics/staging.py`); drop those whose `event_id` is already stored (looked up only
   in the batch's own time range, because a duplicate has its original's event time) or repeated in the batch;
2. enrich what is new (`analytics/enrich.py`) and append it to `event`;
3. merge it into `unit` and append the difference to `rollup`;
4. attribute late bounces and complaints to the units they are about, which is a merge like any other;
5. bump the counters, keep quarantine, move watermarks and checkpoints;
6. commit, which is an fsync. Only then does anybody hear "stored" (promise 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import duckdb

from analytics import counters, hops, learning, steps
from analytics.enrich import Enricher
from analytics.identity import broken_at_load
from analytics.lifecycle import FACTS, OUTCOME, hash_of_message_id, merged, projection
from analytics.profile import PROFILE
from analytics.recipients import flat, of_unit
from analytics.rollup import MEASURE_NAMES, ROLLED, condensed, contributions, summed
from analytics.sealed import Sealed
from analytics.stager import Staged
from analytics.suppressor import Suppressor
from analytics.transaction import transaction
from mta.events.address import mask_addresses
from mta.events.instants import DAY
from mta.events.intake import Batch, Checkpoint, Quarantined, Receipt
from mta.events.pseudonym import Keyring

__all__ = ["Loader"]


class Loader:
    """Applies batches through one connection; the caller owns the transaction's lock."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        enricher: Enricher,
        sealed: Sealed,
        suppressor: Suppressor,
        restate_days: int,
    ) -> None:
        self._con = con
        self._sealed = sealed
        self._enricher = enricher
        self._restate = restate_days * DAY
        self._suppressor = suppressor
        self._labelled: set[str] = set()
        self._templates: set[int] = set()
        self.identity_broken = 0
        """By how many recipients the counting identity failed after the last load."""
        self._stored = _columns_of_event(con)
        self._remember()

    @property
    def keyring(self) -> Keyring:
        """The keys that pseudonyms are made with."""
        return self._enricher.keyring

    def load(self, staged: Staged, now: int) -> Receipt:
        """Store the batch; all or nothing. `now` is the instant of loading."""
        con = self._con
        con.begin()
        try:
            receipt = self._apply(staged, now)
            con.commit()
        except BaseException:
            with suppress(duckdb.TransactionException):  # a commit that failed has ended the transaction already
                con.rollback()
            self._remember()
            raise
        return receipt

    def _remember(self) -> None:
        """Read back what this object caches of the store; needed again whenever a transaction was undone."""
        con = self._con
        self._labelled = {row[0] for row in con.execute("SELECT provider FROM provider_label").fetchall()}
        self._templates = {row[0] for row in con.execute("SELECT id FROM reply_template").fetchall()}
        self._enricher.learned = learning.learned(con)

    def _apply(self, staged: Staged, now: int) -> Receipt:
        con, batch, told = self._con, staged.batch, staged.told
        stored = events = 0
        if staged.events:
            con.execute(f"CREATE OR REPLACE TEMP TABLE keyed AS FROM {staged.table}")
            self._forget_known()
            stored, events = con.execute("SELECT count(DISTINCT record), count(*) FROM keyed").fetchall()[0]
            if events:
                self._store_new(now)
                self._name_providers()
                self._update_units()
                self._learn()
                counters.count_events(con, "fresh")
                steps.count_outcomes(con, "fresh")
                self._suppressor.note_failures(con)
                self._suppressor.decide(con, now)
                self._watermarks(now)
                self.identity_broken = broken_at_load(con)
        refused = [*batch.quarantined, *told.quarantined]
        quarantined = self._quarantine(refused, now)
        receipt = Receipt(
            received=staged.received,
            stored=stored,
            duplicates=told.understood - stored + len(refused) - quarantined,
            quarantined=quarantined,
            ignored=sum(batch.ignored.values()) + told.ignored,
            events_stored=events,
            events_duplicate=staged.events - events,
        )
        self._account(batch, receipt)
        self._checkpoint(batch.checkpoints, now)
        return receipt

    def _forget_known(self) -> None:
        """Take out of `keyed` what is stored already, and what the batch says twice."""
        con = self._con
        known = con.execute(
            "CREATE OR REPLACE TEMP TABLE known AS SELECT event_id FROM event WHERE time BETWEEN "
            "(SELECT make_timestamp(min(time)) FROM keyed) AND (SELECT make_timestamp(max(time)) FROM keyed) "
            "AND event_id IN (SELECT event_id FROM keyed)"
        ).fetchall()[0][0]
        if known:
            con.execute("DELETE FROM keyed WHERE event_id IN (FROM known)")
        self._sealed.forget_known()
        twice = "SELECT event_id FROM keyed GROUP BY event_id HAVING count(*) > 1"
        if con.execute(f"SELECT count(*) FROM ({twice})").fetchall()[0][0]:
            con.execute(
                f"DELETE FROM keyed WHERE rowid IN (SELECT rowid FROM keyed WHERE event_id IN ({twice}) "
                "QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY record, rowid) > 1)"
            )

    def _store_new(self, now: int) -> None:
        """Make `fresh` of `keyed` and append it to `event`."""
        con = self._con
        self._store_templates(self._enricher.enrich(con), now)
        columns = ", ".join(self._stored)
        con.execute(
            f"INSERT INTO event (loaded_at, key_epoch, {columns}) SELECT make_timestamp(?), ?, {columns} FROM fresh",
            [now, self.keyring.epoch],
        )

    def _store_templates(self, met: Mapping[int, str], now: int) -> None:
        unseen = {number: text for number, text in met.items() if number not in self._templates}
        if unseen:
            self._con.execute(
                "INSERT INTO reply_template SELECT unnest(?::UBIGINT[]), unnest(?::VARCHAR[]), make_timestamp(?) "
                "ON CONFLICT DO NOTHING",
                [list(unseen), list(unseen.values()), now],
            )
            self._templates.update(unseen)

    def _update_units(self) -> None:
        con = self._con
        con.execute(f"INSERT INTO rollup {summed(contributions(None, 'fresh'))}")
        con.execute(f"CREATE OR REPLACE TEMP TABLE arriving AS {projection('fresh')} AND recipient_hash IS NOT NULL")
        con.execute(f"CREATE OR REPLACE TEMP TABLE projected AS {projection('fresh')} AND recipient_hash IS NULL")
        self._sealed.revive("arriving")
        self._sealed.revive("projected")
        self._hand_down()
        self._merge_arriving()
        hops.note(self._con)
        self._follow_hops()
        self._attribute()
        self._follow_hops()  # a report may have been about a hop that another one stands for

    def _hand_down(self) -> None:
        """Keep what is told of whole messages, and add it to `arriving` for every recipient of a touched message."""
        con = self._con
        told = con.execute("SELECT count(*) FROM projected").fetchall()[0][0]
        if told:
            con.execute(
                "CREATE OR REPLACE TEMP TABLE told AS "
                + merged(
                    "SELECT * FROM projected",
                    "SELECT * FROM message WHERE message_key IN (SELECT message_key FROM projected)",
                )
            )
            con.execute("DELETE FROM message WHERE message_key IN (SELECT message_key FROM told)")
            con.execute("INSERT INTO message SELECT * FROM told")
        elif not con.execute("SELECT count(*) FROM message").fetchall()[0][0]:
            return
        facts = ", ".join(f"m.{fact.name}" for fact in FACTS if fact.name != "message_key")
        con.execute(
            "CREATE OR REPLACE TEMP TABLE touched AS SELECT DISTINCT unit_id, message_key FROM arriving UNION "
            "SELECT unit_id, message_key FROM unit WHERE message_key IN "
            "(SELECT message_key FROM projected)"
        )
        con.execute(
            f"INSERT INTO arriving SELECT t.unit_id, m.message_key, {facts} "
            "FROM touched t JOIN message m USING (message_key)"
        )

    def _merge_arriving(self) -> None:
        """Merge `arriving` (unit rows) into `unit`, appending to `rollup` by how much its figures changed."""
        con = self._con
        self._sealed.revive("arriving")
        names = ", ".join(fact.name for fact in FACTS)
        con.execute(
            "CREATE OR REPLACE TEMP TABLE standing AS "
            f"SELECT unit_id, profile, {names} FROM unit WHERE unit_id IN (SELECT unit_id FROM arriving)"
        )
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE changed AS SELECT *, {of_unit(PROFILE)} AS profile FROM ("
            + merged(f"SELECT unit_id, {names} FROM standing", f"SELECT unit_id, {names} FROM arriving")
            + ")"
        )
        con.execute(
            "CREATE OR REPLACE TEMP TABLE difference AS "
            + condensed(f"({flat('standing', n='-1')} UNION ALL {flat('changed')})")
        )
        columns = ", ".join(("clock", "bucket", *ROLLED, *MEASURE_NAMES))
        con.execute(f"INSERT INTO rollup ({columns}) {summed(contributions('difference', None))}")
        con.execute("DELETE FROM unit WHERE unit_id IN (SELECT unit_id FROM standing)")
        con.execute(f"INSERT INTO unit (unit_id, profile, {names}) SELECT unit_id, profile, {names} FROM changed")

    def _follow_hops(self) -> None:
        """Join what this load tells of one mail's way through several of our servers."""
        for _ in range(hops.LONGEST_CHAIN):
            if not hops.follow(self._con):
                break
            self._merge_arriving()

    def _attribute(self) -> None:
        """Find the send of each late bounce and complaint that has none yet (METRICS.md rule 2), and restate it."""
        con = self._con
        con.execute(
            "INSERT INTO feedback BY NAME SELECT event_id, greatest(time, created) AS time, type, recipient_hash, "
            "original_message_id, bounce_class, severity, original_unit, template_id FROM fresh "
            "WHERE type IN ('oob_bounce', 'complaint')"
        )
        pending = con.execute("SELECT count(*) FROM feedback WHERE unit_id IS NULL").fetchall()[0][0]
        if not pending:
            return
        con.execute(_FIND_SENDS, {"restate": self._restate})
        self._restate_attributed()

    def settle(self) -> None:
        """Look for the sends of reports among sealed mail, in a transaction of its own."""
        with transaction(self._con):
            if self._sealed.find_sends(self._restate):
                self._restate_attributed()

    def _restate_attributed(self) -> None:
        """Tell the units in `attributed` of their reports."""
        con = self._con
        found = con.execute("SELECT count(*) FROM attributed").fetchall()[0][0]
        if not found:
            return
        con.execute(
            "UPDATE feedback SET unit_id = a.unit_id, matched_by = a.matched_by "
            "FROM attributed a WHERE feedback.event_id = a.event_id"
        )
        facts = {fact.name: "NULL" for fact in FACTS}
        facts["oob"] = (
            "CASE WHEN type = 'oob_bounce' THEN "
            "{'moment': time, 'class': bounce_class, 'severity': severity, 'origin': 'remote', "
            "'template': template_id} END"
        )
        facts["complained_at"] = "CASE WHEN type = 'complaint' THEN time END"
        columns = ", ".join(f"CAST({facts[fact.name]} AS {fact.sql_type}) AS {fact.name}" for fact in FACTS)
        con.execute(f"CREATE OR REPLACE TEMP TABLE arriving AS SELECT unit_id, {columns} FROM attributed")
        self._merge_arriving()
        steps.count_complaints(con, "attributed")
        self._suppressor.note_reports(con)

    def _learn(self) -> None:
        """Remember which provider's MX served a domain, for records that name no host."""
        self._enricher.learned |= learning.learn(self._con)

    def _name_providers(self) -> None:
        """Fix the label of each provider seen for the first time and give its counters their zeros."""
        con = self._con
        seen = {row[0] for row in con.execute("SELECT DISTINCT provider FROM fresh").fetchall()}
        providers = self._enricher.providers
        rows = [(name, providers.label(name), providers.runs_feedback_loop(name)) for name in seen - self._labelled]
        if rows:
            con.executemany("INSERT INTO provider_label VALUES (?, ?, ?)", rows)
            counters.precreate(con, {label for _, label, _ in rows})
            self._labelled |= seen

    def _watermarks(self, now: int) -> None:
        """A clock ahead of ours is clamped, so that it cannot move anybody's idea of "complete up to"."""
        self._con.execute(
            "INSERT INTO watermark SELECT node, least(max(time), make_timestamp($now)), "
            "greatest(0, epoch_us(max(time)) - $now) FROM fresh GROUP BY node ON CONFLICT (node) DO UPDATE SET "
            "reached = greatest(watermark.reached, excluded.reached), ahead_us = excluded.ahead_us",
            {"now": now},
        )

    def _quarantine(self, refused: Sequence[Quarantined], now: int) -> int:
        """Keep what could not be read and was not kept before; how many records that are.

        Text that looks like an address is masked first (promise 9). A record is known by where it stood.
        """
        if not refused:
            return 0
        con = self._con
        con.execute("CREATE OR REPLACE TEMP TABLE refused AS FROM quarantine LIMIT 0")
        appender = con.appender("refused")
        at = datetime.fromtimestamp(now / 1e6, UTC).replace(tzinfo=None)
        for item in refused:
            raw = mask_addresses(item.raw.decode("latin-1")).encode("latin-1")
            appender.append_row(item.source, item.offset, item.reason, mask_addresses(item.detail), raw, item.size, at)
        appender.flush()
        [(new,)] = con.execute(
            "INSERT INTO quarantine SELECT * FROM refused WHERE (source, read_at) NOT IN "
            "(SELECT (source, read_at) FROM quarantine WHERE source IN (SELECT source FROM refused)) "
            "QUALIFY row_number() OVER (PARTITION BY source, read_at ORDER BY reason) = 1"
        ).fetchall()
        return int(new)

    def _account(self, batch: Batch, receipt: Receipt) -> None:
        metric = "mtascope_collector_records_total"
        for result in ("stored", "duplicates", "quarantined", "ignored"):
            label = "duplicate" if result == "duplicates" else result
            counters.add(self._con, metric, (batch.road, label), getattr(receipt, result))

    def _checkpoint(self, checkpoints: Sequence[Checkpoint], now: int) -> None:
        for point in checkpoints:
            self._con.execute(
                "INSERT INTO checkpoint VALUES (?, ?, ?, ?, make_timestamp(?)) ON CONFLICT (source) DO UPDATE SET "
                "read_to = excluded.read_to, path = excluded.path, finished = excluded.finished, "
                "changed_at = excluded.changed_at",
                [point.source, point.offset, point.path, point.finished, now],
            )


def _columns_of_event(con: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """The columns of the table `event` that `fresh` fills."""
    columns = con.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'event' AND schema_name = 'main'"
    )
    return tuple(name for (name,) in columns.fetchall() if name not in {"loaded_at", "key_epoch"})


# The ladder of METRICS.md rule 2: by the unit that a signed return path names; else by Message-ID (and recipient, where
# the report names one); a report that tells neither goes to the newest delivery to its recipient before it, within the
# restatement window. One that tells a unit or an id that we do not know yet waits for it: guessing would make the
# answer depend on the order of arrival. A report counts at its receipt (the report's own reception); the peer's clock,
# which may have dated it, gets five minutes of tolerance.
_FIND_SENDS = f"""
    CREATE OR REPLACE TEMP TABLE attributed AS
    WITH pending AS (SELECT * FROM feedback WHERE unit_id IS NULL),
    candidates AS (
        SELECT p.event_id, u.unit_id, 'token' AS matched_by, 0 AS rank, u.terminal.moment AS moment
        FROM pending p JOIN unit u ON u.unit_id = p.original_unit
        UNION ALL
        SELECT p.event_id, u.unit_id, 'message_id', 1, u.terminal.moment
        FROM pending p JOIN unit u ON u.message_hash = {hash_of_message_id("p.original_message_id")}
        WHERE p.original_unit IS NULL AND (p.recipient_hash IS NULL OR u.recipient_hash = p.recipient_hash)
        UNION ALL
        SELECT p.event_id, u.unit_id, 'recipient', 2, u.terminal.moment
        FROM pending p JOIN unit u ON u.recipient_hash = p.recipient_hash
        WHERE p.original_unit IS NULL AND p.original_message_id IS NULL
          AND u.terminal.moment <= p.time + INTERVAL 5 MINUTE
          AND u.terminal.moment >= p.time - to_microseconds($restate) AND {OUTCOME} = 'delivered'
    )
    SELECT p.event_id, p.time, p.type, p.bounce_class, p.severity, p.template_id, c.unit_id, c.matched_by
    FROM pending p JOIN candidates c USING (event_id)
    QUALIFY row_number() OVER (PARTITION BY p.event_id ORDER BY c.rank, c.moment DESC, c.unit_id) = 1
"""
