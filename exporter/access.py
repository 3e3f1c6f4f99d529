"""Who may ask for what: tokens, of which only hashes are kept, each with one scope.

    read            every figure, of everybody
    tenant:NAME     what belongs to one tenant, and nothing else
    admin           read, and what changes or reveals single records: forgetting a person, SQL

A token is 256 random bits, so that its SHA-256 needs no salt to be safe in a file. The file is read again when it
changes; what cannot be read lets nobody in.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from exporter.errors import TokenFileDamaged
from mta.events.errors import SettingsError

__all__ = ["ADMIN", "READ", "Access", "Token", "TokenFile", "digest", "new_secret"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Access:
    """What a client may do. `tenant` set: it sees that tenant only. `name` is for logs and rate limits."""

    name: str
    tenant: str | None = None
    is_admin: bool = False

    @classmethod
    def of(cls, name: str, scope: str) -> Access:
        """The access of a scope as people write it. SettingsError names a wrong one."""
        kind, colon, tenant = scope.partition(":")
        if kind == "tenant" and tenant:
            return cls(name, tenant=tenant)
        if kind not in {"read", "admin"} or colon:
            raise SettingsError(f"{scope[:64]!r} is no scope", remedy="write read, admin or tenant:NAME")
        return cls(name, is_admin=kind == "admin")


READ, ADMIN = "read", "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept: what people call it, its scope, and the SHA-256 of the secret in hex."""

    name: str
    scope: str
    sha256: str

    @property
    def access(self) -> Access:
        """What it allows."""
        return Access.of(self.name, self.scope)


def new_secret() -> str:
    """A fresh token, recognisable as one of ours to those who search for leaked secrets."""
    return f"mts_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return sha256(secret.encode("utf8", "surrogatepass")).hexdigest()


def matching(secret: str, tokens: Iterable[Token]) -> Token | None:
    """The token of that secret; every one is compared, so that the time taken tells nothing."""
    given, found = digest(secret), None
    for token in tokens:
        if hmac.compare_digest(token.sha256, given):
            found = token
    return found


class TokenFile:
    """A JSON file `{"tokens": [{"name", "scope", "sha256"}]}`, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: tuple[int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """Every token; none where there is no file. Raises TokenFileDamaged."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._read_at, self._tokens = None, ()
            return ()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._read_at:
            self._tokens = _parsed(self.path)
            self._read_at = stamp
        return self._tokens

    def add(self, name: str, scope: str) -> str:
        """Make a token and keep its hash; the secret, which is told only now. SettingsError if the name is taken."""
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{name[:64]!r} is no name", remedy="letters, digits, dots, dashes; at most 64")
        Access.of(name, scope)
        if any(token.name == name for token in self.tokens()):
            raise SettingsError(f"there is a token {name!r} already", where=str(self.path), remedy="remove it first")
        secret = new_secret()
        self._write((*self.tokens(), Token(name, scope, digest(secret))))
        return secret

    def remove(self, name: str) -> bool:
        """Let a token's holder in no longer; False if there is none of that name."""
        kept = tuple(token for token in self.tokens() if token.name != name)
        if len(kept) == len(self.tokens()):
            return False
        self._write(kept)
        return True

    def _write(self, tokens: Iterable[Token]) -> None:
        content = {"tokens": [{"name": t.name, "scope": t.scope, "sha256": t.sha256} for t in tokens]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        half.replace(self.path)


def _parsed(path: Path) -> tuple[Token, ...]:
    try:
        with path.open("rb") as file:
            content = orjson.loads(file.read(_LARGEST))
        tokens = tuple(Token(entry["name"], entry["scope"], entry["sha256"]) for entry in content["tokens"])
        for token in tokens:
            _ = token.access, bytes.fromhex(token.sha256)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SettingsError) as error:
        raise TokenFileDamaged(f"cannot be read: {error}", where=str(path), remedy="make it anew") from error
    return tokens
