"""What boards and alerts see of the reports; old reports and new ones alike, forged ones apart."""

from __future__ import annotations

import pytest
from prometheus_client.metrics_core import Metric as Family

from analytics.dmarc_figures import prune_quarantine
from analytics.dmarc_questions import source_traffic
from analytics.dmarc_store import DmarcStore
from analytics.enrich import Enricher
from analytics.store import Store
from dmarc.carrier import MailAuth
from dmarc.ingest import ReportIngest
from exporter.prometheus import report_families
from mta.events.instants import DAY, parse_instant
from mta.events.pseudonym import Keyring
from mtascope.dmarc_figures import report_values
from mtascope.resources import provider_map, reply_classifier, taxonomy

KEYRING = Keyring(b"i" * 32, {1: b"r" * 32})
NOW = parse_instant("2026-01-29T06:00:00Z")
YESTERDAY = {"begin": "2026-01-28T00:00:00Z", "end": "2026-01-28T23:59:59Z"}
LONG_AGO = {"begin": "2026-01-10T00:00:00Z", "end": "2026-01-10T23:59:59Z"}
FAILED = "<policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated>"
UNSIGNED = "<spf><domain>evil.example</domain><result>fail</result></spf>"


@pytest.fixture
def store(tmp_path):
    enricher = Enricher(KEYRING, provider_map(), taxonomy(), reply_classifier())
    with Store(tmp_path / "store.duckdb", enricher, clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def keep(store):
    def take(data: bytes, auth: MailAuth = MailAuth.PASS) -> None:
        reports = DmarcStore(store)
        ingest = ReportIngest(reports, KEYRING, store.clock)
        ingest.take("x", [data], auth)
        ingest.commit()
        reports.close()

    return take


def test_counters_are_there_from_the_start(store):
    values = report_values(store)
    assert values["mtascope_dmarc_reports_total"] == {("aggregate",): 0, ("tls",): 0, ("failure",): 0}
    families: list[Family] = list(report_families(lambda: values)())
    assert {family.name for family in families} >= {"mtascope_dmarc_reports", "mtascope_dmarc_messages"}


def test_volumes_by_sender_and_a_new_unknown_one(store, keep, report, record):
    keep(report([record(count=50)], report_id="old", **LONG_AGO))
    bad = record(ip="203.0.113.66", count=40, evaluated=FAILED, auth=UNSIGNED)
    keep(report([record(count=60), bad], report_id="new", **YESTERDAY))
    values = report_values(store)
    messages = values["mtascope_dmarc_messages"]
    assert sum(messages.values()) == pytest.approx(100)
    assert messages["example.com", "suspicious", "fail"] == pytest.approx(40)
    assert values["mtascope_dmarc_new_unknown_messages"] == {("example.com",): pytest.approx(40)}
    assert values["mtascope_dmarc_aligned_messages"]["example.com", "dkim"] == pytest.approx(60)
    assert values["mtascope_dmarc_last_report_timestamp_seconds"] == {("example.com",): NOW / 1e6}


@pytest.mark.parametrize("auth", [MailAuth.FAIL, MailAuth.NONE])
def test_forged_reports_are_counted_and_move_nothing_else(store, keep, report, record, auth):
    keep(report([record(count=1_000)], **YESTERDAY), auth)
    values = report_values(store)
    assert values["mtascope_dmarc_forged_reports_total"]["aggregate",] == 1
    assert values["mtascope_dmarc_messages"] == {}
    assert values["mtascope_dmarc_last_report_timestamp_seconds"] == {}
    assert values["mtascope_dmarc_reported_messages_total"] == {("pass",): 0, ("fail",): 0}


def test_sessions_under_two_policies_are_not_added_up(store, keep):
    block = (
        '{"policy":{"policy-type":"%s","policy-domain":"example.com"},"summary":{"total-successful-session-count":90,'
        '"total-failure-session-count":10},"failure-details":[{"result-type":"certificate-expired","failed-session-count":10},'
        '{"result-type":"<script>","failed-session-count":1}]}'
    )
    keep(
        (
            '{"organization-name":"r","report-id":"1","date-range":{"start-datetime":"2026-01-28T00:00:00Z",'
            '"end-datetime":"2026-01-28T23:59:59Z"},"policies":[' + block % "sts" + "," + block % "tlsa" + "]}"
        ).encode()
    )
    assert report_values(store)["mtascope_dmarc_tls_window_sessions"] == {
        ("example.com", "success"): 90,
        ("example.com", "certificate-expired"): 10,
        ("example.com", "other"): 1,
    }


def test_old_and_new_reports_share_one_chart_and_pass_means_delivered(store, keep, report, record):
    passed = "<policy_evaluated><disposition>pass</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated>"
    new = {"attributes": ' xmlns="urn:ietf:params:xml:ns:dmarc-2.0"', "report_id": "new", **YESTERDAY}
    keep(report([record(count=30)], report_id="old", **YESTERDAY))
    keep(report([record(count=70, evaluated=passed)], **new))
    (row,) = source_traffic(store, "example.com", NOW - 2 * DAY, NOW)
    assert (row["messages"], row["passed"], row["hindered"]) == (pytest.approx(100), pytest.approx(100), 0)
    assert store.query("SELECT day::DATE::VARCHAR, round(sum(share)) FROM dmarc.daily GROUP BY 1") == [
        ("2026-01-28", 100)
    ]


def test_quarantine_is_forgotten_in_time_and_its_inputs_stay_known(store, keep):
    keep(b"junk")
    assert prune_quarantine(store, 1) == 0
    store.clock = lambda: NOW + 2 * DAY
    assert prune_quarantine(store, 1) == 1
    assert store.query("SELECT count(*) FROM dmarc.input") == [(1,)]
