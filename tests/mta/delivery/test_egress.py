"""From where mail leaves: pools, weights, warm-up, and what a provider and the log see of it."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from mta.delivery.egress import Egress
from mta.delivery.settings import EgressPool, EgressSource, WarmUp
from mta.delivery.warm_up import WarmUps, allowance
from mta.events.errors import SettingsError
from mta.events.instants import DAY, MINUTE, from_datetime

SOURCES = [EgressSource(name=f"ip{number}") for number in (1, 2, 3)]
POOL = EgressPool(
    name="news", entries=({"name": "ip1", "weight": 5}, {"name": "ip2"}), tenants=("acme",), campaigns=("june",)
)


def test_sources_take_turns_by_their_weight():
    pool = Egress(SOURCES, [POOL]).pool("news")
    assert "".join(pool.choose().name[-1] for _ in range(12)) == "111211" * 2


def test_a_source_that_may_not_send_is_passed_over():
    pool = Egress(SOURCES, [POOL]).pool("news")
    chosen = Counter(pool.choose(lambda source: source.name != "ip1").name for _ in range(4))
    assert chosen == {"ip2": 4}
    assert pool.choose(lambda _source: False) is None


def test_the_pool_is_what_the_message_names_else_its_campaigns_else_its_tenants():
    egress = Egress(SOURCES, [POOL, EgressPool(name="default", entries=({"name": "ip3"},))])
    assert egress.pool_name({"pool": "x", "tenant": "acme"}) == "x"
    assert egress.pool_name({"campaign": "june", "tenant": "other"}) == "news"
    assert egress.pool_name({"tenant": "acme"}) == "news"
    assert egress.pool_name({"tenant": "other"}) == "default"
    assert egress.pool("x") is None


def test_without_pools_a_pools_name_is_only_a_name():
    egress = Egress(default_source="here", hostname="mta.example")
    source = egress.pool("anything").choose()
    assert (source.name, source.ehlo, source.address_for("192.0.2.1")) == ("here", "mta.example", None)


def test_a_pool_of_a_source_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match=r"mta\.pools news: there is no source ip1"):
        Egress([], [POOL])


def test_a_source_with_an_address_of_one_kind_reaches_only_that_kind():
    (source,) = Egress([EgressSource(name="a", source_address="192.0.2.1")]).sources.values()
    assert (source.reaches("198.51.100.1"), source.reaches("2001:db8::1")) == (True, False)


# Warm-up

PLAN = WarmUp(source="ip2", provider="google", begins="2026-03-01", per_day=(3, 5), growth=2.0, until=40)
FIRST = from_datetime(datetime(2026, 3, 1, tzinfo=UTC))


def test_a_plan_grows_day_by_day_until_the_source_is_warm():
    assert [allowance(PLAN, day) for day in range(-1, 7)] == [0, 3, 5, 10, 20, 40, None, None]


def test_workers_share_what_a_day_allows_and_what_was_counted_survives_them(tmp_path):
    one, two = WarmUps([PLAN], tmp_path), WarmUps([PLAN], tmp_path)
    assert one.has_room("ip2", "google", FIRST)
    for each in (one, two, one):
        assert each.has_room("ip2", "google", FIRST)
        each.count("ip2", "google")
    assert not one.has_room("ip2", "google", FIRST + MINUTE)
    assert not WarmUps([PLAN], tmp_path).has_room("ip2", "google", FIRST + DAY - 1)
    assert one.has_room("ip2", "google", FIRST + DAY)
    assert one.has_room("ip2", "yahoo", FIRST), "the plan is for one provider"
    assert one.has_room("ip1", "google", FIRST), "and for one source"


def test_a_plan_for_all_providers_counts_those_without_their_own_together(tmp_path):
    plans = [PLAN, WarmUp(source="ip2", begins="2026-03-01", per_day=(1,))]
    warm_ups = WarmUps(plans, tmp_path)
    assert warm_ups.has_room("ip2", "yahoo", FIRST)
    warm_ups.count("ip2", "yahoo")
    assert not warm_ups.has_room("ip2", "", FIRST)
    assert warm_ups.has_room("ip2", "google", FIRST)


def test_a_count_that_cannot_be_read_lets_nothing_through(tmp_path):
    (tmp_path / "20260301.json").write_bytes(b"[")
    assert not WarmUps([PLAN], tmp_path).has_room("ip2", "google", FIRST)


# What a provider and the log see


async def test_source_and_pool_stand_in_the_log_and_the_peer_sees_the_sources_name(start_worker, peer):
    there = await peer()
    worker = await start_worker(
        routes=[there.route],
        sources=[{"name": "ip2", "source_address": "127.0.0.2", "ehlo_domain": "two.example"}],
        pools=[{"name": "news", "entries": [{"name": "ip2"}], "tenants": ["acme"]}],
    )
    await worker.send(body=b"X-Tenant: acme\r\nSubject: x\r\n\r\nx\r\n")
    (record,) = await worker.until_type("Delivery")
    assert (record["egress_pool"], record["egress_source"]) == ("news", "ip2")
    assert record["source_address"]["address"].startswith("127.0.0.2:")
    assert record["site"].startswith("ip2->")
    assert there.names == ["two.example"]


async def test_a_pool_that_is_not_there_is_a_deferral_that_says_so(start_worker, peer):
    there = await peer()
    pools = [{"name": "default", "entries": [{"name": "ip1"}]}]
    worker = await start_worker(routes=[there.route], sources=[{"name": "ip1"}], pools=pools, retry_interval=5.0)
    await worker.send(body=b"X-Pool: nowhere\r\n\r\nx\r\n")
    (record,) = await worker.until_type("TransientFailure")
    assert record["response"]["content"] == "KumoMTA internal: there is no egress pool nowhere"


async def test_a_new_source_sends_its_days_share_and_the_rest_goes_by_the_others(start_worker, peer):
    there = await peer()
    today = datetime.now(UTC).date().isoformat()
    worker = await start_worker(
        routes=[there.route],
        sources=[{"name": "old"}, {"name": "new"}],
        pools=[{"name": "default", "entries": [{"name": "old"}, {"name": "new"}]}],
        warm_up=[{"source": "new", "begins": today, "per_day": [2]}],
    )
    await worker.send([f"u{number}@example.com" for number in range(12)])
    records = await worker.until_type("Delivery", 12)
    assert Counter(record["egress_source"] for record in records) == {"old": 10, "new": 2}
