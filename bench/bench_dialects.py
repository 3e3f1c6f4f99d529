"""How many lines of a Postfix or Exim log one core turns into events, beside pflogsumm and eximstats on the same file.

Run: .venv/bin/python bench/bench_dialects.py [LINES]. `parse` is the dialect alone; `gather` cuts lines, parses and
fills batches, with a store that only counts. Peers print their whole report, which counts as little state as they can.
`EXIMSTATS` names the program if it is not installed (Debian: in exim4-base).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from collector.formats.context import Context
from collector.formats.registry import open_parser
from collector.ingest import ingest_paths
from mta.events.intake import Batch, Checkpoint, Receipt

_SLOW_DOWN = "421-4.7.28 Unusual rate of mail. 421 4.7.28 See our site"
_ANSWERS = (
    ("sent", "2.0.0", "250 2.0.0 OK {n} d9443c01a7336-1bb9e6 - gsmtp"),
    ("deferred", "4.7.28", f"host {{mx}}[192.0.2.26] said: {_SLOW_DOWN} (in reply to end of DATA command)"),
    ("bounced", "5.1.1", "host {mx}[192.0.2.26] said: 550 5.1.1 <{to}>: user unknown (in reply to RCPT TO command)"),
)


class _Sink:
    """A store that only counts."""

    def load(self, batch: Batch) -> Receipt:
        return Receipt(batch.received, len(batch.records), 0, len(batch.quarantined), sum(batch.ignored.values()))

    def checkpoint(self, source: str) -> Checkpoint | None:  # noqa: ARG002
        return None


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    with tempfile.TemporaryDirectory() as folder:
        for name, lines, peer in (
            ("postfix", _postfix(), shutil.which("pflogsumm") or "/usr/sbin/pflogsumm"),
            ("exim", _exim(), os.environ.get("EXIMSTATS") or shutil.which("eximstats") or "/usr/sbin/eximstats"),
        ):
            path = Path(folder) / f"{name}.log"
            log = [next(lines) for _ in range(count)]
            path.write_text("\n".join(log) + "\n")
            print(f"{name}: {count} lines, {path.stat().st_size / count:.0f} bytes each, one process")
            _measure("parse", count, lambda name=name, log=log: _parse(name, log))
            _measure("gather", count, lambda path=path: ingest_paths([str(path)], _Sink()))
            if Path(peer).exists():
                command = [peer, str(path)]
                _measure(Path(peer).name, count, lambda command=command: subprocess.run(command, capture_output=True))  # noqa: PLW1510
            path.unlink()


def _parse(name: str, log: list[str]) -> None:
    parse = open_parser(name, Context("here", now=lambda: time.time_ns() // 1000))
    for line in [line.encode() for line in log]:
        parse(line)


def _postfix() -> Iterator[str]:
    """A relay's log: seven lines a message, one in five recipients fails at first."""
    rng = random.Random(7)
    for n in range(sys.maxsize):
        queue_id, domain = f"4{n:010X}", f"mailbox{rng.randrange(50)}.example"
        mx, to, second = (
            f"mx1.{domain}",
            f"user{n}@{domain}",
            f"Nov  4 {n // 360000 % 24:02}:{n // 6000 % 60:02}:{n // 100 % 60:02}",
        )
        status, dsn, text = _ANSWERS[0 if rng.random() < 0.8 else rng.randrange(1, 3)]
        said = text.format(n=n, mx=mx, to=to)
        yield f"{second} mx1 postfix/smtpd[{n % 90}]: connect from app.sender.example[192.0.2.10]"
        yield f"{second} mx1 postfix/smtpd[{n % 90}]: {queue_id}: client=app.sender.example[192.0.2.10]"
        yield f"{second} mx1 postfix/cleanup[7{n % 90}]: {queue_id}: message-id=<{n}.spring@sender.example>"
        sender = f"b+{n}@sender.example"
        yield f"{second} mx1 postfix/qmgr[99]: {queue_id}: from=<{sender}>, size={n % 9999}, nrcpt=1 (queue active)"
        yield f"{second} mx1 postfix/smtpd[{n % 90}]: disconnect from app.sender.example[192.0.2.10] ehlo=1 commands=5"
        yield (
            f"{second} mx1 postfix/smtp[8{n % 90}]: {queue_id}: to=<{to}>, relay={mx}[192.0.2.26]:25, delay=1.9, "
            f"delays=0.05/0.01/1.1/0.74, dsn={dsn}, status={status} ({said})"
        )
        yield f"{second} mx1 postfix/qmgr[99]: {queue_id}: removed"


def _exim() -> Iterator[str]:
    """A relay's main log: three or four lines a message."""
    rng = random.Random(7)
    for n in range(sys.maxsize):
        second = f"2026-11-04 {n // 360000 % 24:02}:{n // 6000 % 60:02}:{n // 100 % 60:02}"
        key, domain = f"{second} 1t{n:04X}-{n % 999999:06d}-{n % 97:02d}"[:36], f"mailbox{rng.randrange(50)}.example"
        to, route = f"user{n}@{domain}", f"R=dnslookup T=remote_smtp H=mx1.{domain} [192.0.2.26]"
        yield (
            f"{key} <= b+{n}@sender.example H=app.sender.example [192.0.2.10]:40112 P=esmtps "
            f"X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no S={n % 9999} id={n}.spring@sender.example"
        )
        if rng.random() < 0.1:
            yield (
                f"{key} == {to} {route} defer (-44): SMTP error from remote mail server after RCPT TO:<{to}>: "
                "451 4.7.1 Greylisted, try again later"
            )
        if rng.random() < 0.1:
            yield (
                f"{key} ** {to} F=<b+{n}@sender.example> {route}: SMTP error from remote mail server after "
                f"RCPT TO:<{to}>: 550 5.1.1 <{to}>: user unknown"
            )
        else:
            yield (
                f"{key} => {to} F=<b+{n}@sender.example> {route} X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes "
                f'C="250 2.0.0 OK {n} d9443c01a7336-1bb9e6 - gsmtp" QT=1.9s DT=1.2s'
            )
        yield f"{key} Completed"


def _measure(name: str, count: int, work: Callable[[], object]) -> None:
    """The best of three, because neighbours on the machine only ever slow it down."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    print(f"  {name:<20} {count / best:>10,.0f} lines/s")


if __name__ == "__main__":
    main()
