"""Who may log in: names and scrypt hashes (RFC 7914) from a file, and how often somebody may be wrong.

A line of the file is `name:scrypt$LOG2N$R$P$SALT$HASH`, the last two in base64; `#` begins a comment.

    python -m mta.smtp.users NAME     asks for a password and prints such a line
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import hmac
import os
import sys
from base64 import b64decode, b64encode
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mta.events.errors import SettingsError
from mta.events.instants import MINUTE
from mta.queue.message import Clock

__all__ = ["FailureLimit", "PasswordHash", "Users", "hash_password"]

_MEMORY = 256 * 1024 * 1024
_MIN_HASH = 16
_MAX_LOG2N, _MAX_R, _MAX_P = 18, 16, 4
_MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A salted scrypt hash and its cost."""

    log2n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """What `str` of one gives. ValueError if it is none, or costs more than we are willing to spend."""
        kind, log2n, r, p, salt, digest = text.split("$")
        found = cls(int(log2n), int(r), int(p), b64decode(salt, validate=True), b64decode(digest, validate=True))
        cheap = 1 <= found.log2n <= _MAX_LOG2N and 1 <= found.r <= _MAX_R and 1 <= found.p <= _MAX_P
        if kind != "scrypt" or not cheap or len(found.hash) < _MIN_HASH:
            raise ValueError("not a scrypt hash of acceptable cost")
        return found

    def __str__(self) -> str:
        salt, digest = b64encode(self.salt).decode(), b64encode(self.hash).decode()
        return f"scrypt${self.log2n}${self.r}${self.p}${salt}${digest}"

    def matches(self, password: bytes) -> bool:
        """Whether this is the password. Takes tens of milliseconds, on purpose."""
        return hmac.compare_digest(_scrypt(password, self), self.hash)


def hash_password(password: bytes, *, log2n: int = 14) -> PasswordHash:
    """A hash with a new salt."""
    empty = PasswordHash(log2n, 8, 1, os.urandom(16), b"\0" * 32)
    return PasswordHash(log2n, 8, 1, empty.salt, _scrypt(password, empty))


def _scrypt(password: bytes, cost: PasswordHash) -> bytes:
    return hashlib.scrypt(
        password, salt=cost.salt, n=1 << cost.log2n, r=cost.r, p=cost.p, maxmem=_MEMORY, dklen=len(cost.hash)
    )


class Users:
    """The users of a worker. An unknown name costs as long as a known one, so that names cannot be found out."""

    def __init__(self, hashes: Mapping[str, PasswordHash]) -> None:
        self._hashes = dict(hashes)
        self._nobody = next(iter(hashes.values()), None) or hash_password(os.urandom(16))

    @classmethod
    def load(cls, path: Path) -> Users:
        """Read the file. Raises `SettingsError` that names file and line, never their content."""
        try:
            lines = path.read_text("utf8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot be read: {error}", where=f"mta.users {path}") from error
        hashes: dict[str, PasswordHash] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, text = line.partition(":")
            try:
                hashes[name] = PasswordHash.parse(text.strip())
            except ValueError as error:
                remedy = "make the line with: python -m mta.smtp.users NAME"
                raise SettingsError("no name and scrypt hash", where=f"{path}:{number}", remedy=remedy) from error
        return cls(hashes)

    async def check(self, name: str, password: bytes) -> bool:
        """Whether name and password belong together. Off the event loop: hashing is slow on purpose."""
        known = self._hashes.get(name)
        matches = await asyncio.to_thread((known or self._nobody).matches, password)
        return matches and known is not None


class FailureLimit:
    """Counts failures by key over a sliding window; the least recent keys are forgotten when there are too many."""

    def __init__(self, clock: Clock, *, most: int = 10, window: int = 10 * MINUTE) -> None:
        self._clock = clock
        self._most = most
        self._window = window
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()

    def reached(self, key: str) -> bool:
        """Whether the key has failed too often lately."""
        failures = self._failures.get(key, deque())
        while failures and failures[0] <= self._clock() - self._window:
            failures.popleft()
        return len(failures) >= self._most

    def failed(self, key: str) -> None:
        """One more failure."""
        self._failures.setdefault(key, deque(maxlen=self._most)).append(self._clock())
        self._failures.move_to_end(key)
        if len(self._failures) > _MOST_KEYS:
            self._failures.popitem(last=False)


if __name__ == "__main__":
    sys.stdout.write(f"{sys.argv[1]}:{hash_password(getpass.getpass().encode())}\n")
