"""Requests that are sent twice and done once: the answers to those that named an idempotency key, kept for a day.

The journal is the first memory: a message that came with a key carries it (`Envelope.request`), in the same entry that
makes it durable. So a request that a crash cut short is taken up again where it was, and no recipient gets the mail
twice. When all of it is done, the answer is written here, durably, before it is given.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mta.events.instants import DAY
from mta.queue.message import Clock

__all__ = ["Answers", "request_id"]

_MOST = 200_000


def request_id(key: str) -> str:
    """A short name for a client's key, which may hold anything."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Answer:
    asked: str
    said: dict[str, Any]


class Answers:
    """The answers given, in a file that the workers of a data directory share. Methods raise OSError."""

    def __init__(self, path: Path, clock: Clock, keep: int = DAY) -> None:
        self._path = path
        self._clock = clock
        self._keep = keep
        self._answers: dict[str, _Answer] = {}
        self._read_to = 0
        self._locks: dict[str, asyncio.Lock] = {}
        self._prune()

    def lock(self, request: str) -> asyncio.Lock:
        """Held while a request is worked on, so that its twin waits for the answer."""
        if len(self._locks) > _MOST:
            self._locks = {name: lock for name, lock in self._locks.items() if lock.locked()}
        return self._locks.setdefault(request, asyncio.Lock())

    def find(self, request: str, body: bytes) -> dict[str, Any] | None:
        """The answer to a request. ValueError if its key came with another body before."""
        self._read()
        found = self._answers.get(request)
        if found is None:
            return None
        if found.asked != _digest(body):
            raise ValueError("this idempotency key was used for another request")
        return found.said

    def keep(self, request: str, body: bytes, said: dict[str, Any]) -> None:
        """Remember an answer; durable when this returns. Blocks."""
        row = {"request": request, "asked": _digest(body), "at": self._clock(), "said": said}
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, orjson.dumps(row) + b"\n")
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def _read(self) -> None:
        """Take up the lines that were added, by whomever."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read_to:  # it was pruned
                    self._read_to = 0
                file.seek(self._read_to)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        for line in data[:whole].splitlines():
            row = orjson.loads(line)
            self._answers[row["request"]] = _Answer(row["asked"], row["said"])
        self._read_to += whole

    def _prune(self) -> None:
        """Drop what is too old, and a last line that a crash cut short."""
        oldest = self._clock() - self._keep
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return
        kept = [line for line in lines if orjson.loads(line)["at"] >= oldest][-_MOST:]
        if len(kept) == len(lines):
            return
        new = self._path.with_suffix(".new")
        new.write_bytes(b"".join(line + b"\n" for line in kept))
        new.replace(self._path)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
