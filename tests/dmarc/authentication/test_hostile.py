"""Whatever stands in a mail or in DNS: a verdict, in bounded time, and no error outside the tree."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarc.authentication.carrier_check import Envelope, judge_mail
from dmarc.authentication.dkim import read_key
from dmarc.authentication.spf import SpfFault, read_spf
from dmarc.authentication.spf_tree import read_tree
from dmarc.carrier import MailAuth
from dmarc.posture import Posture, inspect

NOW = 1_767_225_600_000_000
TERMS = st.sampled_from(
    (
        *("include:a.example", "redirect=b.example", "a", "mx", "ptr", "exists:%{i}.x.example", "ip4:1.2.3.4/99"),
        *("-all", "a//", "%{z}", "include:", "ip6:::/0", "a:%", "mx/33//200", "exp=%{s9999}", "ALL:"),
        *("include:%{l99r+-}.example", "\ud7ff"),
    )
)
RECORDS = st.lists(TERMS, max_size=30).map(lambda terms: "v=spf1 " + " ".join(terms))
TEXT = st.text(max_size=200) | st.builds("v=DMARC1;{}".format, st.text(max_size=100)) | RECORDS


class Everywhere:
    """A resolver whose every name has the same records."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def txt(self, _name: str) -> tuple[str, ...]:
        return (self._text,)

    async def addresses(self, _name: str) -> tuple[str, ...]:
        return ("192.0.2.1", "2001:db8::1")

    async def mx(self, name: str) -> tuple[str, ...]:
        return (name, "")

    async def names(self, _address: str) -> tuple[str, ...]:
        return ("host.example",)


async def page(_url: str) -> str:
    return "version: STSv1\nmode enforce\nmx: *\n"


@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_any_record_is_judged(text):
    read_key(text)
    with suppress(SpfFault):
        read_spf(text)
    posture = asyncio.run(inspect("example.com", Everywhere(text), page, ["s1"]))
    assert isinstance(posture, Posture)


@settings(max_examples=150, deadline=None)
@given(mail=st.binary(max_size=300), text=TEXT, ip=st.sampled_from(("192.0.2.1", "2001:db8::9", "nonsense")))
def test_any_mail_is_judged(mail, text, ip):
    whole = b"From: a@example.com\r\nDKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s; h=from; bh=; b=" + mail
    for data in (mail, whole):
        for envelope in (None, Envelope(ip, "h.example", "x@example.com")):
            assert asyncio.run(judge_mail(data, envelope, Everywhere(text), NOW)) in MailAuth


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 " + "a:" + "/" * 100_000,
        "v=spf1 " + "include:a.example " * 5_000,
        "v=spf1 " + "%{" * 50_000,
        ";" * 200_000,
    ],
)
async def test_long_records_cost_little(text):
    began = time.process_time()
    await read_tree("example.com", Everywhere(text))
    await judge_mail(b"From: a@b.example\r\n\r\n", Envelope("192.0.2.1", "h", "a@b.example"), Everywhere(text), NOW)
    assert time.process_time() - began < 1
