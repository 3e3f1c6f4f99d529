"""What the live watch costs: CPU of a step, of a start from history, and of a start from what was saved.

    python bench/bench_watch.py [--providers 25] [--parts 79] [--days 8]

25 providers with 79 tenants and pools each are 2,000 series; each is watched for bounces, blocks, deferrals and (where
there are any) complaints. Judged is the last day, step by step, as the owner does: with the store, its commits and the
safety nets.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from analytics.enrich import Enricher
from analytics.incidents.settings import WatchSettings
from analytics.incidents.watch import Watch
from analytics.steps import STEP
from analytics.store import Store
from mta.events.instants import DAY, HOUR
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

START = 1_780_000_000_000_000 // DAY * DAY


class Clock:
    """An instant that is set."""

    now = START

    def __call__(self) -> int:
        """Now."""
        return self.now


def fill(store: Store, providers: int, parts: int, days: int) -> None:
    """Quiet mail of every series: a hundred or so a step, 1.5 % of it bounced, 3 % put off first."""
    with store.writing() as con:
        con.execute("CREATE OR REPLACE TEMP MACRO even(what) AS (hash(hash(what)) >> 11) / 9007199254740992")
        con.execute(
            f"""
            INSERT INTO step_count
            WITH drawn AS (
                SELECT make_timestamp({START} + n * {STEP}) AS step, 'p' || p AS provider,
                       CASE WHEN q = 0 THEN '' WHEN q % 5 = 0 THEN 'pool' ELSE 'tenant' END AS dimension,
                       CASE WHEN q = 0 THEN '' ELSE 'v' || q END AS value, concat_ws('/', n, p, q) AS k
                FROM range({days * DAY // STEP}) a(n), range({providers}) b(p), range({parts + 1}) c(q)),
            sent AS (SELECT *, 60 + (even(k) * 80)::INT AS ended FROM drawn),
            bad AS (SELECT *, (ended * 0.03 * even(k || 'b'))::INT AS failed FROM sent)
            SELECT step, provider, dimension, value, ended, ended - failed, failed // 3, ended + ended // 30,
                   ended // 30, (even(k || 'c') < 0.01)::INT FROM bad
            """
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--providers", type=int, default=25)
    parser.add_argument("--parts", type=int, default=79)
    parser.add_argument("--days", type=int, default=8)
    options = parser.parse_args()
    clock, settings = Clock(), WatchSettings(grace_s=0, patience_s=1)
    enricher = Enricher(Keyring(b"i" * 32, {1: b"r" * 32}), provider_map(), taxonomy(), reply_classifier())
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.duckdb", enricher, clock=clock) as store:
        fill(store, options.providers, options.parts, options.days)
        clock.now = START + (options.days - 1) * DAY + 2 * HOUR
        watch = Watch(store, settings)
        began = time.process_time()
        watch.run_once(most_steps=1)
        print(f"start from {options.days - 2} days of history: {time.process_time() - began:.1f} s CPU")
        costs = []
        while watch.run_once(most_steps=1):
            costs.append(watch.health.step_seconds)
            if clock.now < START + options.days * DAY - 2 * STEP:
                clock.now += STEP
        ordered = sorted(costs)
        print(
            f"{watch.health.series} series, {len(costs)} steps: median {statistics.median(ordered):.3f} s CPU, "
            f"p95 {ordered[int(len(ordered) * 0.95)]:.3f} s, most {ordered[-1]:.3f} s; {len(watch.open)} incidents"
        )
        began = time.process_time()
        watch.close()
        print(f"saved in {time.process_time() - began:.1f} s CPU")
        began = time.process_time()
        Watch(store, settings).run_once()
        print(f"start from what was saved: {time.process_time() - began:.1f} s CPU")


if __name__ == "__main__":
    main()
