"""Which report mails are believed: those that pass DMARC, by whatever road they came."""

from __future__ import annotations

import pytest

from dmarc.authentication.carrier_check import CarrierCheck, Envelope, judge_mail, own_trace
from dmarc.authentication.policy import find_policy, organisational_domain
from dmarc.carrier import MailAuth

REJECT = {"_dmarc.receiver.example": "v=DMARC1; p=reject"}
ENVELOPE = Envelope("192.0.2.7", "mx.receiver.example", "bounce@receiver.example")


@pytest.mark.parametrize(
    ("author", "signer", "policy", "expected"),
    [
        ("a@receiver.example", "receiver.example", "p=reject", MailAuth.PASS),
        ("a@sub.receiver.example", "receiver.example", "p=reject", MailAuth.PASS),
        ("a@sub.receiver.example", "receiver.example", "p=reject; adkim=s", MailAuth.FAIL),
        ("a@receiver.example", "evil.example", "p=reject", MailAuth.FAIL),
        ("a@receiver.example", "", "p=none", MailAuth.FAIL),
        ("a@receiver.example", "", None, MailAuth.NONE),
        ("a@receiver.example", "receiver.example", None, MailAuth.PASS),
        ("a@receiver.example, b@evil.example", "evil.example", "p=reject", MailAuth.FAIL),
        ("nobody", "receiver.example", "p=reject", MailAuth.FAIL),
    ],
)
async def test_a_signature_must_agree_with_the_author(
    zone, mail_from, key_record, now, author, signer, policy, expected
):
    records = {f"s1._domainkey.{signer}": key_record}
    if policy is not None:
        records["_dmarc.receiver.example"] = f"v=DMARC1; {policy}"
    assert await judge_mail(mail_from(author, signer), None, zone(records), now) is expected


@pytest.mark.parametrize(
    ("spf", "sender", "expected"),
    [
        ("v=spf1 ip4:192.0.2.7 -all", "bounce@receiver.example", MailAuth.PASS),
        ("v=spf1 ip4:192.0.2.7 -all", "", MailAuth.PASS),
        ("v=spf1 -all", "bounce@receiver.example", MailAuth.FAIL),
        ("v=spf1 ip4:192.0.2.7 -all", "bounce@evil.example", MailAuth.FAIL),
    ],
)
async def test_spf_speaks_for_the_author_where_the_envelope_is_known(zone, mail_from, now, spf, sender, expected):
    records = {**REJECT, "receiver.example": spf, "mx.receiver.example": spf, "evil.example": spf}
    envelope = Envelope("192.0.2.7", "mx.receiver.example", sender)
    assert await judge_mail(mail_from("a@receiver.example"), envelope, zone(records), now) is expected


async def test_an_old_mail_whose_keys_may_be_gone_is_unknown_rather_than_forged(zone, mail_from, now):
    old = mail_from("a@receiver.example", "receiver.example", date="Mon, 01 Dec 2025 12:00:00 +0000")
    assert await judge_mail(old, None, zone(REJECT), now) is MailAuth.UNKNOWN
    assert await judge_mail(old, ENVELOPE, zone(REJECT), now) is MailAuth.FAIL, "what came just now has no excuse"


async def test_a_name_server_that_is_down_forges_nothing(zone, mail_from, now):
    mail = mail_from("a@receiver.example", "receiver.example")
    for failing in ("_dmarc.receiver.example", "s1._domainkey.receiver.example"):
        assert await judge_mail(mail, ENVELOPE, zone(REJECT, failing=[failing]), now) is MailAuth.UNKNOWN


def test_the_trace_of_our_own_server_is_read_and_no_other():
    trace = b"Return-Path: <b@r.example>\r\nReceived: from mx.r.example ([192.0.2.7])\r\n\tby ours with ESMTP id 1;\r\n"
    assert own_trace(trace + b"From: a\r\n\r\n") == Envelope("192.0.2.7", "mx.r.example", "b@r.example")
    assert own_trace(b"From: a\r\n" + trace + b"\r\n") is None


def test_many_mails_are_judged_in_one_go(zone, mail_from, key_record, now):
    records = {**REJECT, "s1._domainkey.receiver.example": key_record}
    check = CarrierCheck(zone(records))
    mails = [mail_from("a@receiver.example", "receiver.example"), mail_from("a@receiver.example", "x.example")]
    assert check.judge(mails, now) == [MailAuth.PASS, MailAuth.FAIL]


async def test_the_walk_finds_the_nearest_record_and_the_organisation(zone):
    records = {
        "_dmarc.a.b.example.com": "v=DMARC1; p=none",
        "_dmarc.example.com": "v=DMARC1; p=reject",
        "_dmarc.com": "v=DMARC1; psd=y",
        "_dmarc.two.example": ["v=DMARC1; p=none", "v=DMARC1; p=reject"],
    }
    dns = zone(records)
    assert (await find_policy("a.b.example.com", dns)).p == "none"
    assert (await find_policy("x.example.com", dns)).domain == "example.com"
    assert await organisational_domain("a.b.example.com", dns) == "example.com"
    assert await organisational_domain("unknown.test", dns) == "unknown.test"
    assert await find_policy("two.example", dns) is None, "two records are none"


async def test_the_walk_of_a_long_name_asks_eight_times_at_most(zone):
    dns = zone()
    await find_policy(".".join(["a"] * 60) + ".example.com", dns)
    assert len(dns.asked) <= 8
