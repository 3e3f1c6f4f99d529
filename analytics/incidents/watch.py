"""The live watch: each 5-minute step of event time is judged once it is complete, and incidents are kept and told.

A step is complete when every node that sends has come past its end, or when patience ends. What a step changed becomes
durable in one transaction: incidents, notifications, how far the watch has come. So a kill at any instant opens nothing
twice and loses no word. What was learnt is saved every few hours; at a start the steps since then are judged again, in
silence. Late mail changes what is learnt, and opens nothing.

One thread calls `run_once` again and again; others may read `health`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import duckdb
import orjson
import zstandard

from analytics import counters, steps
from analytics.incidents import journal
from analytics.incidents.baselines import Baseline, baselines
from analytics.incidents.casebook import KEPT, Casebook, Page
from analytics.incidents.findings import StoredEvidence
from analytics.incidents.incident import Incident
from analytics.incidents.kinds import SPIKES
from analytics.incidents.nets import Nets, present, sample_backlog
from analytics.incidents.replay import HISTORY, WARM_UP
from analytics.incidents.settings import WatchSettings
from analytics.incidents.signals import FINE, SignalChange, Signals
from analytics.spikes import ChangeKind
from analytics.steps import STEP
from analytics.store import Store
from mta.events.instants import DAY, HOUR, MINUTE, SECOND

__all__ = ["Watch", "WatchHealth"]

_VERSION = 1
"""Of the saved state: another version's is not read, the past is learnt anew instead."""
_ACTIVE = HOUR
"""A node that sent nothing for so long is not waited for."""
_GAP = 7 * DAY
"""After a longer absence the past is learnt anew rather than judged step by step."""
_LATE = 3 * HOUR
"""Reach of late mail: older steps are learnt already."""
_RENEW = DAY
_AGAIN = 30 * MINUTE
"""Nobody is told of one incident more often, but of its end."""
_MAX_STATE = 1 << 30


@dataclass(slots=True)
class WatchHealth:
    """How the watch is: event time judged (microseconds, 0 before the first step), CPU seconds of the last step."""

    judged_to: int = 0
    series: int = 0
    steps: int = 0
    step_seconds: float = 0.0
    open: list[tuple[str, str, int]] = field(default_factory=list)
    """Kind, provider label, incidents that last."""
    baselines: list[Baseline] = field(default_factory=list)


