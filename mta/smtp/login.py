"""AUTH PLAIN and LOGIN (RFC 4954, RFC 4616): only over TLS, and with a limit on how often somebody may guess."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mta.smtp.users import FailureLimit, Users

if TYPE_CHECKING:
    from mta.smtp.session import Session

__all__ = ["MECHANISMS", "Login"]

MECHANISMS = ("PLAIN", "LOGIN")
_FAILURES_A_SESSION = 3
_WRONG = "535 5.7.8 Authentication credentials invalid"
_ENOUGH = "421 4.7.0 Too many failed logins, try again later"


@dataclass(frozen=True, slots=True)
class Login:
    """The users, and the limits: failures by client address, and by name whatever the address."""

    users: Users
    by_address: FailureLimit
    by_name: FailureLimit

    async def attempt(self, server: Session, arguments: list[str]) -> str | None:
        """Run the dialogue of AUTH and answer it; None if it was answered already."""
        mechanism = arguments[0].upper()
        if not server.is_encrypted:
            return "538 5.7.11 Encryption required for requested authentication mechanism"
        if mechanism not in MECHANISMS:
            return "504 5.5.4 Unrecognized authentication type"
        if self.by_address.reached(server.client_ip):
            return _ENOUGH
        read = self._plain if mechanism == "PLAIN" else self._login
        found = await read(server, arguments[1] if len(arguments) > 1 else None)
        if found is None:
            return None
        return await self._verdict(server, *found)

    async def _verdict(self, server: Session, name: str, password: bytes) -> str:
        if self.by_name.reached(name):
            return "454 4.7.0 Too many failed logins for this name, try again later"
        if await self.users.check(name, password):
            server.logged_in(name)
            return "235 2.7.0 Authentication successful"
        self.by_address.failed(server.client_ip)
        self.by_name.failed(name)
        server.failed_logins += 1
        return _ENOUGH if server.failed_logins >= _FAILURES_A_SESSION else _WRONG

    async def _plain(self, server: Session, initial: str | None) -> tuple[str, bytes] | None:
        answer = await _answer(server, "", initial)
        if answer is None:
            return None
        parts = answer.split(b"\0")
        if len(parts) != 3:
            await server.push("501 5.5.2 This is no PLAIN answer")
            return None
        return parts[1].decode("utf8", "replace"), parts[2]

    async def _login(self, server: Session, initial: str | None) -> tuple[str, bytes] | None:
        name = await _answer(server, "Username:", initial)
        if name is None:
            return None
        password = await _answer(server, "Password:", None)
        return None if password is None else (name.decode("utf8", "replace"), password)


async def _answer(server: Session, challenge: str, initial: str | None) -> bytes | None:
    """What the client said at once, or says when it is asked. None: it broke off, and was answered."""
    if initial is None:
        said = await server.challenge_auth(challenge)
        return said if isinstance(said, bytes) else None
    if initial == "=":  # an empty initial response (RFC 4954 section 4)
        return b""
    try:
        return b64decode(initial, validate=True)
    except (binascii.Error, ValueError):
        await server.push("501 5.5.2 Can't decode base64")
        return None
