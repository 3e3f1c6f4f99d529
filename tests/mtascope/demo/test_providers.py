"""The simulated providers as data, and their judgement."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.errors import SettingsError
from mta.events.reply import parse_reply
from mtascope.demo.chance import Wheel, draw
from mtascope.demo.providers import GONE, Behaviour, Profile, judge, load_profiles, read_profiles, routes

PROFILES = load_profiles()
GMAIL = next(profile for profile in PROFILES if profile.name == "gmail")


def test_the_demo_brings_the_providers_that_people_ask_about() -> None:
    names = {profile.name for profile in PROFILES}
    assert {"gmail", "microsoft-consumer", "microsoft-365", "yahoo", "apple-icloud", "mimecast", "proofpoint"} <= names
    assert not GMAIL.complaint_share, "Gmail sends no complaints"


@pytest.mark.parametrize("behaviour", [b for p in PROFILES for b in p.behaviours], ids=lambda b: b.name)
def test_every_reply_reads_as_one_smtp_reply(behaviour: Behaviour) -> None:
    words = behaviour.reply.format(**dict.fromkeys(("recipient", "domain", "ip", "token", "id", "time", "date"), "x"))
    reply = parse_reply(words)
    assert reply.code == behaviour.code
    assert reply.text
    assert words.isascii()


def test_each_domain_has_one_provider() -> None:
    domains = Counter(domain for profile in PROFILES for domain in profile.domains)
    assert domains.most_common(1)[0][1] == 1


@given(st.integers(0, 2**32), st.integers(0, 10**9), st.sampled_from(PROFILES))
def test_judging_twice_gives_the_same_verdict(seed: int, number: int, profile: Profile) -> None:
    mail = (f"bounce+{number}@x.test", f"u{number}@{next(iter(profile.domains))}")
    assert judge(profile, seed, *mail) == judge(profile, seed, *mail)


def test_shares_come_out_as_written() -> None:
    struck = Counter(
        verdict.name for n in range(30_000) if (verdict := judge(GMAIL, 5, f"b+{n}@x.test", f"u{n}@gmail.com"))
    )
    for behaviour in GMAIL.behaviours:
        assert struck[behaviour.name] / 30_000 == pytest.approx(behaviour.share, abs=0.003)


def test_a_deferral_ends_after_its_attempts_and_a_rejection_never() -> None:
    for n in range(2_000):
        mail = (f"b+{n}@x.test", f"u{n}@gmail.com")
        first = judge(GMAIL, 1, *mail)
        if first is None:
            continue
        after = judge(GMAIL, 1, *mail, attempt=first.attempts + 1)
        assert after == (first if first.code >= 500 else None)


def test_an_unknown_mailbox_is_unknown_to_every_sender() -> None:
    unknown = next(
        f"u{n}@gmail.com"
        for n in range(2_000)
        if judge(GMAIL, 1, "a@x.test", f"u{n}@gmail.com") is GMAIL.unknown_mailbox
    )
    assert all(judge(GMAIL, 1, f"{n}@y.test", unknown) is GMAIL.unknown_mailbox for n in range(50))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_mailbox_that_is_gone_is_unknown_everywhere(profile: Profile) -> None:
    verdict = judge(profile, 1, "a@x.test", f"{GONE}anna@{next(iter(profile.domains))}")
    assert verdict is profile.unknown_mailbox
    assert verdict.code >= 500


def test_routes_name_every_domain_its_host_and_its_port() -> None:
    ports = {profile.name: 2000 + n for n, profile in enumerate(PROFILES)}
    found = {route["domain"]: route for route in routes(PROFILES, ports)}
    assert found["gmail.com"] == {
        "domain": "gmail.com",
        "host": "gmail-smtp-in.l.google.com",
        "address": "127.0.0.1",
        "port": ports["gmail"],
    }
    assert len(found) == sum(len(profile.domains) for profile in PROFILES)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("provider = 3", "provider"),
        ("[[provider]]\nname = 'x'", "weight"),
        ("[[provider", "declaration"),
    ],
)
def test_wrong_profiles_are_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_profiles(text)


@pytest.mark.parametrize("reply", ["", "hello", "550-5.1.1 cut", "550-a\n551 b", "550 a\n550 b"])
def test_what_is_no_smtp_reply_is_refused(reply: str) -> None:
    with pytest.raises(ValueError, match="no SMTP reply"):
        Behaviour(name="x", share=0.1, reply=reply)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_a_draw_lies_between_nought_and_one(parts: list[str]) -> None:
    assert 0 <= draw(*parts) < 1


def test_a_wheel_gives_each_item_its_weight() -> None:
    wheel = Wheel([("a", 3), ("b", 1)])
    hits = Counter(wheel.at(n / 1000) for n in range(1000))
    assert hits == {"a": 750, "b": 250}
