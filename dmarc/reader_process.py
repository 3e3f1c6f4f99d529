"""Reading files in several processes at once; each runs `dmarc/reader.py`.

The parent gives out batches of paths in turn and takes what was read in the same order, so that the same files always
give the same store. All that travels is text: settings and paths go in by a reader's standard input, rows come out by
its standard output, each with the name of its table before it; after a batch, its counts. A reader that is far ahead
waits for its pipe to be emptied: that bounds memory. When the parent is gone the pipe ends, and the reader with it.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from types import TracebackType
from typing import BinaryIO, Self

import orjson

from dmarc.errors import ReaderFailed
from dmarc.ingest import ReportIngest
from dmarc.reader import END

__all__ = ["ReaderProcesses", "ingest_paths"]

_BATCH = 25
"""Files that a reader is given at a time."""
_BATCH_TEXT = 8_000
"""Characters of all their paths; escaped, and `_AHEAD` times, they stay below the 64 KiB of a pipe."""
_AHEAD = 2
"""Batches that wait in each reader."""


class ReaderProcesses:
    """So many readers, for one ingest. Leave the `with` block to end them."""

    def __init__(self, ingest: ReportIngest, count: int) -> None:
        self._ingest = ingest
        self._readers = [_start(ingest) for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for reader in self._readers:
            _stdin(reader).close()
            if kind is not None:
                reader.kill()
            _stdout(reader).close()
            reader.wait()

    def take(self, paths: Iterable[str]) -> Iterator[int]:
        """Read every file and stage what is in it; tells after each batch how many files were read."""
        waiting: deque[subprocess.Popen[bytes]] = deque()
        for reader, batch in zip(cycle(self._readers), _batches(paths), strict=False):
            _send(reader, {"now": self._ingest.clock(), "paths": batch})
            waiting.append(reader)
            if len(waiting) >= _AHEAD * len(self._readers):
                yield self._receive(waiting.popleft())
        while waiting:
            yield self._receive(waiting.popleft())

    def _receive(self, reader: subprocess.Popen[bytes]) -> int:
        for line in _stdout(reader):
            word, _, content = line.partition(b" ")
            if word == END:
                counts = orjson.loads(content)
                self._ingest.staged(ids=counts["ids"], inputs=counts["inputs"], records=counts["records"])
                return int(counts["inputs"])
            self._ingest.stage(word.decode(), content.rstrip(b"\n"))
        raise ReaderFailed("a process that reads reports has ended", remedy="see its last words above")


def ingest_paths(paths: Iterable[str], ingest: ReportIngest, count: int) -> Iterator[int]:
    """Read files in `count` processes and commit; the running number of files after each batch."""
    done = 0
    with ReaderProcesses(ingest, count) as readers:
        for files in readers.take(paths):
            done += files
            yield done
    ingest.commit()


def _batches(paths: Iterable[str]) -> Iterator[Sequence[str]]:
    """Some files at a time: all orders that wait must fit into a pipe, or both sides would wait for each other."""
    batch: list[str] = []
    for path in paths:
        batch.append(path)
        if len(batch) >= _BATCH or sum(map(len, batch)) > _BATCH_TEXT:
            yield batch
            batch = []
    if batch:
        yield batch


def _start(ingest: ReportIngest) -> subprocess.Popen[bytes]:
    reader = subprocess.Popen(
        [sys.executable, "-P", "-m", "dmarc.reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=1 << 20,
        start_new_session=True,  # Ctrl-C at the terminal goes to the parent alone
    )
    keys = {str(epoch): key.hex() for epoch, key in ingest.keyring.recipient_keys.items()}
    _send(reader, {"trust": ingest.trust, "identity": ingest.keyring.identity.hex(), "recipient_keys": keys})
    return reader


def _send(reader: subprocess.Popen[bytes], content: object) -> None:
    stdin = _stdin(reader)
    try:
        stdin.write(orjson.dumps(content) + b"\n")
        stdin.flush()
    except OSError as error:
        raise ReaderFailed("a process that reads reports has ended", remedy="see its last words above") from error


def _stdin(reader: subprocess.Popen[bytes]) -> BinaryIO:
    assert reader.stdin is not None  # noqa: S101 - asked for at its start
    return reader.stdin  # type: ignore[return-value]


def _stdout(reader: subprocess.Popen[bytes]) -> BinaryIO:
    assert reader.stdout is not None  # noqa: S101
    return reader.stdout  # type: ignore[return-value]
