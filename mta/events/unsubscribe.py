"""Tokens for one-click unsubscription (RFC 8058): who wants no more mail of whom, opaque and impossible to forge.

A token stands in the `List-Unsubscribe` URL of one message to one recipient. It is encrypted and authenticated
(AES-GCM) with a key derived from the installation's recipient key, and tells nothing to anybody else. It has no end:
whoever finds an old mail may unsubscribe still. A rotation makes new tokens with the new key; destroying an old key
ends its tokens.

    base64url of: version (1)   epoch of the key (1)   nonce (12)   sealed JSON [recipient, tenant, campaign]
"""

from __future__ import annotations

import hmac
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mta.events.errors import ParseError
from mta.events.pseudonym import Keyring

__all__ = ["UnsubscribeTokens", "Unsubscription"]

_VERSION = 1
_NONCE = 12
_SHORTEST, _LONGEST = 2 + _NONCE + 16, 1024
_PURPOSE = b"mtascope unsubscribe"


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """What a token says; `tenant` and `campaign` are "" where the message named none."""

    recipient: str
    tenant: str = ""
    campaign: str = ""


class UnsubscribeTokens:
    """Makes and reads tokens. `random` gives so many random bytes."""

    def __init__(self, keyring: Keyring, random: Callable[[int], bytes] = os.urandom) -> None:
        self._keyring = keyring
        self._random = random
        self._keys = {epoch: AESGCM(_derived(key)) for epoch, key in keyring.recipient_keys.items()}

    def make(self, wanted: Unsubscription) -> str:
        """A token for a URL: letters, digits, `-` and `_`."""
        head = bytes((_VERSION, self._keyring.epoch % 256))
        nonce = self._random(_NONCE)
        said = json.dumps([wanted.recipient, wanted.tenant, wanted.campaign], separators=(",", ":"), ensure_ascii=False)
        sealed = self._keys[self._keyring.epoch].encrypt(nonce, said.encode("utf8", "surrogatepass"), head)
        return urlsafe_b64encode(head + nonce + sealed).rstrip(b"=").decode("ascii")

    def read(self, token: str) -> Unsubscription:
        """What the token says. Raises `ParseError` if it is none of ours."""
        try:
            data = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except (ValueError, UnicodeEncodeError) as error:
            raise ParseError("this is no unsubscribe token") from error
        if not _SHORTEST <= len(data) <= _LONGEST or data[0] != _VERSION:
            raise ParseError("this is no unsubscribe token")
        head, nonce, sealed = data[:2], data[2 : 2 + _NONCE], data[2 + _NONCE :]
        for epoch, key in self._keys.items():
            if epoch % 256 == head[1]:
                try:
                    return Unsubscription(*json.loads(key.decrypt(nonce, sealed, head).decode("utf8", "surrogatepass")))
                except InvalidTag:
                    continue
        raise ParseError("this unsubscribe token is forged, or its key is gone")


def _derived(key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE, sha256)
