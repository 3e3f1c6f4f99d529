"""Signatures verify at dkimpy, and stop verifying when what they cover is changed."""

import shutil
import subprocess
import time
from base64 import b64encode
from dataclasses import replace

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from dkim.canonicalization import CanonicalizationPolicy
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.dkim import Signer, Signers, relaxed_body, relaxed_field, simple_body
from mta.events.errors import SettingsError
from mta.settings import DkimKey

MESSAGE = (
    b"Received: from a\r\n\tby b\r\nFrom: =?utf-8?q?J=C3=B6rg?=  <jo@News.example.com>\r\nTo: u@example.net,\r\n"
    b" v@example.net\r\nSubject:  A   folded\r\n\tsubject \r\nDate: Mon, 1 Jan 2026 00:00:00 +0000\r\n"
    b"X-Twice: 1\r\nX-Twice: 2\r\nMIME-Version: 1.0\r\n\r\nHello  there \t\r\n\r\nbye\r\n\r\n\r\n"
)
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
_DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
RECORDS = {
    b"r1._domainkey.example.com.": b"v=DKIM1; k=rsa; p=" + b64encode(RSA.public_key().public_bytes(*_DER)),
    b"e1._domainkey.example.com.": b"v=DKIM1; k=ed25519; p=" + b64encode(ED25519.public_key().public_bytes(*_RAW)),
    b"r1._domainkey.esp.example.": b"v=DKIM1; k=rsa; p=" + b64encode(RSA.public_key().public_bytes(*_DER)),
}
NOW = 1_767_225_600_000_000
BOTH = [Signer("example.com", "r1", RSA), Signer("example.com", "e1", ED25519)]


def verifies(message, index=0):
    try:
        return dkim.DKIM(message).verify(index, dnsfunc=lambda name, **_: RECORDS.get(name))
    except dkim.DKIMException:
        return False


def signed(message=MESSAGE, signers=BOTH):
    return Signers(signers).signatures(message, NOW) + message


def test_both_signatures_verify():
    message = signed()
    assert message.count(b"DKIM-Signature:") == 2
    assert verifies(message, 0)
    assert verifies(message, 1)


@pytest.mark.parametrize("signer", BOTH)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"bye", b"Bye"),
        (b"A   folded", b"B folded"),
        (b"Date: Mon", b"Date: Tue"),
        (b"d=example.com", b"d=esp.example"),
    ],
)
def test_a_change_of_what_is_signed_breaks_it(signer, old, new):
    message = signed(signers=[signer])
    assert verifies(message)
    assert not verifies(message.replace(old, new, 1))


@pytest.mark.parametrize("field", [b"From: evil@example.org\r\n", b"Subject: evil\r\n", b"Content-Type: text/html\r\n"])
def test_nobody_can_add_a_field_that_readers_see(field):
    assert not verifies(field + signed(signers=BOTH[:1]))


def test_what_hosts_on_the_way_may_change_does_not_break_it():
    message = signed(signers=BOTH[:1]).replace(b"A   folded\r\n\tsubject", b"A folded subject")
    assert verifies(b"Received: from here\r\n" + message.rstrip() + b"\r\n\r\n")


@pytest.mark.parametrize("body_form", ["simple", "relaxed"])
@pytest.mark.parametrize("header_form", ["simple", "relaxed"])
def test_every_form_verifies_and_a_simple_one_takes_no_change(header_form, body_form):
    message = signed(signers=[Signer("example.com", "r1", RSA, header_form=header_form, body_form=body_form)])
    assert f"c={header_form}/{body_form};".encode() in message
    assert verifies(message)
    assert verifies(message.replace(b"Hello  there", b"Hello there")) is (body_form == "relaxed")
    assert verifies(message.replace(b"A   folded", b"A folded")) is (header_form == "relaxed")


def test_keys_follow_each_other_by_date():
    old = Signer("example.com", "r1", RSA, ends=NOW)
    new = Signer("example.com", "e1", ED25519, begins=NOW - 10)
    signers = Signers([old, new])
    used = [signers.signatures(MESSAGE, NOW + shift).count(b"s=r1") for shift in (-20, -5, 0)]
    assert used == [1, 1, 0]
    used = [signers.signatures(MESSAGE, NOW + shift).count(b"s=e1") for shift in (-20, -5, 0)]
    assert used == [0, 1, 1]
    signers.replace([old])
    assert signers.signatures(MESSAGE, NOW) == b""


def test_without_oversigning_each_field_is_named_as_often_as_it_occurs():
    message = signed(signers=[Signer("example.com", "r1", RSA, oversign=False)])
    assert verifies(message)
    assert b"h=from:to:subject:date:mime-version;" in message


