"""Mails signed by a key that is published in a zone."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mta.delivery.dkim import Signer, Signers
from mta.events.instants import parse_instant

NOW = parse_instant("2026-01-01T00:00:00Z")
_KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture
def key_record() -> str:
    raw = _KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"


@pytest.fixture
def mail_from() -> Callable[..., bytes]:
    """A mail of an author, signed by a domain if one is named."""

    def make(author: str, signer: str = "", date: str = "Wed, 31 Dec 2025 12:00:00 +0000") -> bytes:
        mail = f"From: {author}\r\nDate: {date}\r\nMessage-ID: <1@x.example>\r\n\r\nA report.\r\n".encode()
        if not signer:
            return mail
        signers = Signers([Signer(signer, "s1", _KEY, always=True)])
        return signers.signatures(mail, NOW) + mail

    return make
