"""The traffic generator against a sink that counts, and one that dies."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mtascope.demo.campaigns import Composer, load_campaigns
from mtascope.demo.providers import GONE, load_profiles
from mtascope.demo.traffic import Traffic, TrafficSettings

ID = re.compile(rb"X-Mtascope-Demo-Id: (\S+)")


async def test_what_the_generator_counts_is_what_the_sink_got(sink: Any) -> None:
    mails: list[bytes] = []
    async with sink(mails) as port:
        traffic = Traffic(TrafficSettings(port=port, rate=400, seconds=0.5, connections=4))
        await traffic.run(asyncio.Event())
    account = traffic.snapshot()
    assert account["mails"] == len(mails) == 200
    assert account["accepted"] == account["offered"] >= 200
    assert account["unknown"] == account["refused"] == account["under_way"] == 0
    assert account["finished"]
    assert sum(account["tenants"].values()) == account["accepted"]


async def test_the_stream_keeps_its_rate(sink: Any) -> None:
    mails: list[bytes] = []
    async with sink(mails) as port:
        traffic = Traffic(TrafficSettings(port=port, rate=100))
        stop = asyncio.Event()
        running = asyncio.create_task(traffic.run(stop))
        await asyncio.sleep(0.6)
        stop.set()
        await running
    assert 30 <= len(mails) <= 75


async def test_a_mail_whose_reply_was_lost_is_unknown_and_never_sent_again(sink: Any) -> None:
    mails: list[bytes] = []
    async with sink(mails, dies=lambda: len(mails) % 40 == 0) as port:
        traffic = Traffic(TrafficSettings(port=port, rate=400, seconds=0.5, connections=2))
        await traffic.run(asyncio.Event())
    account = traffic.snapshot()
    identities = Counter(found[1] for mail in mails if (found := ID.search(mail)))
    assert max(identities.values()) == 1
    assert account["unknown"] >= len(mails) // 40 > 0
    assert account["accepted"] + account["unknown"] == account["offered"]


async def test_the_generator_waits_for_an_mta_that_is_away_and_catches_up(sink: Any) -> None:
    before: list[bytes] = []
    after: list[bytes] = []
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(sink(before))
        traffic = Traffic(TrafficSettings(port=port, rate=200, seconds=1.0, connections=2))
        running = asyncio.create_task(traffic.run(asyncio.Event()))
        await asyncio.sleep(0.3)
        await stack.aclose()
        await asyncio.sleep(0.2)
        await stack.enter_async_context(sink(after, port=port))
        await running
    account = traffic.snapshot()
    assert account["mails"] == 200
    assert account["reconnects"] > 0
    assert account["accepted"] + account["unknown"] == account["offered"]
    assert len(before) + len(after) <= account["mails"]
    assert after


def test_the_nth_mail_of_a_seed_is_always_the_same() -> None:
    one, other = (Composer(load_profiles(), load_campaigns(), 4) for _ in range(2))
    assert one.compose(7, 1000.0) == other.compose(7, 1000.0)
    assert one.compose(7, 1000.0) != one.compose(8, 1000.0)


def test_each_provider_gets_its_share_of_the_mail() -> None:
    composer = Composer(load_profiles(), load_campaigns(), 1)
    domains = Counter(
        recipient.rpartition("@")[2] for n in range(5_000) for recipient in composer.compose(n, 0).recipients
    )
    weight = sum(profile.weight for profile in load_profiles())
    for profile in load_profiles():
        share = sum(domains[domain] for domain in profile.domains) / domains.total()
        assert share == pytest.approx(profile.weight / weight, abs=0.03)
    assert set(domains) == {domain for profile in load_profiles() for domain in profile.domains}


def test_a_bad_list_holds_addresses_that_are_gone() -> None:
    composer = Composer(load_profiles(), load_campaigns(), 1, lambda campaign: 0.35 if campaign == "winback" else 0.0)
    sent = [composer.compose(n, 0) for n in range(3_000)]
    gone = Counter(mail.campaign for mail in sent if mail.recipients[0].startswith(GONE))
    winback = sum(mail.campaign == "winback" for mail in sent)
    assert set(gone) == {"winback"}
    assert 0.28 < gone["winback"] / winback < 0.42


def test_a_few_mails_have_several_recipients() -> None:
    composer = Composer(load_profiles(), load_campaigns(), 1)
    sizes = Counter(len(composer.compose(n, 0).recipients) for n in range(3_000))
    assert set(sizes) == {1, 2, 3}
    assert 0.01 < 1 - sizes[1] / 3_000 < 0.03
