"""DKIM signatures (RFC 6376), RSA-SHA256 and Ed25519-SHA256 (RFC 8463). Pure, but for loading keys.

A message is signed once, when it is accepted: retries and further recipients cost nothing. What the signature covers is
what was handed in; our trace field stands above it and is not covered. Fields that decide what a reader sees are
*oversigned*: named once more than they occur, so that nobody can add another of them (RFC 6376 section 8.15).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mta.events.address import canonical_domain, split_address
from mta.events.errors import SettingsError
from mta.events.instants import SECOND, from_datetime
from mta.settings import DkimKey

__all__ = ["DEFAULT_FIELDS", "Signer", "Signers", "relaxed_body", "relaxed_field", "simple_body"]

DEFAULT_FIELDS = (
    *("from", "to", "cc", "subject", "date", "message-id", "reply-to", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding", "list-id", "list-unsubscribe"),
    *("list-unsubscribe-post", "feedback-id"),
)
"""Fields that are signed where a message has them."""

_OVERSIGNED = frozenset(
    {"from", "to", "cc", "subject", "date", "reply-to", "message-id", "mime-version", "content-type"}
)
Form = Literal["simple", "relaxed"]
"""How much of a message may change on its way without breaking a signature (RFC 6376 section 3.4)."""

_MIN_RSA_BITS = 1024
_FIELD = re.compile(rb"(([!-9;-~]+)[ \t]*:((?:[^\r\n]|\r\n[ \t])*))(?:\r\n|$)")
_BLANKS = re.compile(rb"[ \t]+")
_BLANKS_AT_END = re.compile(rb"[ \t]+\r\n")
_FROM = re.compile(rb"<([^<>]*)>[ \t]*$")
_WIDTH = 72

_Field = tuple[bytes, bytes, bytes]
"""A field as it stands, its name in lower case, and what follows the colon."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one domain with one key; `always` signs mail from other domains, too."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey
    fields: Sequence[str] = DEFAULT_FIELDS
    lifetime: int | None = None
    """Seconds after which the signature is void (`x=`); None means never."""
    always: bool = False
    header_form: Form = "relaxed"
    body_form: Form = "relaxed"
    oversign: bool = True
    begins: int = 0
    """The instant from which the key is used ..."""
    ends: int | None = None
    """... and from which it is no more."""

    @classmethod
    def load(cls, settings: DkimKey) -> Signer:
        """With the key in a PEM file. Raises `SettingsError` that names the file."""
        key = _load_key(settings.key)
        fields = tuple(name.lower() for name in settings.headers) or DEFAULT_FIELDS
        lifetime = int(settings.expiration) if settings.expiration else None
        header_form, _, body_form = settings.canonicalization.partition("/")
        return cls(
            settings.domain,
            settings.selector,
            key,
            fields,
            lifetime,
            settings.always,
            _form(header_form),
            _form(body_form or "simple"),  # RFC 6376 section 3.5: what is not said is simple
            settings.over_sign,
            from_datetime(settings.not_before) if settings.not_before else 0,
            from_datetime(settings.not_after) if settings.not_after else None,
        )

    def signs_at(self, now: int) -> bool:
        """Whether the key is in use at an instant."""
        return self.begins <= now and (self.ends is None or now < self.ends)

    def sign(self, fields: Sequence[_Field], body_hash: str, now: int) -> bytes:
        """The DKIM-Signature field, with its line end, for a message of those fields and that body."""
        names, data = self._chosen(fields)
        algorithm = "rsa-sha256" if isinstance(self.key, RSAPrivateKey) else "ed25519-sha256"
        seconds = now // SECOND
        expiry = f" x={seconds + self.lifetime};" if self.lifetime else ""
        text = (
            f"v=1; a={algorithm}; c={self.header_form}/{self.body_form}; d={self.domain}; s={self.selector};\r\n"
            f"\tt={seconds};{expiry} h={_folded(names)};\r\n\tbh={body_hash};\r\n\tb="
        ).encode("ascii")
        own = b"DKIM-Signature: " + text
        digest = data + self._canonical((own, b"dkim-signature", text)).removesuffix(b"\r\n")
        signature = b64encode(self._signature(digest))
        lines = [signature[at : at + _WIDTH] for at in range(0, len(signature), _WIDTH)]
        return own + b"\r\n\t ".join(lines) + b"\r\n"

    def _chosen(self, fields: Sequence[_Field]) -> tuple[list[str], bytes]:
        """The names for `h=`, and the data that they stand for: of equal names the last field first (section 5.4.2)."""
        found: dict[str, list[_Field]] = defaultdict(list)
        for field in fields:
            found[field[1].decode("ascii")].append(field)
        names: list[str] = []
        data: list[bytes] = []
        for name in self.fields:
            chosen = found.get(name, [])
            data += [self._canonical(field) for field in reversed(chosen)]
            names += [name] * (len(chosen) + (self.oversign and name in _OVERSIGNED))
        return names, b"".join(data)

    def _canonical(self, field: _Field) -> bytes:
        """RFC 6376 sections 3.4.1 and 3.4.2."""
        as_it_stands, name, value = field
        return relaxed_field(name, value) if self.header_form == "relaxed" else as_it_stands + b"\r\n"

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(data, PKCS1v15(), hashes.SHA256())
        return self.key.sign(sha256(data).digest())


