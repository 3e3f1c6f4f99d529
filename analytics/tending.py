"""What the store does between loads: late reports find their sends, old mail is sealed, figures grow coarser.

All of it may be put off and none of it changes an answer: a figure is the same before and after (a test holds that at
random moments of random histories), only the reports of sealed mail wait until they are looked for here. The caller
holds the writer's lock; every step is a transaction of its own, so a kill in between loses nothing.
"""

from __future__ import annotations

from contextlib import suppress

import duckdb

from analytics.load import Loader
from analytics.parts import Part, Parts
from analytics.retention import expire
from analytics.rollup import compaction
from analytics.sealed import Sealed
from analytics.sealing import Horizons, seal
from analytics.settings import StoreSettings
from analytics.transaction import transaction
from mta.events.instants import DAY, HOUR, MINUTE

__all__ = ["Tending"]

_FINE_HORIZON = 3 * DAY
_COARSE_HORIZON = 40 * DAY
_COMPACT_AT = 50_000
_TEND_EVERY = MINUTE
_EVENTS_BETWEEN = 1_000_000
"""A load of history is tended by what it brought, not by the clock."""
_EXPIRE_EVERY = HOUR
_SEAL_AT_LEAST = 50_000
_MERGE_FROM = 8
"""So many small parts of a day become one."""
_SEAL_WAITS = 6 * HOUR
"""Fewer recipients than the least wait this long, so that parts are not tiny."""


def _begin(instant: int) -> int:
    """The hour in which an instant lies: every bucket that is kept begins and ends in one."""
    return instant // HOUR * HOUR


class Tending:
    """Keeps count of what is due."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        loader: Loader,
        sealed: Sealed,
        parts: Parts,
        settings: StoreSettings,
        now: int,
    ) -> None:
        self._con = con
        self._loader = loader
        self._sealed = sealed
        self._parts = parts
        self._settings = settings
        self._loads = self._events = self._rollup_rows = self._least_rows = 0
        self._tended_at = self._sealed_at = self._checkpointed_at = now
        self._expired_at = self._compacted_at = 0

    def after_load(self, events: int, now: int) -> None:
        """What is due after a load that stored so many events."""
        self._loads += 1
        self._events += events
        if self._loads % 200 == 0:
            self._rollup_rows = self._count_rollup()
        if self._rollup_rows - self._least_rows > _COMPACT_AT:
            self.compact(now)
        if now - self._tended_at > _TEND_EVERY or self._events >= _EVENTS_BETWEEN:
            self.tend(now)
        if now - self._checkpointed_at > self._settings.checkpoint_every_s * 1_000_000:
            self.checkpoint(now)

    def tend(self, now: int, *, least: int | None = None) -> list[Part]:
        """Settle late reports and seal what is due; the new parts. `least` is how many recipients make a part."""
        self._tended_at, self._events = now, 0
        self._loader.settle()
        if least is None:
            least = 1 if now - self._sealed_at > _SEAL_WAITS else _SEAL_AT_LEAST
        made = []
        while (part := self._seal(now, least)) is not None:
            made.append(part)
        if small := self._parts.small_ones(self._con, _MERGE_FROM, self._settings.seal_recipients):
            with transaction(self._con):
                self._parts.rewrite(self._con, small, "*", now)
        if now - self._expired_at > _EXPIRE_EVERY or least == 1:
            with transaction(self._con):
                expired = expire(self._con, self._parts, self._settings, now)
            self._sealed.refresh()
            if not expired.texts:  # else the next part follows at once
                self._expired_at = now
        with suppress(OSError):  # a file that cannot be deleted now is tried again
            self._parts.sweep(self._con)
        return made

    def compact(self, now: int) -> None:
        """One row a key in the rollup, older ones coarser: once a day all of it, else the last days."""
        fine, coarse = (_begin(now - horizon) for horizon in (_FINE_HORIZON, _COARSE_HORIZON))
        whole = now - self._compacted_at > DAY
        since = 0 if whole else fine - DAY
        con = self._con
        with transaction(con):
            con.execute(
                f"CREATE OR REPLACE TEMP TABLE compacted AS {compaction()}",
                {"since": since, "fine": fine, "coarse": coarse},
            )
            con.execute("DELETE FROM rollup WHERE bucket >= make_timestamp(?)", [since])
            con.execute("INSERT INTO rollup SELECT * FROM compacted")
        con.execute("DROP TABLE compacted")
        self._compacted_at = now if whole else self._compacted_at
        self._rollup_rows = self._least_rows = self._count_rollup()

    def _count_rollup(self) -> int:
        return int(self._con.execute("SELECT count(*) FROM rollup").fetchall()[0][0])

    def checkpoint(self, now: int) -> None:
        """Empty the write-ahead log into the file, or try again at the next load where somebody is in the way."""
        with suppress(duckdb.TransactionException):  # another transaction is open: its end is waited for by nobody
            self._con.execute("CHECKPOINT")
            self._checkpointed_at = now

    def horizons(self, now: int) -> Horizons:
        """Before when must have been silent what leaves. Time is what the logs have reached, if they lag behind."""
        reached = self._con.execute("SELECT epoch_us(max(reached)) FROM watermark").fetchall()[0][0]
        time = min(now, reached if reached is not None else now)
        return Horizons(
            finished=time - round(self._settings.seal_after_hours * HOUR),
            handed_on=time - self._settings.restate_days * DAY,
            silent=time - round(2 * self._settings.queue_lifetime_days * DAY),
        )

    def _seal(self, now: int, least: int) -> Part | None:
        horizons = self.horizons(now)
        [(due,)] = self._con.execute(
            "SELECT count(*) FROM unit WHERE last_event_at < "
            "CASE WHEN terminal IS NULL THEN make_timestamp(?) ELSE make_timestamp(?) END",
            [horizons.silent, horizons.finished],
        ).fetchall()
        if due < least:
            return None
        with transaction(self._con):
            part = seal(self._con, self._parts, self._sealed.columns, horizons, now, self._settings.seal_recipients)
        self._sealed.refresh()
        self._sealed_at = now
        return part
