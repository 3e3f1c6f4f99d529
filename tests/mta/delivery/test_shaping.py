"""Limits by provider and domain, from KumoMTA's file to what a provider sees."""

import asyncio
import time
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.ground_rules import default_shaping
from mta.delivery.limits import KEYS, Limits, Rate, TlsMode, duration
from mta.delivery.shaping import Shaping, ShapingFile
from mta.delivery.shaping_rule import Action, ActionKind, one_line, read_rule
from mta.events.errors import SettingsError
from mta.events.reply import parse_reply

FILE = """
["default"]
connection_limit = 8
max_connection_rate = "100/min"
idle_timeout = "60s"
reconnect_strategy = "ConnectNextHost"
[[default.automation]]
regex = ['''temporarily deferred''', "slow down"]
action = [{SetConfig={name="max_message_rate", value="1/minute"}}, "Suspend"]
duration = "90m"
[provider."google"]
match = [{MXSuffix = ".google.com"}, {HostName = "mx.gmail.example"}]
max_deliveries_per_connection = 50
provider_connection_limit = 5
[provider."google".sources."ip2"]
connection_limit = 3
[[provider.google.automation]]
regex = "\\\\[TSS04\\\\]"
trigger = {Threshold = "2/hr"}
action = "SuspendTenant"
duration = "2 hours"
[provider."here"]
match = [{DomainSuffix = ".here.example"}]
enable_tls = "Disabled"
["Slow.Example"]
mx_rollup = false
connection_limit = "local:2"
max_message_rate = "1,000/h,max_burst=3"
["slow.example".sources."ip2"]
max_message_rate = "1/h"
["rolled.example"]
connection_limit = 6
"""
BASE = Limits(10, 100)
DATA = Path(__file__).resolve().parents[2] / "data"


def read(*texts):
    return Shaping(BASE, [ShapingFile(text) for text in texts])


def limits(shaping, domain, *hosts, site="site", source="default"):
    return shaping.shape(domain, site, hosts, source).limits


def test_later_rules_win_default_provider_source_domain():
    shaping = read(FILE)
    plain = limits(shaping, "any.example", "mx.any.example")
    assert (plain.connection_limit, plain.max_connection_rate, plain.idle_timeout) == (8, Rate(100, 60.0, 5), 60.0)
    google = limits(shaping, "a.example", "a.google.com", "mx.gmail.example")
    assert (google.max_deliveries_per_connection, google.provider_connection_limit) == (50, 5)
    assert limits(shaping, "a.example", "a.google.com", "mx.other.example").max_deliveries_per_connection == 100
    assert limits(shaping, "a.example", "a.google.com", source="ip2").connection_limit == 3
    assert limits(shaping, "a.here.example", "mx").enable_tls is TlsMode.DISABLED
    slow = limits(shaping, "slow.example", "a.google.com")
    assert (slow.connection_limit, slow.max_deliveries_per_connection) == (2, 50)
    assert slow.max_message_rate == Rate(1000, 3600.0, 3)
    assert limits(shaping, "slow.example", "mx", source="ip2").max_message_rate == Rate(1, 3600.0, 1)


def test_a_later_file_goes_over_an_earlier_one_key_by_key_or_whole():
    later = '["default"]\nconnection_limit = 9\n[provider.google]\nconnection_limit = 1\n'
    shaping = read(FILE, later)
    assert limits(shaping, "x.example", "mx").max_connection_rate == Rate(100, 60.0, 5)
    assert limits(shaping, "x.example", "mx").connection_limit == 9
    assert limits(shaping, "x.example", "a.google.com").max_deliveries_per_connection == 50
    assert limits(shaping, "x.example", "a.google.com").connection_limit == 1
    replaced = read(FILE, '["slow.example"]\nreplace_base = true\nmx_rollup = false\n')
    assert limits(replaced, "slow.example", "mx").max_message_rate is None


def test_what_is_said_of_a_domain_holds_for_all_on_its_mail_hosts_once_these_are_known():
    shaping = read(FILE)
    assert shaping.to_roll_up == ["rolled.example"]
    assert shaping.shape("rolled.example", "site", ("mx",)).scope == "rolled.example"
    assert limits(shaping, "beside.example", "mx").connection_limit == 8
    shaping.roll_up("rolled.example", "site")
    assert limits(shaping, "beside.example", "mx").connection_limit == 6
    assert shaping.shape("rolled.example", "site", ("mx",)).scope == ""
    assert limits(shaping, "beside.example", "mx", site="elsewhere").connection_limit == 8


def test_rules_are_gathered_from_all_that_speaks_of_a_way():
    rules = read(FILE).shape("a.example", "site", ("a.google.com",)).rules
    assert [rule.origin for rule in rules] == ["default.automation 1", "provider.google.automation 1"]
    assert rules[0].actions == (
        Action(ActionKind.SET_CONFIG, "max_message_rate", "1/minute"),
        Action(ActionKind.SUSPEND),
    )
    assert (rules[0].duration, rules[0].trigger, rules[1].trigger) == (5400.0, None, Rate(2, 3600.0, 1))
    line = one_line(parse_reply("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"))
    assert line == "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"
    assert [rule.matches(line) for rule in rules] == [True, True]


def test_what_does_nothing_here_is_named():
    ignored = read(FILE, "[provider.alone]\nconnection_limit = 1\n").ignored
    assert ignored == ["default.reconnect_strategy", "provider.alone has no match"]


