"""A process that reads report files for another, which stores them: `python -m dmarc.reader`.

Orders come as lines of JSON on standard input: first whom to trust and the keys for pseudonyms, then batches of paths.
Rows go out on standard output, each line with the name of its table before it; after a batch, its counts. It loads
little, so that it starts in a blink, and it ends when standard input does.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import orjson

from dmarc.limits import Limits
from dmarc.mailbox.folder import chunks_of, shown
from dmarc.staging import Staging, Trust
from mta.events.pseudonym import Keyring

__all__ = ["END", "read_batches"]

END = b"end"
"""Stands where a table's name stands, before the counts of a batch: ids, inputs, records."""


def read_batches(orders: BinaryIO, out: BinaryIO) -> None:
    """Take orders until there are no more: a line each; the first says whom to trust and holds the keys."""
    terms = orders.readline()
    if not terms:
        return
    first = orjson.loads(terms)
    keys = {int(epoch): bytes.fromhex(key) for epoch, key in first["recipient_keys"].items()}
    keyring = Keyring(bytes.fromhex(first["identity"]), keys)

    def emit(table: str, columns: bytes) -> None:
        out.write(b"%b %b\n" % (table.encode(), columns))

    staging = Staging(keyring, _trust(first["trust"]), Limits(), emit)
    for line in orders:
        order = orjson.loads(line)
        for path in order["paths"]:
            _read_file(staging, os.fsdecode(path.encode("latin-1")), order["now"])
        staging.flush()
        counts = {"ids": staging.ids, "inputs": staging.inputs, "records": staging.records}
        out.write(b"%b %b\n" % (END, orjson.dumps(counts)))
        out.flush()
        staging.restart()


def _trust(content: dict[str, list[str]]) -> Trust:
    return Trust(**{name: tuple(values) for name, values in content.items()})


def _read_file(staging: Staging, path: str, now: int) -> None:
    """A file that vanishes or cannot be opened is passed over."""
    with suppress(OSError), Path(path).open("rb") as stream:
        staging.take(shown(path), chunks_of(stream), now)


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # the parent is gone
        read_batches(sys.stdin.buffer, sys.stdout.buffer)
