"""How the store does as it grows: loading, size on disk, and the questions that boards ask.

    python bench/bench_store.py [--events 2000000] [--batch 50000] [--days 14]

Rows are made by SQL and handed to the loader where the rows of a batch would be, so the figures are those of all after
parsing and classification: dedupe, outcomes, figures, counters, commit. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from analytics.enrich import STAGED, Enricher
from analytics.latency import latencies
from analytics.rates import Question, ask
from analytics.reasons import top_reasons
from analytics.snapshot import take_snapshot
from analytics.store import Store
from analytics.trace import trace
from mta.events.instants import DAY, HOUR
from mta.events.intake import Batch
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

END = 1_790_000_000_000_000 // DAY * DAY

# One message in `messages`: received, for three in ten deferred once, then delivered (97 %) or bounced.
STAGE = """
INSERT INTO staged BY NAME
WITH message AS (
    SELECT i, $start + (i * $step)::BIGINT AS created, hash(i) AS message_key, hash(i, 1) AS unit_id, hash(i % 3000000, 2) AS person,
           (hash(i, 3) % 1000) / 1000 AS a, (hash(i, 4) % 1000) / 1000 AS b, (hash(i, 5) % 1000) / 1000 AS c
    FROM range($first, $last) AS r(i)
), event AS (
    SELECT *, 'reception' AS type, 0 AS after, NULL AS attempt, 250 AS code FROM message
    UNION ALL SELECT *, 'deferral', 500000, 1, 421 FROM message WHERE a < 0.3
    UNION ALL SELECT *, CASE WHEN b < 0.97 THEN 'delivery' ELSE 'bounce' END, CASE WHEN a < 0.3 THEN 1200000000 ELSE 300000 END,
                     CASE WHEN a < 0.3 THEN 2 ELSE 1 END, CASE WHEN b < 0.97 THEN 250 ELSE 550 END FROM message
)
SELECT row_number() OVER () AS record, md5(concat_ws('|', unit_id, type)) AS event_id, unit_id, message_key, person AS recipient_hash,
       created + after AS time, type, 'remote' AS origin, 'outbound' AS direction, attempt, 0 AS ordinal, created,
       'node' || (i % 4) AS node, 'kumomta' AS mta, md5(i::VARCHAR) AS queue_id, 'd' || (c * c * 3000)::INT || '.example' AS domain,
       ['gmail', 'microsoft-consumer', 'yahoo', 'microsoft-365', 'google-workspace', 'apple-icloud', 'gmx', 'web.de', 'orange-fr',
        'comcast', 'mimecast', 'proofpoint', 'other'][1 + least(12, (c * c * 13)::INT)] AS provider,
       'group' AS provider_group, NULL AS gateway, 4 AS evidence, 'sender.example' AS sender_domain, md5(i::VARCHAR) || '@x' AS message_id,
       20000 AS size, code, NULL AS enhanced, 'dot' AS phase, CASE WHEN code > 250 THEN (hash(i, 6) % 300)::UBIGINT END AS template_id,
       NULL AS parameters, CASE code WHEN 421 THEN 'rate_limited' WHEN 550 THEN 'bad_mailbox' END AS bounce_class,
       CASE code WHEN 421 THEN 'throttle' WHEN 550 THEN 'recipient' END AS bounce_group,
       CASE code WHEN 421 THEN 'soft' WHEN 550 THEN 'hard' END AS severity, NULL AS rule, 'mx' || (c * 30)::INT || '.example' AS peer_host,
       '10.0.0.' || (c * 250)::INT AS peer_ip, 'ip' || (a * 12)::INT AS source, NULL AS source_ip, 'pool' || (a * 3)::INT AS pool,
       'tenant' || (b * b * 40)::INT AS tenant, 'campaign' || (b * 200)::INT AS campaign, 'TLSv1.3' AS tls_version,
       NULL AS feedback_type, NULL AS successor_id, NULL AS original_message_id
FROM event
"""  # noqa: E501


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=50_000, help="events a transaction")
    parser.add_argument("--days", type=int, default=14)
    given = parser.parse_args()
    messages = round(given.events / 2.3)
    with tempfile.TemporaryDirectory() as folder:
        keyring = Keyring(b"i" * 32, {1: b"r" * 32})
        enricher = Enricher(keyring, provider_map(), taxonomy(), reply_classifier())
        with Store(Path(folder) / "store.duckdb", enricher, clock=lambda: END) as store:
            load_all(store, messages, round(given.batch / 2.3), given.days)
            report_questions(store)


def load_all(store: Store, messages: int, portion: int, days: int) -> None:
    loader = store._loader
    step = days * DAY / messages
    events, took = 0, []
    for first in range(0, messages, portion):
        wanted = {"start": END - days * DAY, "step": step, "first": first, "last": min(first + portion, messages)}
        loader._stage = _staging(store, wanted)  # type: ignore[method-assign]
        began = time.perf_counter()
        events += store.load(Batch("bench", [()])).events_stored
        took.append(time.perf_counter() - began)
    first, last = took[: max(1, len(took) // 10)], took[-max(1, len(took) // 10) :]
    size = store.query("SELECT sum(estimated_size) FROM duckdb_tables() WHERE NOT temporary")
    print(f"{events} events in {len(took)} transactions: {events / sum(took):,.0f} events/s")
    print(
        f"  a transaction at the beginning {statistics.median(first):.3f} s, at the end {statistics.median(last):.3f} s"
    )
    store._con.execute("CHECKPOINT")
    print(f"  on disk {store.size() / events:.1f} bytes/event; rows in tables {size[0][0]:,.0f}")
    print(f"  memory (peak) {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def _staging(store: Store, wanted: dict[str, object]) -> Callable[[Batch], int]:
    def stage(_: Batch) -> int:
        assert "message_key" in STAGED
        return int(store._con.execute(STAGE, wanted).fetchall()[0][0])

    return stage


def report_questions(store: Store) -> None:
    [(person,)] = store.query("SELECT queue_id FROM event WHERE type = 'bounce' LIMIT 1")
    questions: dict[str, Callable[[], object]] = {
        "24 h by provider, event clock": lambda: ask(store, Question(since=END - DAY, clock="event")),
        "14 days by provider, cohort": lambda: ask(store, Question()),
        "7 days by provider and tenant": lambda: ask(store, Question(by=("provider", "tenant"), since=END - 7 * DAY)),
        "latency by provider, 24 h": lambda: latencies(store, Question(since=END - DAY)),
        "reasons of the last hour": lambda: top_reasons(store, since=END - HOUR),
        "trace of a queue id": lambda: trace(store, person),
        "snapshot for /metrics": lambda: take_snapshot(store),
    }
    for name, question in questions.items():
        times = []
        for _ in range(4):
            began = time.perf_counter()
            question()
            times.append(time.perf_counter() - began)
        print(f"  {name:32} {1000 * statistics.median(times[1:]):8.1f} ms")


if __name__ == "__main__":
    main()
