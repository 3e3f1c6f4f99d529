"""Reading files in several processes at once; each runs `dmarc/reader.py`.

The parent gives out batches of paths in turn and takes what was read in the same order, so that the same files always
give the same store. All that travels is text: settings and paths go in by a reader's standard input, rows come out by
its standard output, each with the name of its table before it; after a batch, its counts. A reader that is far ahead
waits for its pipe to be emptied: that bounds memory. When the parent is gone the pipe ends, and the reader with it.

Readers may be started before anybody knows what they are to read or for whom: that takes as long as opening a store.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
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
_PIPE = 1 << 20
"""Bytes that a reader may be ahead beside them, where the system lets us."""


class ReaderProcesses:
    """So many readers, for one ingest. Leave the `with` block to end them."""

    def __init__(self, count: int) -> None:
        self._readers = [_start() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.dismiss()
        for reader in self._readers:
            if kind is not None:
                reader.kill()
            _stdout(reader).close()
            reader.wait()

    def dismiss(self) -> None:
        """Let them end, without waiting until they have."""
        for reader in self._readers:
            with suppress(BrokenPipeError):
                _stdin(reader).close()

    def take(self, paths: Iterable[str], ingest: ReportIngest) -> Iterator[int]:
        """Read every file and stage what is in it; tells after each batch how many files were read."""
        for reader in self._readers:
            _send(reader, _terms(ingest))
        waiting: deque[subprocess.Popen[bytes]] = deque()
        for reader, batch in zip(cycle(self._readers), _batches(paths), strict=False):
            _send(reader, {"now": ingest.clock(), "paths": batch})
            waiting.append(reader)
            if len(waiting) >= _AHEAD * len(self._readers):
                yield _receive(waiting.popleft(), ingest)
        while waiting:
            yield _receive(waiting.popleft(), ingest)


def ingest_paths(paths: Iterable[str], ingest: ReportIngest, readers: ReaderProcesses) -> Iterator[int]:
    """Have files read and commit; the running number of files after each batch. The readers end."""
    done = 0
    for files in readers.take(paths, ingest):
        done += files
        yield done
    readers.dismiss()
    ingest.commit()


def _receive(reader: subprocess.Popen[bytes], ingest: ReportIngest) -> int:
    """Stage a batch; how many files it had."""
    for line in _stdout(reader):
        word, _, content = line.partition(b" ")
        if word == END:
            counts = orjson.loads(content)
            ingest.staged(ids=counts["ids"], inputs=counts["inputs"], records=counts["records"])
            return int(counts["inputs"])
        ingest.stage(word.decode(), content.rstrip(b"\n"))
    raise ReaderFailed("a process that reads reports has ended", remedy="see its last words above")


def _batches(paths: Iterable[str]) -> Iterator[Sequence[str]]:
    """Some files at a time: all orders that wait must fit into a pipe, or both sides would wait for each other."""
    batch: list[str] = []
    for path in paths:
        batch.append(os.fsencode(path).decode("latin-1"))  # a file name may be no text
        if len(batch) >= _BATCH or sum(map(len, batch)) > _BATCH_TEXT:
            yield batch
            batch = []
    if batch:
        yield batch


def _start() -> subprocess.Popen[bytes]:
    reader = subprocess.Popen(
        [sys.executable, "-P", "-m", "dmarc.reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=_PIPE,
        start_new_session=True,  # Ctrl-C at the terminal goes to the parent alone
    )
    with suppress(OSError, AttributeError):  # more than this user may have, or not Linux
        fcntl.fcntl(_stdout(reader), fcntl.F_SETPIPE_SZ, _PIPE)
    return reader


def _terms(ingest: ReportIngest) -> dict[str, object]:
    """What a reader has to know before it begins."""
    keys = {str(epoch): key.hex() for epoch, key in ingest.keyring.recipient_keys.items()}
    return {"trust": ingest.trust, "identity": ingest.keyring.identity.hex(), "recipient_keys": keys}


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