def test_mail_is_signed_by_the_nearest_domain_above_its_author_and_by_those_that_always_sign():
    signers = [*BOTH, Signer("com", "x", RSA), Signer("esp.example", "r1", RSA, always=True)]
    message = signed(signers=signers)
    assert [message.count(each) for each in (b"d=example.com", b"d=com;", b"d=esp.example")] == [2, 0, 1]
    assert verifies(message, 2)
    foreign = signed(MESSAGE.replace(b"News.example.com", b"other.example"), signers)
    assert foreign.count(b"DKIM-Signature") == 1
    assert signed(MESSAGE.replace(b"News.example.com", b"other.example")).count(b"DKIM-Signature") == 0


def test_listed_fields_are_signed_in_all_their_occurrences_and_the_signature_expires():
    message = signed(signers=[Signer("example.com", "r1", RSA, ("from", "x-twice"), lifetime=10**9)])
    assert b"h=from:from:x-twice:x-twice;" in message
    assert b"t=1767225600; x=2767225600;" in message
    assert verifies(message)
    assert not verifies(message.replace(b"X-Twice: 1", b"X-Twice: 3"))


@pytest.mark.parametrize("message", [b"", b"\r\n", b"no header\r\n", b"From: a@example.com", b"From: <>\r\n\r\n"])
def test_odd_messages_are_signed_or_left_alone_but_never_stumbled_over(message):
    Signers([*BOTH, Signer("esp.example", "r1", RSA, always=True)]).signatures(message, NOW)


BODY = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"  ", b"word", b"\xff"]), max_size=20).map(b"".join)
WHOLE = BODY.map(lambda body: body and body + b"\r\n")


@given(WHOLE)
def test_any_body_is_brought_into_the_form_that_dkimpy_gives_it(body):
    policy = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
    assert relaxed_body(body) == policy.canonicalize_body(body)


@given(BODY)
def test_any_body_is_brought_into_the_simple_form_that_dkimpy_gives_it(body):
    policy = CanonicalizationPolicy.from_c_value(b"simple/simple")
    assert simple_body(body) == policy.canonicalize_body(body)


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b"Word:"]), max_size=12).map(b"".join))
def test_any_field_is_brought_into_the_form_that_dkimpy_gives_it(value):
    policy = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
    ((name, text),) = policy.canonicalize_headers([[b"Name", value + b"\r\n"]])
    assert relaxed_field(b"Name", value) == name + b":" + text


def pem(key):
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file"), (b"nonsense", "PEM"), (pem(ec.generate_private_key(ec.SECP256R1())), "kind of key")],
)
def test_a_key_that_cannot_sign_is_named(tmp_path, content, complaint):
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"key\.pem.*{complaint}"):
        Signer.load(DkimKey(domain="example.com", selector="s", key=path))


async def test_a_worker_signs_what_it_takes(start_worker, peer, tmp_path):
    (tmp_path / "key.pem").write_bytes(pem(ED25519))
    there = await peer()
    key = {"domain": "Example.COM", "selector": "e1", "key": tmp_path / "key.pem", "headers": ["subject"]}
    worker = await start_worker(routes=[there.route], dkim=[key])
    await worker.send(body=MESSAGE)
    (record,) = await worker.until_type("Delivery")
    content = there.mails[0][2]
    assert verifies(content)
    assert len(content) == record["size"]


@pytest.mark.peer
@pytest.mark.parametrize("form", ["relaxed/relaxed", "relaxed/simple"])
def test_opendkim_verifies_both_signatures(tmp_path, form):
    program = shutil.which("opendkim", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("opendkim is not installed")
    header_form, _, body_form = form.partition("/")
    signers = [replace(signer, header_form=header_form, body_form=body_form) for signer in BOTH]
    (tmp_path / "mail").write_bytes(Signers(signers).signatures(MESSAGE, int(time.time()) * 1_000_000) + MESSAGE)
    keys = (name.removesuffix(b".") + b" " + record for name, record in RECORDS.items())
    (tmp_path / "keys").write_bytes(b"\n".join(keys) + b"\n")
    (tmp_path / "conf").write_text(f"TestPublicKeys {tmp_path}/keys\nMode v\nSyslog no\nAlwaysAddARHeader yes\n")
    verify = [program, "-x", tmp_path / "conf", "-t", tmp_path / "mail", "-v", "-v"]
    said = subprocess.run(verify, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert said.count("dkim=pass") == 2
    assert "header.a=rsa-sha256" in said
    assert "header.a=ed25519-sha256" in said