class Signers:
    """All signers of a worker."""

    def __init__(self, signers: Iterable[Signer]) -> None:
        self.replace(signers)

    def replace(self, signers: Iterable[Signer]) -> None:
        """From now on these sign: keys were changed."""
        self._by_domain: Mapping[str, list[Signer]] = defaultdict(list)
        self._always: list[Signer] = []
        for signer in signers:
            (self._always if signer.always else self._by_domain[signer.domain]).append(signer)

    def signatures(self, content: bytes, now: int) -> bytes:
        """The fields to put before a message; empty if nobody signs for the domain of its author."""
        if not (self._by_domain or self._always):
            return b""
        header, body = _parted(content)
        fields = [(field, name.lower(), value) for field, name, value in _FIELD.findall(header)]
        candidates = (*self._for(_author_domain(fields)), *self._always)
        chosen = [signer for signer in candidates if signer.signs_at(now)]
        hashes = {form: _body_hash(body, form) for form in {signer.body_form for signer in chosen}}
        return b"".join(signer.sign(fields, hashes[signer.body_form], now) for signer in chosen)

    def _for(self, domain: str) -> list[Signer]:
        """The signers of the domain, else of the nearest domain above it: DMARC's relaxed alignment takes both."""
        while domain:
            if domain in self._by_domain:
                return self._by_domain[domain]
            domain = domain.partition(".")[2]
        return []


def _body_hash(body: bytes, form: Form) -> str:
    canonical = relaxed_body(body) if form == "relaxed" else simple_body(body)
    return b64encode(sha256(canonical).digest()).decode()


def simple_body(body: bytes) -> bytes:
    """RFC 6376 section 3.4.3: nothing is changed but that one line end ends it."""
    return _without_empty_lines_at_end(body) + b"\r\n"


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """RFC 6376 section 3.4.2: the name in lower case, the value on one line with single blanks."""
    unfolded = value.replace(b"\r\n", b"")
    return name.lower() + b":" + _BLANKS.sub(b" ", unfolded).strip(b" ") + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 section 3.4.4. The text of most mail is in this form already, which is seen faster than it is made."""
    if b"\t" in body or b"  " in body:
        body = _BLANKS.sub(b" ", body)
    if b" \r\n" in body or body.endswith(b" "):
        body = _BLANKS_AT_END.sub(b"\r\n", body if body.endswith(b"\r\n") else body + b"\r\n")
    if body.endswith(b"\r\n\r\n") or not body.endswith(b"\r\n"):
        stripped = _without_empty_lines_at_end(body)
        return stripped + b"\r\n" if stripped else b""
    return b"" if body == b"\r\n" else body


def _without_empty_lines_at_end(body: bytes) -> bytes:
    end = len(body)
    while body[end - 2 : end] == b"\r\n" and end >= 2:
        end -= 2
    return body[:end]


def _folded(names: Sequence[str]) -> str:
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) >= _WIDTH:
            lines.append("")
        lines[-1] += name + ":"
    return "\r\n\t ".join(lines).removesuffix(":")


def _parted(content: bytes) -> tuple[bytes, bytes]:
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    header, _, body = content.partition(b"\r\n\r\n")
    return header, body


def _author_domain(fields: Sequence[_Field]) -> str:
    value = next((value for _, name, value in fields if name == b"from"), b"")
    unfolded = value.replace(b"\r\n", b"").strip()
    found = _FROM.search(unfolded)
    address = (found[1] if found else unfolded).decode("utf8", "replace")
    return canonical_domain(split_address(address)[1])


def _form(name: str) -> Form:
    return cast("Form", name)


def _load_key(path: Path) -> RSAPrivateKey | Ed25519PrivateKey:
    where = f"mta.dkim key {path}"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"cannot be used: {error}", where=where, remedy="name a PEM file with a private key"
        ) from error
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _MIN_RSA_BITS:
            raise SettingsError(f"{key.key_size} bits are too few", where=where, remedy="make a key of 2048 bits")
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise SettingsError("this kind of key cannot sign mail", where=where, remedy="make an RSA or Ed25519 key")
