"""Reply templates: what stays, what is lifted out, and what never survives."""

import string
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.template import MAX_TEXT, templatize


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mailbox jane@example.com is full", "Mailbox john.doe+x@mail.example.org is full"),
        ("Client host [192.0.2.1] rejected", "Client host [198.51.100.77] rejected"),
        ("Client host [192.0.2.1] rejected", "Client host [2001:db8::25] rejected"),
        ("try again in 300 seconds", "try again in 450 seconds"),
        ("id=1rAbCd-0003Xy-7Z rejected", "id=1sZzZz-000AAA-2b rejected"),
        ("queue file 3F2A1C0045: write error", "queue file 9BC44D0F11: write error"),
        ("host mx1.example.com said no", "host mail-in-17.eu.example.net said no"),
        ("see https://example.com/bl?ip=192.0.2.1", "see https://example.com/bl?ip=198.51.100.9"),
        ("see https://example.com/t/8f3a91", "see https://example.com/t/11bc02"),
        ("size 18876259 exceeds 10485760", "size 9 exceeds 5"),
        ("at 2026-01-31T23:59:59.123456Z", "at 2025-02-01T00:00:00.000001Z"),
        ("at 23:59:59", "at 01:02:03"),
        ("cannot write /var/mail/jane", "cannot write /home/john/Maildir/new"),
        ("jane... User unknown", "john99... User unknown"),
        ("<jane> is not here", "<john_doe> is not here"),
        ("Unknown user: jane", "Unknown user: john.doe"),
        ('mailbox "jane" not found', 'mailbox "j.d" not found'),
        ("two  blanks\r\nand a line", "two blanks and a line"),
    ],
)
def test_replies_that_differ_only_in_what_is_variable_share_a_template(one, other):
    assert templatize(one).text == templatize(other).text
    assert templatize(one).id == templatize(other).id


@pytest.mark.parametrize(
    "kept",
    [
        "5.1.1 User unknown",
        "[TSS04] temporarily deferred",
        "(S3150)",
        "OFR_999",
        "LPN007_426",
        "RCP-P1",
        "blocked using zen.spamhaus.org",
        "https://support.google.com/mail/?p=NoSuchUser",
        "said: 550 no",
        "User: unknown",
        "the recipient's mailbox",
    ],
)
def test_what_names_a_cause_stays(kept):
    assert templatize(kept).text == kept


def test_parameters_stand_in_the_order_of_their_placeholders():
    found = templatize("host mx1.example.com[192.0.2.1] said: 550 <jane@example.com> after 17 tries")
    assert found.text == "host {host}[{ip}] said: 550 <{addr}> after {n} tries"
    assert found.parameters == ("mx1.example.com", "192.0.2.1", "*@example.com", "17")


def test_a_blocklist_that_is_asked_for_an_address_is_named_by_its_zone():
    assert templatize("listed: 1.2.0.192.zen.spamhaus.org").text == "listed: zen.spamhaus.org"


def test_the_id_is_64_bits_of_the_texts_sha256():
    digest = sha256(b"User unknown").digest()
    assert templatize("User  unknown").id == int.from_bytes(digest[:8], "big")


@pytest.mark.parametrize(
    "text",
    [
        "<jane.roe@example.com>: unknown",
        "bounce-jane.roe=example.com@lists.example.net refused",
        "https://example.net/?mail=jane.roe@example.com",
        "https://example.net/?mail=jane.roe%40example.com",
        '"jane.roe"@example.com does not exist',
        "to=<jane.roe@[192.0.2.1]>",
    ],
)
def test_no_address_survives(text):
    found = templatize(text)
    assert "jane" not in found.text
    assert not any("jane" in parameter for parameter in found.parameters)


def test_the_recipients_local_part_is_lifted_wherever_it_stands_alone():
    found = templatize("Sorry, janeroe has left", recipient="JaneRoe@example.com")
    assert found.text == "Sorry, {addr} has left"
    assert found.parameters == ("*",)


@given(st.text(), st.emails())
def test_any_text_around_an_address_gives_a_template_without_it(text, address):
    found = templatize(f"{text} <{address}> {text}")
    assert address not in found.text
    assert found.text.count("{") >= 1


@given(st.text(alphabet=string.printable, max_size=400))
def test_a_template_is_the_template_of_itself(text):
    once = templatize(text).text
    assert templatize(once).text == templatize(templatize(once).text).text


def test_only_the_beginning_of_an_endless_reply_is_read():
    assert len(templatize("word " * 100_000).text) <= MAX_TEXT
