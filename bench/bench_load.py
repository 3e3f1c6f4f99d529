"""How many records a second go from a log file into the store, beside the programs that only read such logs.

    python bench/bench_load.py [--records 400000] [--only kumomta|postfix|exim]

Everything is in it: recipient hashing, provider, class, template, life cycle, figures, counters, dedupe, commit. Each
log is loaded by `ingest_paths` into a new store, in a process of its own, then once more as a replay. CPU is that of
all its threads, memory its peak. `cost` is CPU in microseconds a record: on two busy cores it says more than the clock
does. The peers print their reports to nowhere. Nothing is asserted; the machine's load is printed with the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import zstandard
from bench_dialects import _exim, _postfix

from analytics.enrich import Enricher
from analytics.store import Store
from collector.ingest import ingest_paths
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

_START = 1_757_675_281_000_000
_DOMAINS = (
    ("gmail.com", "gmail-smtp-in.l.google.com", 30), ("yahoo.com", "mta5.am0.yahoodns.net", 12),
    ("outlook.com", "outlook-com.olc.protection.outlook.com", 12), ("icloud.com", "mx01.mail.icloud.com", 6),
    *((f"company{n}.example", f"mx.company{n}.example", 80 / (n + 3)) for n in range(1000)),
)  # fmt: skip
_FAILURES = (
    ("TransientFailure", 421, (4, 7, 28), "Unusual rate of mail from 192.0.2.{octet}, try again later {token} - gsmtp"),
    ("TransientFailure", 451, (4, 7, 1), "Greylisted, please try again in {octet} seconds"),
    ("Bounce", 550, (5, 1, 1), "The account {to} that you tried to reach does not exist {token} - gsmtp"),
    ("Bounce", 554, (5, 7, 1), "Client host [192.0.2.{octet}] blocked using zen.spamhaus.org"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--only", choices=("kumomta", "postfix", "exim"))
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        print(json.dumps(load(given.load)))
        return
    print(f"{given.records} records; load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    peers = {"postfix": ("pflogsumm", "/usr/sbin/pflogsumm"), "exim": (os.environ.get("EXIMSTATS", "eximstats"), "")}
    logs: dict[str, Callable[[], Iterator[bytes]]] = {
        "kumomta": kumomta, "postfix": lambda: map(str.encode, _postfix()), "exim": lambda: map(str.encode, _exim()),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name in [given.only] if given.only else logs:
            path = write(Path(folder), name, islice(logs[name](), given.records))
            report(path, given.records)
            peer = next((found for one in peers.get(name, ()) if one and (found := shutil.which(one))), None)
            if peer is not None:
                report_peer(peer, path, given.records)
            path.unlink()


def write(folder: Path, name: str, lines: Iterable[bytes]) -> Path:
    content = b"\n".join(lines) + b"\n"
    path = folder / f"{name}.log"
    path.write_bytes(zstandard.ZstdCompressor().compress(content) if name == "kumomta" else content)
    print(f"{name}: {len(content) >> 20} MB, {path.stat().st_size >> 20} MB on disk")
    return path


def report(path: Path, records: int) -> None:
    answer = subprocess.run([sys.executable, __file__, "--load", str(path)], capture_output=True, check=True)
    for run in json.loads(answer.stdout):
        print(
            f"  {run['what']:<22} {records / run['wall']:>9,.0f} /s  cost {1e6 * run['cpu'] / records:5.1f} us  "
            f"memory {run['memory'] >> 10} MB  events {run['events']:,}"
        )


def report_peer(peer: str, path: Path, records: int) -> None:
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([peer, str(path)], capture_output=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  {Path(peer).name:<22} {records / wall:>9,.0f} /s  cost {1e6 * cpu / records:5.1f} us  (stores nothing)")


def load(path: str) -> list[dict[str, Any]]:
    """In the child: load the log, then load it again."""
    enricher = Enricher(Keyring(b"i" * 32, {1: b"r" * 32}), provider_map(), taxonomy(), reply_classifier())
    runs = []
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.duckdb", enricher) as store:
        for what in ("stored", "replayed"):
            wall, cpu = time.perf_counter(), time.process_time()
            receipt, _ = ingest_paths([path], store)
            assert receipt.adds_up
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            runs.append({"what": what, "wall": wall, "cpu": cpu, "memory": memory, "events": receipt.events_stored})
    return runs


def kumomta() -> Iterator[bytes]:
    """Two or three records a message: received, for some deferred, then delivered or returned."""
    rng = random.Random(5)
    weights = [weight for *_, weight in _DOMAINS]
    for n in range(sys.maxsize):
        domain, mx, _ = rng.choices(_DOMAINS, weights)[0] if n % 20 == 0 else _DOMAINS[rng.randrange(4)]
        yield from message(rng, n, domain, mx)


def message(rng: random.Random, n: int, domain: str, mx: str) -> Iterator[bytes]:
    to, created, attempt = f"user{rng.randrange(3_000_000)}@{domain}", _START + 700 * n, 0
    kind, code, status, text = _FAILURES[rng.randrange(4)] if rng.random() < 0.15 else ("", 0, (0, 0, 0), "")
    yield record(rng, n, "Reception", created, created, 0, to, mx, 250, None, f"OK ids={n:032x}")
    at = created + rng.randrange(2_000_000)
    if kind:
        said = text.format(octet=n % 250, to=to, token=f"d9443c01a{n:x}-{n % 977}si")
        yield record(rng, n, kind, at, created, 0, to, mx, code, status, said)
        at, attempt = at + 300_000_000, 1
    if kind != "Bounce":
        said = f"OK  {at // 1_000_000} d9443c01a{n:x}-{n % 977}si{rng.randrange(10**9)}. 412 - gsmtp"
        yield record(rng, n, "Delivery", at, created, attempt, to, mx, 250, (2, 0, 0), said)


def record(  # noqa: PLR0913, PLR0917 - fields of a record
    rng: random.Random, n: int, kind: str, at: int, created: int, attempt: int, to: str, mx: str, code: int,
    status: tuple[int, int, int] | None, said: str,
) -> bytes:  # fmt: skip
    out = kind != "Reception"
    fields = {
        "type": kind, "id": f"{0xD7EF132B5D7711EE << 64 | n:032x}", "sender": f"b+{n}@news.sender.example",
        "recipient": to, "queue": f"spring{n % 7}:tenant{n % 40}@{to.partition('@')[2]}",
        "site": f"ip1->{mx}@smtp_client",
        "size": 24_512 + n % 1000,
        "response": {
            "code": code, "content": said, "command": ".\r\n" if out else None,
            "enhanced_code": dict(zip(("class", "subject", "detail"), status, strict=True)) if status else None,
        },
        "peer_address": {"name": mx if out else "app.sender.example", "addr": f"198.51.100.{n % 250}"},
        "timestamp": at // 1_000_000, "created": created // 1_000_000, "num_attempts": attempt,
        "bounce_classification": "Uncategorized", "egress_pool": "warm" if out else None,
        "egress_source": f"ip{n % 4}" if out else None,
        "source_address": {"address": f"192.0.2.200:{30_000 + n % 20_000}"} if out else None, "feedback_report": None,
        "meta": {"tenant": f"tenant{n % 40}", "campaign": "spring"},
        "headers": {"Message-ID": f"<{n}.spring@news.sender.example>", "Subject": "Great news for you this spring"},
        "delivery_protocol": "ESMTP" if out else None, "reception_protocol": "ESMTP",
        "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173", "tls_cipher": "TLS_AES_256_GCM_SHA384",
        "tls_protocol_version": "TLSv1.3", "tls_peer_subject_name": [],
        "session_id": "557f3ad4-2c8c-11ee-976e-782d7e12e174",
        "event_time": stamp(at, rng), "created_time": stamp(created, rng), "provider_name": None,
    }  # fmt: skip
    return json.dumps(fields, separators=(",", ":")).encode()


def stamp(instant: int, rng: random.Random) -> str:
    seconds, micros = divmod(instant, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}{rng.randrange(1000):03d}Z"


if __name__ == "__main__":
    main()
