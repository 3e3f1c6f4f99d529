"""Verifying DKIM signatures (RFC 6376, RFC 8301, RFC 8463): RSA-SHA256 and Ed25519-SHA256.

SHA-1 and RSA keys below 1024 bits do not count. A signature that leaves part of the body out (`l=`) does not either:
whoever holds such a mail could add a report to it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dmarc import values
from dmarc.authentication.tags import read_tags
from dmarc.dns import Resolver
from dmarc.errors import LookupFailed
from dmarc.reports import Result

__all__ = ["DkimKey", "DkimSignature", "read_key", "verify_signatures"]

_MOST = 10
"""Signatures of one mail that are looked at."""
_HEADER_LIMIT = 256 * 1024
_MIN_BITS = 1_024
_FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]*:((?:[^\r\n]|\r\n[ \t])*)(?:\r\n|\Z)")
_BLANKS = re.compile(rb"[ \t]+")
_BLANKS_AT_END = re.compile(rb"[ \t]+(?=\r\n)")
_SIGNATURE_VALUE = re.compile(rb"((?:[;:]|^)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*")


class _Field(NamedTuple):
    name: bytes
    """In lower case."""
    value: bytes
    raw: bytes
    """As it stands in the mail, without its line end."""


@dataclass(frozen=True, slots=True)
class DkimSignature:
    """What became of one signature; `domain` vouches for the mail where `result` is pass."""

    domain: str
    selector: str
    result: Result
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A published key; `problem` says why it cannot be used."""

    key: RSAPublicKey | Ed25519PublicKey | None
    strict: bool = False
    """`t=s`: only for the domain itself as signing identity."""
    testing: bool = False
    problem: str = ""

    @property
    def bits(self) -> int | None:
        """The length of an RSA key."""
        return self.key.key_size if isinstance(self.key, RSAPublicKey) else None


async def verify_signatures(mail: bytes, resolver: Resolver, now: int) -> tuple[DkimSignature, ...]:
    """Every signature of a mail, in order; `now` is in seconds."""
    header, body = _parted(mail)
    fields = [_Field(found[1].lower(), found[2], found[0].removesuffix(b"\r\n")) for found in _FIELD.finditer(header)]
    signatures = [field for field in fields if field.name == b"dkim-signature"][:_MOST]
    return tuple([await _verified(field, fields, body, resolver, now) for field in signatures])


def read_key(text: str) -> DkimKey:
    """A key record (RFC 6376 section 3.6.1)."""
    tags = read_tags(text)
    problem = _key_problem(tags)
    if problem:
        return DkimKey(None, problem=problem)
    flags = {word.strip() for word in tags.get("t", "").split(":")}
    try:
        key = _public_key(tags.get("k", "rsa").lower(), base64.b64decode("".join(tags["p"].split()), validate=True))
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        return DkimKey(None, problem="the key cannot be read")
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_BITS:
        return DkimKey(None, problem=f"an RSA key of {key.key_size} bits is too short")
    return DkimKey(key, strict="s" in flags, testing="y" in flags)


def _key_problem(tags: dict[str, str]) -> str:
    services = {word.strip() for word in tags.get("s", "*").split(":")}
    hashes_allowed = {word.strip() for word in tags.get("h", "sha256").split(":")}
    checks = (
        (tags.get("v", "DKIM1") == "DKIM1", "the record's version is not DKIM1"),
        (bool(tags.get("p")), "the key is revoked: p is empty"),
        (bool({"*", "email"} & services), "the key is not for mail"),
        ("sha256" in hashes_allowed, "the key does not allow sha256"),
    )
    return next((problem for fine, problem in checks if not fine), "")


def _public_key(kind: str, data: bytes) -> RSAPublicKey | Ed25519PublicKey:
    if kind == "ed25519":
        return Ed25519PublicKey.from_public_bytes(data)
    key = load_der_public_key(data)
    if kind != "rsa" or not isinstance(key, RSAPublicKey):
        raise ValueError("neither RSA nor Ed25519")
    return key


