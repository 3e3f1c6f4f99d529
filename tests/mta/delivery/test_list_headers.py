"""Bulk mail gets its list fields before it is signed; only we can make the links, and only one recipient has each."""

import re
from base64 import b64encode

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.list_headers import HeaderMaker
from mta.delivery.settings import ListHeaders
from mta.events.errors import ParseError, SettingsError
from mta.events.pseudonym import Keyring
from mta.events.unsubscribe import UnsubscribeTokens, Unsubscription
from mta.settings import MtaSettings
from mta.worker import Worker, WorkerPaths

OLD, NEW = bytes(32), bytes(range(32))
KEYRING = Keyring(bytes(32), {1: OLD, 2: NEW})
RULE = {
    "senders": ["example.org"],
    "unsubscribe_url": "https://news.example.org/u/{token}",
    "unsubscribe_mailto": "unsub@example.org",
    "feedback_id": "exampleorg",
}
CONTENT = b"From: a@example.org\r\nX-Campaign: june\r\nX-Tenant: acme\r\nSubject: x\r\n\r\nx\r\n"
LINK = re.compile(rb"<https://news\.example\.org/u/([\w-]+)>")


@given(st.text(max_size=80), st.text(max_size=20), st.text(max_size=20))
def test_what_a_token_says_is_read_again(recipient, tenant, campaign):
    tokens, said = UnsubscribeTokens(KEYRING), Unsubscription(recipient, tenant, campaign)
    token = tokens.make(said)
    assert re.fullmatch(r"[\w-]+", token, re.ASCII)
    assert tokens.read(token) == said


@given(st.integers(0, 60), st.integers(1, 255))
def test_no_byte_of_a_token_can_be_changed(position, change):
    tokens = UnsubscribeTokens(KEYRING)
    token = tokens.make(Unsubscription("u@example.com", "acme", "june"))
    changed = bytearray(token.encode())
    changed[position] ^= change
    if bytes(changed) != token.encode():
        with pytest.raises(ParseError):
            tokens.read(changed.decode("latin1"))


@given(st.text(max_size=60))
def test_whatever_else_comes_is_no_token(text):
    with pytest.raises(ParseError):
        UnsubscribeTokens(KEYRING).read(text)


def test_a_rotation_keeps_old_links_until_their_key_is_destroyed():
    token = UnsubscribeTokens(Keyring(bytes(32), {1: OLD})).make(Unsubscription("u@example.com"))
    assert UnsubscribeTokens(KEYRING).read(token).recipient == "u@example.com"
    with pytest.raises(ParseError, match="its key is gone"):
        UnsubscribeTokens(Keyring(bytes(32), {2: NEW})).read(token)


def make(content=CONTENT, sender="b@example.org", **meta):
    maker = HeaderMaker([ListHeaders(**RULE)], UnsubscribeTokens(KEYRING))
    return maker.fields(sender, "u@example.com", {"campaign": "june", "tenant": "acme", **meta}, content)


def test_the_fields_are_those_that_providers_ask_for():
    fields = make()
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in fields
    assert b"Feedback-ID: june:acme:exampleorg\r\n" in fields
    token = LINK.search(fields)[1].decode()
    assert f"<mailto:unsub@example.org?subject={token}>".encode() in fields
    assert max(map(len, fields.split(b"\r\n"))) < 998
    assert UnsubscribeTokens(KEYRING).read(token) == Unsubscription("u@example.com", "acme", "june")


def test_mail_without_a_campaign_or_of_other_senders_gets_none():
    assert make(campaign="") == b""
    assert make(sender="b@else.example") == b""


def test_what_the_message_says_itself_stays():
    assert make(b"List-Unsubscribe: <mailto:x@example.org>\r\n" + CONTENT).startswith(b"Feedback-ID:")
    assert b"Feedback-ID" not in make(b"feedback-id: mine\r\n" + CONTENT)
    assert b"Feedback-ID" in make(CONTENT + b"Feedback-ID: in the body\r\n")


@pytest.mark.parametrize(
    "url", ["http://a.example/{token}", "https://a.example/", "https://a.example/{token}>\r\nX: y"]
)
def test_an_url_that_would_not_do_is_refused(url):
    with pytest.raises(ValueError, match="unsubscribe_url"):
        ListHeaders(unsubscribe_url=url)


async def test_links_without_keys_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="keyring"):
        Worker(MtaSettings(list_headers=[RULE]), WorkerPaths.under(tmp_path))


async def test_the_fields_are_signed_and_each_recipients_own(start_worker, peer, tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(*pem))
    there = await peer()
    worker = await start_worker(
        routes=[there.route],
        list_headers=[RULE],
        dkim=[{"domain": "example.org", "selector": "e", "key": tmp_path / "key.pem"}],
        options={"keyring": KEYRING},
    )
    for recipient in ("u@example.com", "v@example.com"):
        await worker.send(recipient, body=CONTENT)
    await worker.send(["w@example.com", "x@example.com"], body=CONTENT)
    await worker.until_type("Delivery", 4)
    raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    record = b"v=DKIM1; k=ed25519; p=" + b64encode(key.public_key().public_bytes(*raw))
    read = UnsubscribeTokens(KEYRING).read
    for _, recipient, content, _ in there.mails:
        assert dkim.DKIM(content).verify(dnsfunc=lambda *_, **__: record)
        found = LINK.search(content)
        assert bool(found) == (recipient[0] in "uv"), "a link is one recipient's own"
        if found:
            assert read(found[1].decode()).recipient == recipient
            assert b"list-unsubscribe:list-unsubscribe-post:feedback-id" in content.replace(b"\r\n\t ", b"")
