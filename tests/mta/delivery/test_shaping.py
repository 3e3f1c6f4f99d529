"""Limits by provider and domain, from KumoMTA's file to what a provider sees."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.shaping import Limits, Rate, Shaping, Throttle
from mta.events.errors import SettingsError

FILE = """
["default"]
connection_limit = 8
max_connection_rate = "100/min"
idle_timeout = "60s"
[provider."google"]
match = [{MXSuffix = ".google.com"}, {HostName = "mx.gmail.example"}]
max_deliveries_per_connection = 50
provider_connection_limit = 5
[provider."here"]
match = [{DomainSuffix = ".here.example"}]
enable_tls = "Disabled"
["Slow.Example"]
connection_limit = "local:2"
max_message_rate = "1,000/h,max_burst=3"
[["slow.example".automation]]
regex = "x"
"""
BASE = Limits(10, 100)


def test_later_rules_win_default_provider_domain():
    shaping = Shaping(BASE, FILE)
    assert shaping.limits("any.example", ("mx.any.example",)) == Limits(8, 100, None, Rate(100, 60.0, 100))
    assert shaping.limits("a.example", ("a.google.com", "mx.gmail.example")).max_deliveries_per_connection == 50
    assert shaping.limits("a.example", ("a.google.com", "mx.other.example")).max_deliveries_per_connection == 100
    assert not shaping.limits("a.here.example", ("mx",)).enable_tls
    slow = shaping.limits("slow.example", ("a.google.com",))
    assert (slow.connection_limit, slow.max_deliveries_per_connection) == (2, 50)
    assert slow.max_message_rate == Rate(1000, 3600.0, 3)


def test_keys_that_are_not_kept_are_listed():
    ignored = ["default.idle_timeout", "provider.google.provider_connection_limit", "Slow.Example.automation"]
    assert set(ignored[:2]) <= set(Shaping(BASE, FILE).ignored)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "no TOML"),
        ('["a"]\nconnection_limit = 0', "a: connection_limit = 0 is no number"),
        ('["a"]\nmax_message_rate = "fast"', "a: 'fast' is no rate"),
        ('["a"]\nenable_tls = "Required"', "a: enable_tls = 'Required' is not supported"),
        ('[provider."p"]\nmatch = [{Suffix = "x"}]', "p.match: Suffix is no way to match"),
    ],
)
def test_what_cannot_be_understood_is_named_with_its_place(text, complaint):
    with pytest.raises(SettingsError, match=complaint):
        Shaping(BASE, text, "shaping.toml")


@given(st.integers(1, 50), st.integers(1, 10), st.lists(st.floats(0, 0.5), max_size=200))
def test_no_stretch_of_time_sees_more_than_the_rate_and_its_burst(quantity, burst, pauses):
    throttle, now, taken = Throttle(Rate(quantity, 1.0, burst)), 0.0, []
    for pause in pauses:
        now += pause
        while (wait := throttle.wait(now)) > 0:
            now += wait
        taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + quantity * (taken[last] - start) + 1e-6


async def test_domains_on_the_same_hosts_with_limits_of_their_own_do_not_share_them(start_worker, peer, tmp_path):
    there = await peer()
    (tmp_path / "shaping.toml").write_text('["slow.example"]\nmax_message_rate = "1/h"\n')
    worker = await start_worker(routes=[there.route], shaping=tmp_path / "shaping.toml")
    await worker.send(["a@slow.example", "b@slow.example", "c@other.example", "d@more.example"])
    await worker.until_type("Delivery", 3)
    await asyncio.sleep(0.05)
    assert {mail[1] for mail in there.mails} >= {"c@other.example", "d@more.example"}
    assert len(there.mails) == 3


async def test_a_provider_sees_no_more_than_its_limits(start_worker, peer, tmp_path):
    there = await peer()
    (tmp_path / "shaping.toml").write_text(
        '["example.com"]\nconnection_limit = 1\nmax_deliveries_per_connection = 2\n'
        'max_message_rate = "20/s,max_burst=1"\n'
    )
    worker = await start_worker(routes=[there.route], shaping=tmp_path / "shaping.toml")
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(worker.send() for _ in range(8)))
    await worker.until_type("Delivery", 8)
    assert asyncio.get_running_loop().time() - started >= 7 / 20
    assert there.most_open == 1
    assert there.connections == 4