def test_a_file_in_the_shapes_of_the_community_loads_and_what_does_nothing_is_named():
    shaping = read((DATA / "shaping_community.toml").read_text())
    assert shaping.ignored == ["provider.beta.reconnect_strategy", "provider.alpha has no match"]
    assert shaping.to_roll_up == ["gamma.example"]
    beta = shaping.shape("any.example", "site", ("mx.beta.example",))
    assert (beta.provider, beta.limits.provider_connection_limit, beta.limits.enable_dane) == ("beta", 5, True)
    assert [rule.duration for rule in beta.rules] == [5400, 30 * 86400, 7200, 3600]
    own = limits(shaping, "delta.example", "mx", source="my source name")
    assert own.connection_limit == 5


def test_our_own_file_has_no_key_that_does_nothing_and_knows_the_large_providers():
    shaping = Shaping(BASE, [default_shaping()])
    assert shaping.ignored == []
    for host in ("gmail-smtp-in.l.google.com", "mta5.am0.yahoodns.net", "x.olc.protection.outlook.com", "mx01.gmx.net"):
        shape = shaping.shape("any.example", "site", (host,))
        assert shape.provider
        assert shape.limits != BASE


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "shaping.toml: is no TOML"),
        ('["a"]\n\nconnection_limit = 0', "shaping.toml line 3: a: connection_limit: 0 is no number"),
        ('["b"]\n["a"]\nmax_message_rate = "fast"', "line 3: a: max_message_rate: 'fast' is no rate"),
        ('["a"]\nenable_tls = "Maybe"', "line 2: a: enable_tls: 'Maybe' is none of Opportunistic"),
        ('["a"]\nconnection_limits = 1', "line 2: a: unknown key connection_limits"),
        ('["a".sources."ip"]\nfoo = 1', "line 2: a.sources.ip: unknown key foo"),
        ("[example.com]\nconnection_limit = 1", "example: unknown key com"),
        ('[provider."p"]\nmatch = [{Suffix = "x"}]', "p.match: Suffix is no way to match"),
        ('[["a".automation]]\nregex = "x"\naction = "Suspend"', "line 1: a.automation: duration is missing"),
        (
            "\n".join(f'[["a".automation]]\nregex = "{regex}"\naction = "Suspend"\nduration = "1h"' for regex in "x("),
            "line 5: a.automation: regex '\\(' cannot be read",
        ),
        ('[["a".automation]]\nregex = "x"\naction = "Sleep"\nduration = "1h"', "'Sleep' is no action"),
        (
            '[["a".automation]]\nregex = "x"\naction = {SetConfig={name="nothing", value=1}}\nduration = "1h"',
            "SetConfig: unknown key nothing",
        ),
    ],
)
def test_what_cannot_be_understood_is_named_with_file_and_line(text, complaint):
    with pytest.raises(SettingsError, match=complaint):
        read(text)


_VALUES = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.booleans())


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), _VALUES))
def test_any_value_of_any_key_is_read_or_refused_with_its_place(values):
    lines = [f"{key} = {orjson.dumps(value).decode()}" for key, value in values.items() if "\x7f" not in str(value)]
    try:
        shape = read("\n".join(['["a.example"]', *lines])).shape("a.example", "site", ("mx",))
    except SettingsError as error:
        assert error.where.startswith("shaping.toml")  # noqa: PT017 - both outcomes are right
    else:
        assert isinstance(shape.limits, Limits)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1 hour", 3600),
        ("30 days", 30 * 86400),
        ("1h 30m", 5400),
        ("2 hours", 7200),
        ("250ms", 0.25),
        (7, 7),
    ],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "1 fortnight", "-1s", "1h x", True, None, 0])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="no duration"):
        duration(text)


def test_a_pattern_and_a_reply_made_for_each_other_cost_no_time():
    rule = read_rule({"regex": r"(a+)+(a|aa)+$", "action": "Suspend", "duration": "1h"}, "here", [])
    started = time.perf_counter()
    assert not rule.matches("a" * 1000 + "b")
    assert time.perf_counter() - started < 0.5


def test_patterns_in_the_words_of_other_engines_are_translated():
    rule = read_rule({"regex": r"^(?<code>4\d\d) .*\h+\z", "action": "Suspend", "duration": "1h"}, "here", [])
    assert rule.matches("421 cafe")
    assert not rule.matches("521 cafe")


async def test_domains_on_the_same_hosts_with_limits_of_their_own_do_not_share_them(start_worker, peer, tmp_path):
    there = await peer()
    (tmp_path / "shaping.toml").write_text('["slow.example"]\nmx_rollup = false\nmax_message_rate = "1/h"\n')
    worker = await start_worker(routes=[there.route], shaping=tmp_path / "shaping.toml")
    await worker.send(["a@slow.example", "b@slow.example", "c@other.example", "d@more.example"])
    await worker.until_type("Delivery", 3)
    await asyncio.sleep(0.05)
    assert {mail[1] for mail in there.mails} >= {"c@other.example", "d@more.example"}
    assert len(there.mails) == 3


async def test_rules_that_are_replaced_hold_at_once_for_what_waits(start_worker, peer, tmp_path):
    there = await peer()
    (tmp_path / "shaping.toml").write_text('["default"]\nmax_message_rate = "1/h"\n')
    worker = await start_worker(routes=[there.route], shaping=tmp_path / "shaping.toml")
    await worker.send([f"u{number}@example.com" for number in range(5)])
    await worker.until_type("Delivery")
    (tmp_path / "shaping.toml").write_text("")
    worker.worker.reload(worker.worker._settings)
    await worker.until_type("Delivery", 5)


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
