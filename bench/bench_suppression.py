"""The suppression list: how long a look-up takes, what a worker's memory holds, how long publishing takes.

    python bench/bench_suppression.py [--entries N]

Fills a store with N entries, publishes and maps them as a worker does, asks for addresses on and off the list.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from analytics.suppression import publish
from mta.delivery.suppression import Suppression
from mtascope.keys import load_keyring
from mtascope.opened_store import open_store
from mtascope.settings import Settings


def private_memory() -> int:
    """Bytes that are this process's own; mapped pages of a file are shared by all who map it."""
    found = psutil.Process().memory_full_info()
    return int(found.uss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    entries = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder))
        keyring = load_keyring(settings.folder.keys)
        path = settings.folder.suppression
        with open_store(settings) as store:
            with store.writing() as con:
                con.execute(
                    "INSERT INTO suppression SELECT hash(n, 7), 1, '', 'bounce', 'bad_mailbox', 'example.org', now(), "
                    "NULL, NULL, NULL, NULL FROM range(?) t(n) "
                    "UNION ALL SELECT unnest(?::UBIGINT[]), 1, '', 'bounce', NULL, "
                    "'example.org', now(), NULL, NULL, NULL, NULL",
                    [entries, [keyring.recipient_hash(f"u{n}@example.org") for n in range(1000)]],
                )
            began = time.perf_counter()
            publish(store, path)
            print(f"published in      {time.perf_counter() - began:8.2f} s, {path.stat().st_size / 1e6:.1f} MB")
        before = private_memory()
        began = time.perf_counter()
        suppression = Suppression(path, lambda: keyring)
        print(f"mapped, checked in{1000 * (time.perf_counter() - began):8.1f} ms, {suppression.entries:,} entries")
        rounds = 100
        for name, on in (("on the list", True), ("not on the list", False)):
            addresses = [f"{'u' if on else 'v'}{n}@example.org" for n in range(1000)]
            began = time.process_time()
            found = sum(suppression.find(one, "", 0) is not None for _ in range(rounds) for one in addresses)
            spent = time.process_time() - began
            print(f"{name:18}{1e6 * spent / rounds / 1000:8.2f} us a look-up ({found // rounds} of 1000 found)")
        print(f"private memory    {(private_memory() - before) / 1e6:8.2f} MB a worker")


if __name__ == "__main__":
    main()
