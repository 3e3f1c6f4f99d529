"""How much memory a million waiting messages take, and how soon a worker with them in its spool is ready.

Run: .venv/bin/python bench/bench_queue.py [--messages N] [--size BYTES] [--domains N] [--due later|now]

The spool is filled as reception fills it, one journal entry a message, without the network; then `mtascope mta` is
started on it. `ready` is from the start of the process until it says so; memory is that of the whole process when it
has been quiet for a few seconds, and the most it ever had. With `--due now` everything is due at once for hosts that
refuse connections: the worst case.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mta.queue.message import Envelope, Message, SpoolIds
from mta.queue.spool import Spool
from mta.worker import WorkerPaths, system_clock

ROOT = Path(__file__).resolve().parents[1]
_TOGETHER = 2000
_LATER = 3 * 3_600_000_000
_QUIET = 8.0


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-queue-", dir=options.folder) as folder:
        data = Path(folder) / "data"
        started = time.perf_counter()
        asyncio.run(_fill(WorkerPaths.under(data).spool, options))
        filled = time.perf_counter() - started
        print(
            f"filled with {options.messages:,} messages of {options.size:,} bytes: {options.messages / filled:,.0f}/s"
        )
        _start(data, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument("--due", choices=["later", "now"], default="later")
    parser.add_argument("--folder", default=None, help="where to put the spool; it needs room for all the messages")
    return parser.parse_args()


async def _fill(folder: Path, options: argparse.Namespace) -> None:
    spool = Spool(folder, outbox=lambda _seq, _line: None)
    spool.recover(0)
    source = random.Random(1)
    ids, body = SpoolIds(system_clock, source), b"x" * (options.size - 2) + b"\r\n"
    for first in range(0, options.messages, _TOGETHER):
        batch = []
        for number in range(first, min(first + _TOGETHER, options.messages)):
            domain, now = f"d{number % options.domains}.example", system_clock()
            envelope = Envelope("a@example.org", now, len(body), message_id=f"<{number}@example.org>")
            due = now + source.randrange(_LATER // 2, _LATER) if options.due == "later" else now
            message = Message(ids.make(), f"user{number}@{domain}", domain, domain, envelope, due=due)
            batch.append(spool.accept(envelope, [message], body, []))
        await asyncio.gather(*batch)
    await spool.close()


def _start(data: Path, options: argparse.Namespace) -> None:
    config = data.parent / "mta.toml"
    config.write_text(
        "[mta]\nmin_free_bytes = 0\n[[mta.routes]]\n"
        'domain = "*"\nhost = "mx.nowhere.example"\naddress = "127.0.0.1"\nport = 1\n'
    )
    arguments = ["mta", "--data", str(data), "--config", str(config), "--listen", "127.0.0.1:0", "--json"]
    started = time.perf_counter()
    worker = subprocess.Popen([sys.executable, "-m", "mtascope", *arguments], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        if not worker.stdout.readline():
            sys.exit("the worker did not start")
        print(f"ready    {time.perf_counter() - started:6.1f} s")
        time.sleep(_QUIET if options.due == "later" else 5 * _QUIET)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines())
        for name, key in (("memory", "VmRSS"), ("peak", "VmHWM")):
            size = int(status[key].split()[0]) * 1024
            print(f"{name:8} {size / 1e6:6.1f} MB   {size / options.messages:5.0f} B a message, the process included")
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()


if __name__ == "__main__":
    main()
