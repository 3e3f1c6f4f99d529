"""Signatures of others, verified: of our own MTA, of dkimpy, and none that somebody tampered with."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dmarc.authentication.dkim import read_key, verify_signatures
from dmarc.reports import Result
from mta.delivery.dkim import Signer, Signers

NOW = 1_767_225_600
MAIL = (
    b"From: Reports <noreply@receiver.example>\r\nTo: rua@example.com\r\nSubject: Report\r\n  Domain: example.com\r\n"
    b"Message-ID: <1@receiver.example>\r\n\r\nThis  is\t a report. \r\n\r\nBye\r\n\r\n\r\n"
)
KEY = generate_private_key(65_537, 2_048)
NAME = "s1._domainkey.receiver.example"


def published(key, kind: str = "rsa") -> str:
    public = key.public_key()
    raw = (
        public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        if kind == "ed25519"
        else public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}"


def signed(canonical: bytes = b"relaxed/relaxed", mail: bytes = MAIL) -> bytes:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return dkim.sign(mail, b"s1", b"receiver.example", pem, canonicalize=tuple(canonical.split(b"/"))) + mail


async def results(mail: bytes, zone, record: str = "", name: str = NAME) -> list[Result]:
    found = await verify_signatures(mail, zone({name: record or published(KEY)}), NOW)
    return [one.result for one in found]


@pytest.mark.parametrize("form", [b"relaxed/relaxed", b"simple/simple", b"relaxed/simple", b"simple/relaxed"])
async def test_signatures_of_another_implementation_verify(zone, form):
    assert await results(signed(form), zone) == [Result.PASS]
    assert await results(signed(form).replace(b"\r\n", b"\n"), zone) == [Result.PASS], "a Maildir has bare line feeds"
    assert await results(signed(form).replace(b"Bye", b"Buy"), zone) == [Result.FAIL]
    assert await results(signed(form).replace(b"Report\r\n", b"Repost\r\n"), zone) == [Result.FAIL]


@pytest.mark.parametrize("body", [b"", b"\r\n", b" \r\n", b"x", b"x \t\r\n\r\n", b"\r\n\r\nx\r\n"])
@pytest.mark.parametrize("form", [b"relaxed/relaxed", b"simple/simple"])
async def test_odd_bodies_verify(zone, form, body):
    mail = MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body
    assert await results(signed(form, mail), zone) == [Result.PASS]


async def test_both_signatures_of_our_own_mta_verify(zone):
    ed25519 = Ed25519PrivateKey.generate()
    signers = Signers([Signer("receiver.example", "s1", KEY), Signer("receiver.example", "s2", ed25519)])
    mail = signers.signatures(MAIL, NOW * 1_000_000) + MAIL
    keys = {NAME: published(KEY), "s2._domainkey.receiver.example": published(ed25519, "ed25519")}
    found = await verify_signatures(mail, zone(keys), NOW)
    assert [(one.selector, one.result) for one in found] == [("s1", Result.PASS), ("s2", Result.PASS)]


async def test_a_second_from_field_breaks_an_oversigned_mail(zone):
    signers = Signers([Signer("receiver.example", "s1", KEY)])
    mail = signers.signatures(MAIL, NOW * 1_000_000) + MAIL
    assert await results(b"From: x@evil.example\r\n" + mail, zone) == [Result.FAIL]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda mail: mail.replace(b"a=rsa-sha256", b"a=rsa-sha1"), "algorithm"),
        (lambda mail: mail.replace(b" c=relaxed", b" l=5; c=relaxed"), "part of the body"),
        (lambda mail: mail.replace(b" c=relaxed", b" x=1000; c=relaxed"), "expired"),
        (lambda mail: mail.replace(b" c=relaxed", b" i=a@evil.example; c=relaxed"), "identity"),
        (lambda mail: mail.replace(b"s=s1", b"s="), "incomplete"),
    ],
)
async def test_what_cannot_count_says_why(zone, change, reason):
    (found,) = await verify_signatures(change(signed()), zone({NAME: published(KEY)}), NOW)
    assert found.result is Result.PERMERROR
    assert reason in found.reason


async def test_a_name_server_that_does_not_answer_is_no_verdict(zone):
    (found,) = await verify_signatures(signed(), zone(failing=[NAME]), NOW)
    assert found.result is Result.TEMPERROR
    assert (await results(signed(), zone, "v=DKIM1; p=")) == [Result.PERMERROR]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("v=DKIM1; p=", "revoked"),
        ("v=DKIM2; p=x", "version"),
        ("v=DKIM1; k=rsa; p=AAAA", "cannot be read"),
        ("v=DKIM1; s=tlsrpt; p=AAAA", "not for mail"),
        ("v=DKIM1; h=sha1; p=AAAA", "sha256"),
        (published(KEY).replace("k=rsa", "t=y:s"), ""),
    ],
)
def test_keys_that_cannot_be_used_say_why(record, problem):
    key = read_key(record)
    assert problem in key.problem
    assert (key.key is None) == bool(problem)


async def test_hostile_headers_cost_nothing(zone):
    mail = b"DKIM-Signature: " + b"b=;" * 50_000 + b"\r\n" + b"x" * 100_000 + b"\r\n" + MAIL
    assert await results(mail, zone) in ([], [Result.PERMERROR])
