"""Return paths that name the send they are about and that nobody can forge: VERP with a signature.

A bounce that comes back to `b-<token>@bounces.example.com` tells by its address alone which recipient of which message
it is about, whatever its text says. Because the token is signed, a stranger cannot have a recipient struck off a list
by writing bounces of his own.

The token is 20 bytes, as 32 letters and digits of base32 (which survive a relay that folds case):

    unit id (8)   day of sending (2)   epoch of the key (1)   HMAC-SHA256 over all that and the domain, cut (9)

With its prefix that is 34 octets of the 64 that a local part may have (RFC 5321 section 4.5.3.1.1). The unit id is a
keyed pseudonym already, so a return path tells strangers nothing. The signing key is derived from the recipient key of
the same epoch: a rotation signs with the new key and still knows the old one; destroying a key ends its return paths.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32decode, b32encode
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from mta.events.address import canonical_domain, split_address
from mta.events.instants import DAY
from mta.events.pseudonym import Keyring

__all__ = ["ReturnPaths", "Standing", "Token", "is_tagged"]

_PREFIX = "b-"
_TOKEN = re.compile(r"b-([a-z2-7]{32})", re.IGNORECASE)
_MAC_BYTES = 9
_PURPOSE = b"mtascope return path"

# Senders that somebody has tagged already: BATV (prvs, btv1), SRS, and VERP that carries its recipient behind a `=`.
_TAGGED = re.compile(r"(?:prvs|btv1)=|srs[01][=+-]|.*=", re.IGNORECASE)


class Standing(StrEnum):
    """What a return path is worth."""

    VALID = "valid"
    EXPIRED = "expired"
    """Ours, but of a send too long ago to be restated."""
    FORGED = "forged"
    """In the form of ours, but not signed by a key that we have; or without any token at all."""


@dataclass(frozen=True, slots=True)
class Token:
    """A return path that was read. `unit` is the send's unit id; None unless the path is valid."""

    standing: Standing
    unit: int | None = None


@dataclass(frozen=True, slots=True)
class ReturnPaths:
    """Makes return paths and reads them again. `lifetime_days` is how long after its sending a path is taken."""

    keyring: Keyring
    lifetime_days: int = 30
    _keys: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        keys = {epoch: hmac.digest(key, _PURPOSE, sha256) for epoch, key in self.keyring.recipient_keys.items()}
        object.__setattr__(self, "_keys", keys)

    def make(self, unit: int, domain: str, now: int) -> str:
        """The return path at `domain` for one unit, sent at the instant `now`."""
        epoch = self.keyring.epoch
        said = unit.to_bytes(8, "big") + (now // DAY % 65_536).to_bytes(2, "big") + (epoch % 256).to_bytes(1, "big")
        token = b32encode(said + self._sign(epoch, said, domain)).decode("ascii").lower()
        return f"{_PREFIX}{token}@{domain}"

    def read(self, address: str, now: int) -> Token:
        """What the address of a mail that came back says. Never raises."""
        local, domain = split_address(address)
        found = _TOKEN.fullmatch(local)
        if found is None:
            return Token(Standing.FORGED)
        raw = b32decode(found[1].upper())
        said, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        genuine = any(
            hmac.compare_digest(mac, self._sign(epoch, said, domain)) for epoch in self._keys if epoch % 256 == said[10]
        )
        if not genuine:
            return Token(Standing.FORGED)
        age = (now // DAY - int.from_bytes(said[8:10], "big")) % 65_536
        fresh = age <= self.lifetime_days or age == 65_535  # a clock may be a day behind
        return Token(Standing.VALID, int.from_bytes(said[:8], "big")) if fresh else Token(Standing.EXPIRED)

    def _sign(self, epoch: int, said: bytes, domain: str) -> bytes:
        text = said + canonical_domain(domain).encode("utf-8", "surrogatepass")
        return hmac.digest(self._keys[epoch], text, sha256)[:_MAC_BYTES]


def is_tagged(sender: str) -> bool:
    """Whether somebody has put a tag of his own on this sender (BATV, SRS, VERP), which must come back untouched."""
    return _TAGGED.match(split_address(sender)[0]) is not None
