"""The metrics page shows what the catalogue declares, survives a broken source, and never bends a counter."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from analytics.metrics import METRICS
from analytics.snapshot import take_snapshot
from analytics.store import Store
from exporter.prometheus import MetricsPage, relayed, store_families
from mta.events.event import Event, EventType
from mta.events.intake import Batch

START = 1_780_000_000_000_000


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(store: Store) -> str:
    snapshot = take_snapshot(store)
    return MetricsPage({"store": store_families(lambda: snapshot, "0")}).render()[0].decode()


def counters(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {key: value for key, value in samples(text).items() if key[0].endswith(("_total", "_bucket", "_sum"))}


def test_every_metric_of_the_store_is_shown_with_its_declared_type_and_labels(page: MetricsPage) -> None:
    families = {family.name: family for family in text_string_to_metric_families(page.render()[0].decode())}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


def test_windows_are_counted_by_event_time(page: MetricsPage) -> None:
    found = samples(page.render()[0].decode())
    delivered = ("mtascope_window_recipients", (("measure", "delivered"), ("provider", "gmail"), ("window", "5m")))
    bounced = ("mtascope_window_recipients", (("measure", "bounced"), ("provider", "gmail"), ("window", "5m")))
    assert (found[delivered], found[bounced]) == (40, 10)


def test_a_backfill_of_old_events_moves_no_window(store: Store) -> None:
    before = {key: value for key, value in samples(shown(store)).items() if "window" in key[0]}
    old = Event(
        type=EventType.RECEPTION,
        time=START - 10 * 86_400_000_000,
        node="node-a",
        mta="kumomta",
        queue_id="old",
        recipient="u@gmail.com",
    )
    bounced = replace(old, type=EventType.BOUNCE, attempt=1, time=old.time + 1)
    store.load(Batch("test", [(old, bounced)]))
    assert {key: value for key, value in samples(shown(store)).items() if "window" in key[0]} == before


def test_no_counter_ever_goes_back_and_a_replay_adds_nothing(store: Store) -> None:
    first = counters(shown(store))
    event = Event(
        type=EventType.RECEPTION, time=START, node="b", mta="kumomta", queue_id="q", recipient="u@web.de", created=START
    )
    store.load(Batch("test", [(event,)]))
    second = counters(shown(store))
    store.load(Batch("test", [(event,)]))
    third = counters(shown(store))
    assert all(second[key] >= value for key, value in first.items())
    assert sum(second.values()) > sum(first.values())
    accounting = "mtascope_collector_records_total"
    assert {k: v for k, v in third.items() if k[0] != accounting} == {
        k: v for k, v in second.items() if k[0] != accounting
    }


def test_counters_of_a_new_provider_begin_at_zero(store: Store) -> None:
    event = Event(type=EventType.RECEPTION, time=START, node="b", mta="kumomta", queue_id="q", recipient="u@web.de")
    store.load(Batch("test", [(event,)]))
    key = (("origin", "remote"), ("provider", "web.de"), ("type", "bounce"))
    assert samples(shown(store))["mtascope_provider_events_total", key] == 0


def test_histogram_buckets_are_cumulative_and_end_at_the_count(page: MetricsPage) -> None:
    found = samples(page.render()[0].decode())
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "mtascope_delivery_latency_seconds_bucket" and ("provider", "gmail") in labels
    }
    assert (buckets["0.5"], buckets["1.0"], buckets["+Inf"]) == (0, 40, 40)


def test_a_broken_source_is_named_and_hides_nobody_else(page: MetricsPage) -> None:
    def broken() -> Iterable[Family]:
        raise RuntimeError("gone")

    both = MetricsPage({"broken": broken, **page._sources})
    found = samples(both.render()[0].decode())
    assert found["mtascope_source_success", (("source", "broken"),)] == 0
    assert found["mtascope_source_success", (("source", "store"),)] == 1
    assert found["mtascope_recipients", (("outcome", "injected"),)] == 100


def test_another_process_gets_its_node_as_a_label_and_its_runtime_left_out() -> None:
    text = '# TYPE mtascope_mta_connections gauge\nmtascope_mta_connections{direction="inbound"} 3\nprocess_x 1\n'
    [family] = relayed(text, "mta-0")
    assert [(sample.name, sample.labels) for sample in family.samples] == [
        ("mtascope_mta_connections", {"node": "mta-0", "direction": "inbound"})
    ]


def test_hostile_label_values_stay_valid(store: Store) -> None:
    evil = 'no"de\n\\{} \N{PILE OF POO}'
    event = Event(type=EventType.RECEPTION, time=START, node=evil, mta="kumomta", queue_id="q", recipient="u@web.de")
    store.load(Batch("test", [(event,)]))
    assert any(dict(labels).get("node") == evil for _, labels in samples(shown(store)))


@pytest.mark.peer
def test_promtool_finds_nothing_to_say_about_the_page(page: MetricsPage) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    told = subprocess.run([promtool, "check", "metrics"], input=page.render()[0], capture_output=True, check=False)
    assert (told.returncode, told.stdout + told.stderr) == (0, b"")


HOSTILE = 'news "quoted"\\ \n{le="1"} \U0001f4ec'


def test_a_hundred_thousand_tenants_take_no_more_series_than_twenty(store: Store) -> None:
    with store.writing() as con:
        con.execute(
            "INSERT INTO step_count SELECT make_timestamp(?), 'gmail', 'tenant', 't' || n, n, n, 0, n, 0, 0 "
            "FROM range(100_000) AS r(n)",
            [START],
        )
        con.execute(
            "INSERT INTO step_count VALUES (make_timestamp(?), 'gmail', 'tenant', ?, 10_000_000, 1, 2, 3, 4, 5)",
            [START, HOSTILE],
        )
    found = {
        (labels["tenant"], labels["measure"]): value
        for (name, key), value in samples(shown(store)).items()
        if name == "mtascope_window_tenant_mail" and (labels := dict(key))["window"] == "1h"
    }
    assert len({tenant for tenant, _ in found}) == 21
    assert found[HOSTILE, "sent"] == 10_000_000
    assert found["t99999", "sent"] == 99_999
    everybody = sum(value for (_, measure), value in found.items() if measure == "sent")
    assert everybody == 10_000_000 + sum(range(100_000)) + 100, "the rest is counted as other; 100 are the fixture's"


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_hostile_names_leave_the_page_valid(store: Store) -> None:
    store.load(Batch("test", [(replace(event, tenant=HOSTILE, pool=HOSTILE),) for event in _one_delivery()]))
    page = shown(store)
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert any(dict(key).get("tenant") == HOSTILE for _, key in samples(page))


def _one_delivery() -> tuple[Event, ...]:
    return (
        Event(type=EventType.DELIVERY, time=START, node=HOSTILE, mta="kumomta", queue_id="q", recipient="a@gmail.com"),
    )


def test_figures_of_tenants_are_kept_for_a_while_and_then_read_anew(store: Store) -> None:
    first = take_snapshot(store)
    assert take_snapshot(store, first).senders is first.senders
    assert take_snapshot(store, replace(first, senders_at=first.senders_at - 60_000_000)).senders is not first.senders
