"""Whether one fault is one incident, with the right cause first: faults in several dimensions, injected into a fleet.

    python bench/bench_incidents.py [--seeds 1,2] [--faults 40] [--mails 4000]

A fleet of 8 providers, 6 tenants with 15 campaigns, 3 pools of 2 addresses each, 3 nodes and 2 versions of TLS sends
`--mails` an hour; its bounce rate is 1.5 %, different for each campaign and hour. Every day one fault lasts two hours:
of a provider, a tenant, a campaign, a pool or an address (at four providers), a sender or recipient domain, a node, or
a version of TLS. Mail that it concerns is refused or put off with a probability between 25 and 90 % more than usual.

Printed: faults found, of these the share that is exactly one incident, and the share whose first cause is the true one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from analytics import steps
from analytics.enrich import Enricher
from analytics.incidents.incident import Incident
from analytics.incidents.replay import replay
from analytics.store import Store
from mta.events.instants import DAY, HOUR
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

START = 1_780_000_000_000_000 // DAY * DAY
WARM_DAYS = 3

PROVIDERS = {"gmail": 30, "microsoft-consumer": 18, "yahoo": 14, "microsoft-365": 12, "gmx": 9, "orange-fr": 7,
             "apple-icloud": 6, "comcast": 4}  # fmt: skip
TENANTS = ("acme", "bank", "club", "daily", "estate", "fashion")
POOLS = ("bulk", "shared", "transactional")
KINDS = ("provider", "tenant", "campaign", "pool", "source", "sender_domain", "domain", "node", "tls_version")


@dataclass(frozen=True, slots=True)
class Fault:
    """Mail with this value of this dimension, at these providers, goes wrong so much more often for two hours."""

    dimension: str
    value: str
    providers: tuple[str, ...]
    begin: int
    lift: float
    deferred: bool

    @property
    def end(self) -> int:
        """When it is over."""
        return self.begin + 2 * HOUR


def faults(random: Random, count: int) -> list[Fault]:
    """One a day, at any hour of the middle of it."""
    found = []
    for day in range(count):
        dimension = KINDS[day % len(KINDS)]
        provider = random.choices(list(PROVIDERS), list(PROVIDERS.values()))[0]
        everywhere = tuple(PROVIDERS)
        value, where = {
            "provider": (provider, (provider,)),
            "tenant": (random.choice(TENANTS), everywhere),
            "campaign": (f"{random.choice(TENANTS)}-{random.choice('ab')}", everywhere),
            "pool": (random.choice(POOLS), tuple(random.sample(everywhere, 4))),
            "source": (f"192.0.2.{random.randint(1, 6)}", tuple(random.sample(everywhere, 4))),
            "sender_domain": (f"news.{random.choice(TENANTS)}.example", everywhere),
            "domain": (f"{provider}.example", (provider,)),
            "node": (f"mta{random.randint(1, 3)}", everywhere),
            "tls_version": ("TLSv1.2", (provider,)),
        }[dimension]
        begin = START + (WARM_DAYS + day) * DAY + random.randint(3, 20) * HOUR + random.randint(0, 59) * HOUR // 60
        found.append(Fault(dimension, value, where, begin, random.uniform(0.25, 0.9), random.random() < 0.4))
    return found


def fill(store: Store, seed: int, injected: list[Fault], mails: int) -> int:
    """Write the fleet's mail as events; how many."""
    days = WARM_DAYS + len(injected) + 1
    with store.writing() as con:
        con.execute("CREATE OR REPLACE TEMP TABLE fault (dimension VARCHAR, value VARCHAR, providers VARCHAR[], "
                    "begins TIMESTAMP, ends TIMESTAMP, lift DOUBLE, deferred BOOLEAN)")  # fmt: skip
        con.executemany(
            "INSERT INTO fault VALUES (?, ?, ?, make_timestamp(?), make_timestamp(?), ?, ?)",
            [(f.dimension, f.value, list(f.providers), f.begin, f.end, f.lift, f.deferred) for f in injected],
        )
        con.execute("CREATE OR REPLACE TEMP MACRO even(what) AS (hash(hash(what)) >> 11) / 9007199254740992")
        shares, total = [], 0
        for name, weight in PROVIDERS.items():
            total += weight
            shares.append(f"WHEN p < {total / sum(PROVIDERS.values())} THEN '{name}'")
        tenants = ", ".join(f"'{name}'" for name in TENANTS)
        pools = ", ".join(f"'{name}'" for name in POOLS)
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE mail AS
            WITH drawn AS (
                SELECT n, concat_ws('/', {seed}, n) AS k, even(k || 'p') AS p,
                       make_timestamp({START} + (n * {HOUR / mails})::BIGINT) AS time
                FROM range({mails * 24 * days}) numbers(n)),
            sent AS (
                SELECT *, CASE {" ".join(shares)} ELSE 'comcast' END AS provider,
                       [{tenants}][1 + (even(k || 't') ** 1.5 * 6)::INT % 6] AS tenant,
                       [{pools}][1 + floor(even(k || 'o') * 3)::INT] AS pool FROM drawn),
            named AS (
                SELECT *, tenant || '-' || CASE WHEN even(k || 'c') < 0.3 THEN 'a' WHEN even(k || 'c') < 0.55 THEN 'b'
                                                ELSE 'c' END AS campaign,
                       '192.0.2.' || (list_position([{pools}], pool) * 2 - (even(k || 's') < 0.5)::INT) AS source,
                       CASE WHEN even(k || 'd') < 0.45 THEN 'news.' ELSE 'mail.' END || tenant || '.example'
                           AS sender_domain,
                       CASE WHEN even(k || 'r') < 0.4 THEN provider || '.example' ELSE provider || '-more.example' END
                           AS domain,
                       'mta' || (1 + floor(even(k || 'm') * 3)::INT) AS node,
                       CASE WHEN even(k || 'v') < 0.35 THEN 'TLSv1.2' ELSE 'TLSv1.3' END AS tls_version FROM sent),
            troubled AS (
                SELECT named.*, fault.lift, coalesce(fault.deferred, false) AS deferred,
                       0.015 * exp(0.3 * (even(campaign || epoch_us(time) // {HOUR}) - 0.5)) AS usual
                FROM named LEFT JOIN fault ON time >= begins AND time < ends AND list_contains(providers, provider)
                 AND value = CASE dimension WHEN 'provider' THEN provider WHEN 'tenant' THEN tenant
                     WHEN 'campaign' THEN campaign WHEN 'pool' THEN pool WHEN 'source' THEN source
                     WHEN 'sender_domain' THEN sender_domain WHEN 'domain' THEN domain WHEN 'node' THEN node
                     ELSE tls_version END)
            SELECT *, even(k || 'f') < coalesce(lift, 0) AS strikes, even(k || 'b') < usual AS bounces FROM troubled
            """
        )
        con.execute(
            """
            CREATE OR REPLACE TEMP TABLE told AS
            SELECT uuid() AS event_id, n::UBIGINT AS unit_id, n::UBIGINT AS message_key, n::UBIGINT AS recipient_hash,
                   1 AS key_epoch, time, CASE WHEN strikes AND deferred THEN 'deferral' WHEN strikes OR bounces
                   THEN 'bounce' ELSE 'delivery' END AS type, 'remote' AS origin, 'outbound' AS direction, 0 AS ordinal,
                   node, 'kumomta' AS mta, k AS queue_id, domain, provider, provider AS provider_group, 1 AS evidence,
                   sender_domain, CASE WHEN strikes OR bounces THEN 550 ELSE 250 END AS code,
                   CASE WHEN strikes OR bounces THEN 'hard' END AS severity, source, source AS source_ip, pool, tenant,
                   campaign, tls_version, time AS loaded_at
            FROM mail
            """
        )
        con.execute("INSERT INTO event BY NAME SELECT * FROM told ORDER BY time")
        steps.count_outcomes(con, "told")
        count = con.execute("SELECT count(*) FROM told").fetchall()[0][0]
        con.execute("DROP TABLE told; DROP TABLE mail")
    return int(count)


def judge(injected: list[Fault], found: list[Incident]) -> Counter[str]:
    """What became of each fault."""
    verdicts: Counter[str] = Counter()
    inside: set[str] = set()
    for fault in injected:
        mine = [one for one in found if fault.begin - HOUR // 2 <= one.opened <= fault.end + HOUR]
        inside |= {one.id for one in mine}
        verdicts["faults"] += 1
        if not mine:
            verdicts["missed"] += 1
            print(f"    missed   {fault.dimension}={fault.value} +{fault.lift:.0%}")
            continue
        first = min(mine, key=lambda one: one.opened)
        named = [(cause.dimension, cause.value) for cause in first.causes]
        verdicts["one"] += len(mine) == 1
        right = named[:1] == [(fault.dimension, fault.value)]
        verdicts["right"] += right
        verdicts["minutes"] += abs(first.began - fault.begin) // (HOUR // 60)
        if len(mine) > 1 or not right:
            others = [(one.kind.value, one.provider, one.scope) for one in mine if one is not first]
            print(f"    {len(mine)} for {fault.dimension}={fault.value} +{fault.lift:.0%}: {named[:3]} {others}")
    verdicts["outside"] += sum(one.id not in inside for one in found)
    return verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--faults", type=int, default=45)
    parser.add_argument("--mails", type=int, default=4000, help="an hour")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    for seed in map(int, options.seeds.split(",")):
        injected = faults(Random(seed), options.faults)
        enricher = Enricher(Keyring(b"i" * 32, {1: b"r" * 32}), provider_map(), taxonomy(), reply_classifier())
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.duckdb", enricher) as store:
            began = time.perf_counter()
            count = fill(store, seed, injected, options.mails)
            filled = time.perf_counter()
            found = replay(store, since=START + WARM_DAYS * DAY, until=injected[-1].end + 6 * HOUR)
            spent = time.perf_counter() - filled
        print(f"seed {seed}: {count:,} events written in {filled - began:.0f} s, watched in {spent:.0f} s")
        total += judge(injected, found)
    seen = total["faults"] - total["missed"]
    print(f"{total['faults']} faults, {seen} found; of these exactly one incident {total['one'] / seen:.1%}, "
          f"true cause first {total['right'] / seen:.1%}, began off by {total['minutes'] / seen:.1f} minutes (mean); "
          f"{total['outside']} incidents without a fault")  # fmt: skip


if __name__ == "__main__":
    main()