class Watch:
    """Of one store. `groups` maps bounce classes to their groups, `channels` names those who are to be told."""

    def __init__(
        self,
        store: Store,
        settings: WatchSettings | None = None,
        groups: Mapping[str, str] | None = None,
        channels: Sequence[str] = (),
    ) -> None:
        self.health = WatchHealth()
        self._store = store
        self._settings = settings or WatchSettings()
        self._groups = groups or {}
        self._channels = tuple(channels)
        self._judged_to = 0
        self._saved_to = 0
        self._known_since = 0
        self._signals = Signals()
        self._book = Casebook(StoredEvidence(store))
        self._nets = Nets(self._settings.nets)
        self._owed: list[SignalChange] = []
        self._ready = False

    def run_once(self, most_steps: int | None = None) -> int:
        """Judge every step that is complete by now, at most so many; how many that were. StoreError keeps nothing."""
        if not self._ready:
            self._start()
        end = self._complete_to()
        judged = 0
        while self._judged_to < end and (most_steps is None or judged < most_steps):
            began = time.thread_time()
            try:
                self._judge(self._judged_to)
            except BaseException:
                self._ready = False  # memory has gone ahead of the store: begin again from what is kept
                raise
            judged += 1
            self.health.judged_to, self.health.series = self._judged_to, len(self._signals)
            self.health.steps += 1
            self.health.step_seconds = time.thread_time() - began
        if judged:
            self._show()
        return judged

    def close(self) -> None:
        """Save what was learnt, so that the next start is quick."""
        if self._ready and self._judged_to > self._saved_to:
            with self._store.writing() as con:
                self._save(con)

    @property
    def open(self) -> list[Incident]:
        """The incidents that last."""
        return self._book.open

    def _show(self) -> None:
        """Bring up to date what `/metrics` shows."""
        con = self._store.cursor()
        try:
            labels = dict(con.execute("SELECT provider, label FROM provider_label").fetchall())
            self.health.baselines = baselines(con, self._judged_to)
        finally:
            con.close()
        shown = Counter({(kind.value, label): 0 for kind in SPIKES for label in labels.values()})
        for incident in self._book.open:
            shown.update({(incident.kind.value, labels.get(name, "other")) for name in incident.providers})
        self.health.open = [(kind, label, count) for (kind, label), count in shown.items()]

    def _start(self) -> None:
        """Take up what an earlier process left, or learn from what is stored."""
        settings = self._settings
        self._signals = Signals(settings.spikes, settings.most_series)
        self._owed = []
        con = self._store.cursor()
        try:
            found = con.execute(
                "SELECT epoch_us(judged_to), epoch_us(saved_to), state FROM watch_state WHERE version = ?", [_VERSION]
            ).fetchall()
            complete = self._complete_to()
            lately = (found[0][0] if found else complete) - KEPT
            self._book = Casebook(StoredEvidence(self._store), self._groups, journal.find(con, since=max(0, lately)))
            lasting = [signal for incident in self._book.open for signal in incident.signals if signal.closed is None]
            self._nets = Nets(settings.nets, lasting)
            if found and complete - found[0][0] <= _GAP:
                self._judged_to, self._saved_to = found[0][:2]
                self._take_up(con, found[0][2])
            else:
                self._learn(con, complete)
            self._known_since = self._oldest(con)
        finally:
            con.close()
        self._ready = True

    def _take_up(self, con: duckdb.DuckDBPyConnection, state: bytes) -> None:
        told = orjson.loads(zstandard.ZstdDecompressor().decompress(state, max_output_size=_MAX_STATE))
        self._signals.restore(told)
        changes: dict[object, SignalChange] = {}
        for step, counts in groupby(steps.read(con, self._saved_to, self._judged_to), key=lambda one: one.step):
            changes |= {change.signal.key: change for change in self._signals.observe(step, list(counts))}
        self._owed = [change for change in changes.values() if self._is_owed(change)]

    def _is_owed(self, change: SignalChange) -> bool:
        """Judging steps again may end otherwise where late mail has changed them: it is told with the next one."""
        known = self._book.signal(change.signal.key)
        if change.change is ChangeKind.CLOSED:
            return known is not None
        return known is None

    def _learn(self, con: duckdb.DuckDBPyConnection, complete: int) -> None:
        """Teach the detectors the last weeks, but for a day that is judged."""
        newest = con.execute("SELECT epoch_us(max(step)) FROM step_count").fetchall()[0][0]
        end = complete if newest is None else min(complete, newest + STEP)
        # An archive is no news: what ended long ago is for a replay to find, not to be judged step by step until now.
        end = end if complete - end <= _GAP else complete
        self._judged_to = complete if newest is None else max(0, end - WARM_UP)
        self._saved_to = 0
        self._signals.teach(steps.read_past(con, self._judged_to - HISTORY, self._judged_to, FINE))

    def _oldest(self, con: duckdb.DuckDBPyConnection) -> int:
        oldest = con.execute("SELECT epoch_us(min(step)) FROM step_count").fetchall()[0][0]
        return self._judged_to if oldest is None else int(oldest)

    def _complete_to(self) -> int:
        """The end of the last step whose mail has all come, or has been waited for long enough."""
        settings, now = self._settings, self._store.clock()
        rows = self._store.query(
            "SELECT epoch_us(min(reached)) FROM watermark WHERE reached >= make_timestamp(?)", [max(0, now - _ACTIVE)]
        )
        reached = now if rows[0][0] is None else rows[0][0]
        end = max(min(reached, now - int(settings.grace_s * SECOND)), now - int(settings.patience_s * SECOND))
        return int(end // STEP * STEP)

    def _judge(self, step: int) -> None:
        at = step + STEP
        con = self._store.cursor()
        try:
            if step % HOUR == 0:
                self._look_back(con, step)
            changes = self._owed + self._signals.observe(step, steps.read(con, step, at))
            silences, acknowledged = journal.silences(con, at), journal.acknowledged(con)
        finally:
            con.close()
        self._owed = []
        is_news = at >= self._store.clock() - int(self._settings.tell_within_s * SECOND)
        page = self._book.take(changes + (self._look_at_nets(at) if is_news else []), at)
        news = [
            (change, incident)
            for change, incident in (self._news(page, at) if is_news else [])
            if not any(silence.covers(incident, at) for silence in silences)
            and not (change is ChangeKind.RENEWED and incident.id in acknowledged)
        ]
        self._judged_to = at
        if is_news or page.changed or at % HOUR == 0 or not self._saved_to:
            self._keep(page, news, at)

    def _look_back(self, con: duckdb.DuckDBPyConnection, step: int) -> None:
        """Before an hour is learnt: late mail of the last ones, and a past that a backfill has brought."""
        if self._oldest(con) < self._known_since - DAY:
            self._relearn(con)
        else:
            self._signals.restate(steps.read(con, step - _LATE, step))

    def _look_at_nets(self, at: int) -> list[SignalChange]:
        with self._store.writing() as con:
            sample_backlog(con, at)
        con = self._store.cursor()
        try:
            found = list(present(con, at, self._signals, self._store.identity_broken, self._settings.nets))
        finally:
            con.close()
        return self._nets.observe(found, at)

    def _relearn(self, con: duckdb.DuckDBPyConnection) -> None:
        judged = self._judged_to
        self._signals = Signals(self._settings.spikes, self._settings.most_series)
        self._signals.teach(steps.read_past(con, judged - HISTORY, judged, FINE))
        self._known_since = self._oldest(con)

    def _news(self, page: Page, at: int) -> list[tuple[ChangeKind, Incident]]:
        """What somebody is to be told. What a step of long ago opened is told when it is found to last."""
        changed = {told.incident.id for told in page.told}
        news: list[tuple[ChangeKind, Incident]] = [
            (told.change, told.incident)
            for told in page.told
            if told.change is ChangeKind.CLOSED and told.incident.told_at is not None
        ]
        for incident in self._book.open:
            if incident.told_at is None:
                news.append((ChangeKind.OPENED, incident))
            elif at - incident.told_at >= (_AGAIN if incident.id in changed else _RENEW):
                news.append((ChangeKind.RENEWED, incident))
        return news

    def _keep(self, page: Page, news: Sequence[tuple[ChangeKind, Incident]], at: int) -> None:
        """One transaction for everything that this step has changed."""
        changed = {incident.id: incident for incident in page.changed}
        for _, incident in news:
            changed[incident.id] = replace(incident, told_at=at)
            self._book.update(changed[incident.id])
        with self._store.writing() as con:
            journal.keep(con, changed.values())
            for change, incident in news:
                journal.notify(con, changed[incident.id], change.value, self._channels, at)
            for told in page.told:
                labels = (told.incident.kind.value, told.change.value)
                counters.add(con, "mtascope_incident_changes_total", labels, 1)
            steps.tidy(con, at - (DAY if at % HOUR == 0 else 2 * STEP), at)
            if at - self._saved_to >= self._settings.save_every_h * HOUR:
                self._save(con)
            else:
                con.execute("UPDATE watch_state SET judged_to = make_timestamp(?)", [at])

    def _save(self, con: duckdb.DuckDBPyConnection) -> None:
        state = zstandard.ZstdCompressor(level=3).compress(orjson.dumps(self._signals.state()))
        con.execute("DELETE FROM watch_state")
        con.execute(
            "INSERT INTO watch_state VALUES (?, make_timestamp(?), make_timestamp(?), ?)",
            [_VERSION, self._judged_to, self._judged_to, state],
        )
        self._saved_to = self._judged_to