async def _verified(
    signature: _Field, fields: Sequence[_Field], body: bytes, resolver: Resolver, now: int
) -> DkimSignature:
    told = read_tags(signature.value.decode("utf-8", "replace"))
    tags = {name: "".join(text.split()) for name, text in told.items()}
    domain, selector = values.domain(tags.get("d")) or "", tags.get("s", "").lower()

    def outcome(result: Result, reason: str = "") -> DkimSignature:
        return DkimSignature(domain, selector, result, reason)

    problem = _problem(tags, domain, selector, now)
    if problem:
        return outcome(Result.PERMERROR, problem)
    try:
        texts = await resolver.txt(f"{selector}._domainkey.{domain}")
    except LookupFailed as error:
        return outcome(Result.TEMPERROR, str(error))
    key = read_key(texts[0]) if texts else DkimKey(None, problem="no key is published")
    if key.key is None:
        return outcome(Result.PERMERROR, key.problem)
    if key.strict and tags.get("i", f"@{domain}").rpartition("@")[2].lower() != domain:
        return outcome(Result.PERMERROR, "the key is for the domain itself alone")
    good, reason = _matches(signature, tags, fields, body, key.key)
    return outcome(Result.PASS if good else Result.FAIL, reason)


def _problem(tags: dict[str, str], domain: str, selector: str, now: int) -> str:
    """Why a signature cannot count; "" where it may."""
    signed = tags.get("h", "").lower().split(":")
    identity = tags.get("i", f"@{domain}").rpartition("@")[2].lower()
    expiry = tags.get("x", "")
    checks = (
        (tags.get("v") == "1" and bool(domain) and bool(selector) and "b" in tags and "bh" in tags, "incomplete"),
        (tags.get("a") in ("rsa-sha256", "ed25519-sha256"), "an algorithm that does not count"),
        ("from" in signed, "From is not signed"),
        (identity == domain or identity.endswith(f".{domain}"), "the identity is not the domain's"),
        ("l" not in tags, "part of the body is not signed"),
        (not expiry.isdigit() or len(expiry) > 15 or int(expiry) >= now, "expired"),
    )
    return next((reason for fine, reason in checks if not fine), "")


def _matches(
    field: _Field, tags: dict[str, str], fields: Sequence[_Field], body: bytes, key: RSAPublicKey | Ed25519PublicKey
) -> tuple[bool, str]:
    header_form, _, body_form = tags.get("c", "simple/simple").lower().partition("/")
    body_hash = sha256(_relaxed_body(body) if body_form == "relaxed" else _simple_body(body)).digest()
    try:
        if base64.b64decode(tags["bh"]) != body_hash:
            return False, "the body was changed"
        signature = base64.b64decode(tags["b"])
    except (ValueError, binascii.Error):
        return False, "damaged"
    form = _relaxed if header_form == "relaxed" else _simple
    bare = _Field(field.name, _without_signature(field.value), _without_signature(field.raw))
    data = b"".join(map(form, _chosen(fields, tags["h"]))) + form(bare).removesuffix(b"\r\n")
    return _is_signed(key, tags["a"], signature, data), ""


def _is_signed(key: RSAPublicKey | Ed25519PublicKey, algorithm: str, signature: bytes, data: bytes) -> bool:
    try:
        if isinstance(key, RSAPublicKey) and algorithm == "rsa-sha256":
            key.verify(signature, data, PKCS1v15(), hashes.SHA256())
        elif isinstance(key, Ed25519PublicKey) and algorithm == "ed25519-sha256":
            key.verify(signature, sha256(data).digest())
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _chosen(fields: Sequence[_Field], names: str) -> Iterator[_Field]:
    """The signed fields: of equal names the last one first (section 5.4.2); one more than there are is nothing."""
    left: dict[bytes, list[_Field]] = {}
    for field in fields:
        left.setdefault(field.name, []).append(field)
    for name in names.lower().split(":"):
        found = left.get(name.encode("ascii", "replace"))
        if found:
            yield found.pop()


def _simple(field: _Field) -> bytes:
    return field.raw + b"\r\n"


def _relaxed(field: _Field) -> bytes:
    return field.name + b":" + _BLANKS.sub(b" ", field.value.replace(b"\r\n", b"")).strip(b" ") + b"\r\n"


def _without_signature(text: bytes) -> bytes:
    """The field with an empty `b=` (section 3.7)."""
    return _SIGNATURE_VALUE.sub(rb"\1", text, count=1)


def _simple_body(body: bytes) -> bytes:
    """Section 3.4.3: no empty lines at the end, and one line end."""
    return body.rstrip(b"\r\n") + b"\r\n"


def _relaxed_body(body: bytes) -> bytes:
    """Section 3.4.4."""
    text = _BLANKS_AT_END.sub(b"", _BLANKS.sub(b" ", body + b"\r\n")).rstrip(b"\r\n")
    return text + b"\r\n" if text else b""


def _parted(mail: bytes) -> tuple[bytes, bytes]:
    """Header and body, with the line ends of transport, whichever the mailbox keeps."""
    text = mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    header, _, body = text.partition(b"\r\n\r\n")
    return header[:_HEADER_LIMIT] + b"\r\n", body
