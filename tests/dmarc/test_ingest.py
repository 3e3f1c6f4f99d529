"""Reports into a real store: once, with their revisions, or with a reason why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from analytics.care import erase
from analytics.dmarc_store import DmarcStore
from analytics.enrich import Enricher
from analytics.errors import StoreError
from analytics.store import Store
from dmarc.ingest import ReportIngest, ingest_files
from dmarc.mailbox.folder import find_files
from dmarc.rows import auth_rows, record_rows
from dmarc.settings import DmarcSettings
from dmarc.store import ReportReceipt
from mta.events.instants import parse_instant
from mta.events.pseudonym import Keyring
from mtascope.dmarc_reports import advice_answer
from mtascope.resources import provider_map, reply_classifier, taxonomy
from mtascope.settings import Settings

NOW = parse_instant("2026-01-01T00:00:00Z")
KEYRING = Keyring(b"i" * 32, {1: b"r" * 32})


@pytest.fixture
def store(tmp_path):
    enricher = Enricher(KEYRING, provider_map(), taxonomy(), reply_classifier())
    with Store(tmp_path / "store.duckdb", enricher, clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def ingest(store) -> Callable[..., ReportReceipt]:
    """Takes inputs, commits and says what became of them; settings by name."""

    def take(*inputs: bytes, **settings: object) -> ReportReceipt:
        reports = DmarcStore(store)
        found = ReportIngest(reports, KEYRING, lambda: NOW, DmarcSettings(**settings))
        for number, data in enumerate(inputs):
            found.take(f"input {number}", [data])
        found.commit()
        reports.close()
        return found.receipt

    return take


def test_a_report_is_stored_with_everything_in_it(ingest, store, report, record):
    reason = (
        "<policy_evaluated><disposition>none</disposition><reason><type>forwarded</type></reason></policy_evaluated>"
    )
    receipt = ingest(report([record(count=3), record(ip="2001:db8::1", count=4, evaluated=reason)]))
    assert receipt == ReportReceipt(mails=1, reports=1, records=2, messages=7)
    assert store.query("SELECT source_ip, messages, passed, domain, begin_at FROM dmarc.record ORDER BY ordinal") == [
        ("192.0.2.1", 3, True, "example.com", store.query("SELECT begin_at FROM dmarc.report")[0][0]),
        ("2001:db8::1", 4, False, "example.com", store.query("SELECT begin_at FROM dmarc.report")[0][0]),
    ]
    assert store.query("SELECT count(*), count(DISTINCT ordinal) FROM dmarc.auth") == [(4, 2)]
    assert store.query("SELECT ordinal, type FROM dmarc.override") == [(1, "forwarded")]


def test_the_same_report_counts_once_over_every_road(ingest, store, report, gz, mail_of):
    data = report()
    receipt = ingest(data, gz(data), mail_of(("application/gzip", "a.gz", gz(data))))
    assert (receipt.mails, receipt.reports, receipt.duplicates, receipt.messages) == (3, 1, 2, 1)
    again = ingest(data)
    assert (again.reports, again.duplicates) == (0, 1)
    assert store.query("SELECT sum(messages) FROM dmarc.record") == [(1,)]


def test_one_id_for_two_domains_is_two_reports(ingest, report):
    assert ingest(report(domain="a.example"), report(domain="b.example")).reports == 2


def test_a_revision_is_kept_and_the_later_one_counts(ingest, store, report, record):
    ingest(report([record(count=1)]))
    receipt = ingest(report([record(count=5)]))
    assert (receipt.reports, receipt.revisions) == (1, 1)
    assert store.query("SELECT revision, is_current, messages FROM dmarc.report ORDER BY revision") == [
        (0, False, 1),
        (1, True, 5),
    ]


def test_a_cut_or_forged_revision_replaces_nothing(ingest, store, report, record, mail_of):
    whole = report([record(count=1), record(count=2)])
    ingest(whole)
    ingest(whole[: whole.rindex(b"<identifiers>")])
    forged = mail_of(
        ("text/xml", "a.xml", report([record(count=900)])),
        headers="Authentication-Results: mx.ours.example; dmarc=fail\r\n",
    )
    ingest(forged, trusted_authserv_ids=("mx.ours.example",))
    assert store.query("SELECT messages, mail_auth FROM dmarc.report WHERE is_current") == [(3, "unknown")]
    assert store.query("SELECT count(*) FROM dmarc.report") == [(3,)]


def test_what_cannot_be_read_is_quarantined_once_with_its_reason(ingest, store, report):
    bad = report(prolog="<!DOCTYPE x>")
    assert ingest(bad, bad, b"junk").quarantined == 3
    assert store.query("SELECT reason, org_name FROM dmarc.quarantine ORDER BY reason") == [
        ("doctype", None),
        ("no-report", None),
    ]
    ingest(b"junk")
    assert store.query("SELECT count(*) FROM dmarc.quarantine") == [(2,)]


def test_records_of_a_report_that_turns_out_hostile_are_not_stored(ingest, store, report, record):
    many = [record(count=1)] * 2_000
    hostile = report([*many, "<!--" + "x" * 3_000_000 + "-->"])
    receipt = ingest(hostile, report(report_id="r2"))
    assert (receipt.reports, receipt.quarantined, receipt.records) == (1, 1, 1)
    assert store.query("SELECT count(*) FROM dmarc.record") == [(1,)]


def test_a_large_report_is_stored_in_slices_and_whole(ingest, store, report, record):
    rows = [record(ip=f"198.51.{number >> 8 & 255}.{number & 255}", count=1) for number in range(20_000)]
    assert ingest(report(rows), report(rows)).duplicates == 1
    assert store.query("SELECT count(*), sum(messages), count(DISTINCT ordinal) FROM dmarc.record") == [
        (20_000, 20_000, 20_000)
    ]
    assert store.query("SELECT count(*) FROM dmarc.auth") == [(40_000,)]


def test_slices_of_a_commit_that_was_killed_belong_to_no_later_report(ingest, store, report, record):
    ingest(report())
    with store.writing() as con:
        con.execute(
            "INSERT INTO dmarc.record BY NAME SELECT * REPLACE (2 AS report_id, 999 AS messages) FROM dmarc.record"
        )
    ingest(report([record(count=5)], report_id="r2"))
    assert store.query("SELECT report_id, messages FROM dmarc.record ORDER BY 1") == [(1, 1), (2, 5)]


def test_reports_about_the_domains_of_others_are_refused(ingest, report):
    receipt = ingest(report(domain="sub.ours.example"), report(domain="theirs.example"), domains=("ours.example",))
    assert (receipt.reports, receipt.quarantined) == (1, 1)


def test_counters_count_first_seen_reports_only(ingest, store, report, record):
    data = report([record(count=3)])
    ingest(data)
    ingest(data)
    counters = {(name, label): value for name, label, value in store.query("FROM dmarc.counter")}
    assert counters["reports", "aggregate"] == 1
    assert counters["messages", "pass"] == 3
    assert counters["duplicates", ""] == 1


def test_a_report_over_several_days_is_spread_over_them(ingest, store, report, record):
    ingest(report([record(count=300)], begin="2025-01-01T12:00:00Z", end="2025-01-03T12:00:00Z"))
    rows = store.query("SELECT day::DATE::VARCHAR, sum(share) FROM dmarc.daily GROUP BY 1 ORDER BY 1")
    assert rows == [("2025-01-01", 75.0), ("2025-01-02", 150.0), ("2025-01-03", 75.0)]


def test_every_daily_share_adds_up_to_the_report(ingest, store, report, record):
    for number, (begin, end) in enumerate([(0, 0), (0, 86_399), (0, 86_400), (43_200, 129_605), (0, 604_800)]):
        ingest(report([record(count=70)], report_id=f"r{number}", begin=1_700_006_400 + begin, end=1_700_006_400 + end))
    totals = store.query("SELECT report_id, round(sum(share), 6) FROM dmarc.daily GROUP BY 1")
    assert {total for _, total in totals} == {70.0}
    assert len(totals) == 5


def test_people_in_failure_reports_become_hashes(ingest, store):
    mail = (
        b'From: r@r.example\nContent-Type: multipart/report; boundary="b"\n\n--b\n'
        b"Content-Type: message/feedback-report\n\nFeedback-Type: auth-failure\nAuth-Failure: dmarc\n"
        b"Original-Rcpt-To: <someone@example.net>\nOriginal-Mail-From: <boss@example.com>\n"
        b"Authentication-Results: x; spf=fail smtp.mailfrom=boss@example.com\n--b--\n"
    )
    assert ingest(mail).reports == 1
    row = store.query("FROM dmarc.failure")[0]
    assert "someone" not in repr(row)
    assert "boss" not in repr(row)
    assert KEYRING.recipient_hash("someone@example.net") in row[9]
    erase(store, "someone@example.net")
    assert store.query("SELECT recipient_hashes FROM dmarc.failure") == [([],)]


def test_a_tls_report_keeps_its_blocks_apart(ingest, store):
    ingest(
        b'{"organization-name": "r", "report-id": "t", "policies": ['
        b'{"policy": {"policy-type": "sts"}, "summary": {"total-successful-session-count": 5}},'
        b'{"policy": {"policy-type": "tlsa"}, "failure-details": [{"failed-session-count": 2}]}]}'
    )
    assert store.query("SELECT policy_type, successful FROM dmarc.tls_policy ORDER BY position") == [
        ("sts", 5),
        ("tlsa", 0),
    ]
    assert store.query("SELECT position, sessions FROM dmarc.tls_failure") == [(1, 2)]


def test_nothing_of_a_failed_commit_is_kept(store, report):
    found = ReportIngest(DmarcStore(store), KEYRING, lambda: NOW)
    found.take("a", [report()])
    with store.writing() as con:
        con.execute("DROP TABLE dmarc.input")
    with pytest.raises(StoreError):
        found.commit()
    assert store.query("SELECT count(*) FROM dmarc.report") == [(0,)]
    assert found.receipt == ReportReceipt()


def test_a_folder_is_taken_whole_and_again_changes_nothing(store, tmp_path: Path, report, mail_of):
    maildir = tmp_path / "Maildir"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
        (maildir / name / "1:2,S").write_bytes(mail_of(("text/xml", "a.xml", report(report_id=name))))
    counted = []
    for _ in range(2):
        found = ReportIngest(DmarcStore(store), KEYRING, lambda: NOW)
        counted.append((ingest_files(find_files(str(maildir)), found), found.receipt.reports, found.receipt.duplicates))
    assert counted == [(2, 2, 0), (2, 0, 2)]


def test_a_store_of_the_first_schema_opens_and_takes_reports(tmp_path, report):
    from analytics.migrations import STEPS

    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as con:
        STEPS[0](con)
        con.execute("INSERT INTO schema_version VALUES (1, now()::TIMESTAMP)")
    enricher = Enricher(KEYRING, provider_map(), taxonomy(), reply_classifier())
    with Store(path, enricher, clock=lambda: NOW) as opened:
        found = ReportIngest(DmarcStore(opened), KEYRING, lambda: NOW)
        found.take("a", [report()])
        found.commit()
        assert opened.query("SELECT max(version) >= 2 FROM schema_version") == [(True,)]


def test_rows_have_the_columns_of_their_tables(store, read, report):
    records = tuple(read(report())[0].records)
    columns = dict(
        store.query(
            "SELECT table_name, count(*) FROM information_schema.columns WHERE table_schema = 'dmarc' GROUP BY 1"
        )
    )
    assert len(record_rows(1, records)[0]) == columns["record"] - 3
    assert len(auth_rows(1, records)[0]) == columns["auth"]
    assert replace(ReportReceipt(), mails=1) + ReportReceipt(mails=1) == ReportReceipt(mails=2)


class TestAdvice:
    """The whole way from reports to an answer."""

    UNTIL = parse_instant("2024-01-01T00:00:00Z")

    def fill(self, ingest, report, record, days=20, **options):
        start = self.UNTIL // 1_000_000 - days * 86_400
        data = [
            report([record(count=50), record(ip="192.0.2.99", count=7, evaluated="<policy_evaluated/>", auth="")],
                   org=org, report_id=f"{org}{day}", begin=start + day * 86_400, end=start + day * 86_400 + 86_399)
            for day in range(days)
            for org in ("google.com", "yahoo.com")
        ]  # fmt: skip
        ingest(*data, **options)

    def test_volumes_and_coverage_are_those_of_the_reports(self, ingest, store, report, record):
        self.fill(ingest, report, record)
        answer = advice_answer(store, Settings(), "Example.COM", 30, self.UNTIL)
        assert (answer["domain"], answer["policy"]) == ("example.com", "reject")
        assert (answer["messages"], answer["passed"], answer["unknown"]) == (2_280, 2_000, 280)
        assert (answer["days"], answer["reporters"]) == (20, {"google.com": 20, "yahoo.com": 20})

    def test_forged_reports_change_no_advice(self, ingest, store, report, record, mail_of):
        self.fill(ingest, report, record)
        before = advice_answer(store, Settings(), "example.com", 30, self.UNTIL)
        forged = report([record(count=10**6, evaluated="<policy_evaluated/>")], report_id="x", begin=1_703_500_000)
        head = "Authentication-Results: mx.ours.example; dmarc=fail\r\n"
        mail = mail_of(("text/xml", "a.xml", forged), headers=head)
        ingest(mail, trusted_authserv_ids=("mx.ours.example",))
        assert store.query("SELECT count(*) FROM dmarc.report WHERE mail_auth = 'fail'") == [(1,)]
        assert advice_answer(store, Settings(), "example.com", 30, self.UNTIL) == before
