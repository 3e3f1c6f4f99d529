"""The report adds up, compares with the week before, says what to do, and shows outside text as text."""

from __future__ import annotations

import socket
from dataclasses import replace
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from click.testing import CliRunner

from analytics.report import build_report
from analytics.store import Store
from exporter.report import as_html, as_text
from mta.events.event import Event, EventType
from mta.events.instants import DAY, format_instant
from mta.events.intake import Batch
from mta.events.reply import SmtpReply
from mtascope.cli.report import command
from mtascope.resources import taxonomy

START = 1_780_000_000_000_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def sent(number: int, domain: str, *, failed: bool, text: str = "no such user", week: int = 0) -> tuple[Event, ...]:
    at = START + number - week * 7 * DAY
    received = Event(
        type=EventType.RECEPTION,
        time=at,
        created=at,
        node="n",
        mta="kumomta",
        queue_id=f"{domain}-{number}-{week}",
        recipient=f"u{number}@{domain}",
    )
    kind, code = (EventType.BOUNCE, 550) if failed else (EventType.DELIVERY, 250)
    return received, replace(received, type=kind, time=at + 1000, attempt=1, reply=SmtpReply(code, None, text))


@pytest.fixture
def mailed(store: Store) -> Store:
    """On top of the usual mail: Outlook bounces a tenth, a week before only a hundredth; one name is hostile."""
    hostile = "5.1.1 no such mailbox & <img src=x onerror=alert> here"
    mails = [sent(n, "outlook.com", failed=n % 10 == 0, text=hostile) for n in range(200)]
    mails += [sent(n, "outlook.com", failed=n % 100 == 0, week=1) for n in range(200)]
    store.load(Batch("test", mails))
    return store


def report(store: Store):
    return build_report(store, START - 1000, START + DAY, taxonomy())


def test_the_totals_add_up_and_each_provider_stands_against_its_week_before(mailed: Store) -> None:
    found = report(mailed)
    counts = found.total.counts
    assert counts["injected"] == counts["delivered"] + counts["bounced"] == 300
    [outlook] = [compared for compared in found.providers if compared.provider == "microsoft-consumer"]
    assert (outlook.now.counts["bounced"], outlook.before and outlook.before.counts["bounced"]) == (20, 2)
    assert "injected 300 (a week before 200) = delivered 260, bounced 40" in as_text(found)
    assert "10.00% [1.00%]" in as_text(found)


def test_what_is_beyond_its_line_is_to_be_done_with_the_cause(mailed: Store) -> None:
    to_do = {item.provider: item for item in report(mailed).to_do}
    assert to_do["microsoft-consumer"].rate == "hard_bounce_rate"
    assert "bad mailbox" in to_do["microsoft-consumer"].advice


def test_text_from_outside_stays_text(mailed: Store) -> None:
    page = as_html(report(mailed))
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert&gt;" in page
    assert "http" not in page.split("</style>")[0]


def test_a_period_without_mail_has_a_report_that_says_so(store: Store) -> None:
    found = build_report(store, START + 5 * DAY, START + 6 * DAY, taxonomy())
    assert "injected 0 = nothing" in as_text(found)
    assert (found.providers, found.to_do, found.total_before) == ([], [], None)


class _Kept:
    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802
        self.mails.append(envelope.content)  # type: ignore[attr-defined]
        return "250 kept"


def test_the_report_is_sent_as_text_and_html(mailed: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = _Kept()
    port = free_port()
    server = Controller(kept, hostname="127.0.0.1", port=port)
    server.start()
    try:
        words = ["--mail", "postmaster@example.com", "--smtp", f"127.0.0.1:{port}", "--since", format_instant(START)]
        data = tmp_path_factory.mktemp("data")
        ended = CliRunner().invoke(command, [*words, "--data", str(data)])
    finally:
        server.stop()
    assert ended.exit_code == 0, ended.output
    [mail] = [message_from_bytes(content, policy=policy.default) for content in kept.mails]
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["To"] == "postmaster@example.com"


def test_hours_domains_and_outcomes_add_up_to_the_same_total(mailed: Store) -> None:
    found = report(mailed)
    injected = found.total.counts["injected"]
    assert injected == sum(row.counts["injected"] for row in found.domains) == 300
    assert injected == sum(row.counts["injected"] for row in found.hours)
    assert found.total.counts["delivered"] == sum(compared.now.counts["delivered"] for compared in found.providers)
    assert found.people == 300


def test_what_is_open_what_waits_and_what_is_unknown_is_said(mailed: Store) -> None:
    put_off = replace(
        sent(1, "slow.example", failed=True)[1], type=EventType.DEFERRAL, reply=SmtpReply(451, None, "wait")
    )
    mailed.load(Batch("test", [(put_off,)]))
    text = as_text(report(mailed))
    for part in ("TOTALS", "WHY MAIL FAILED", "WHY MAIL WAS PUT OFF", "WHAT WAITS NOW", "HOUR BY HOUR", "slow.example"):
        assert part in text
    assert "INCIDENTS" not in text  # nothing to say


def test_a_new_sender_in_ones_name_is_reported_once(mailed: Store) -> None:
    with mailed.writing() as con:
        for key, (address, at) in enumerate([("192.0.2.1", START - 3 * DAY), ("198.51.100.9", START + 1000)]):
            con.execute(
                "INSERT INTO dmarc.report (report_id, kind, report_key, content_hash, outcome, mail_auth, source, "
                "domain, begin_at, end_at, records, messages, passed, warnings, received_at, revision, is_current) "
                "VALUES (?, 'aggregate', uuid(), uuid(), 'ok', 'pass', 't', 'own.example', make_timestamp(?), "
                "make_timestamp(?), 1, 7, 0, [], now()::TIMESTAMP, 0, true)",
                [key, at, at + 1000],
            )
            con.execute(
                "INSERT INTO dmarc.record (report_id, ordinal, source_ip, messages, passed, domain, begin_at, end_at) "
                "VALUES (?, 0, ?, 7, false, 'own.example', make_timestamp(?), make_timestamp(?))",
                [key, address, at, at + 1000],
            )
    [found] = build_report(mailed, START - START % DAY, START + DAY, taxonomy()).new_sources
    assert (found.domain, found.source_ip, found.messages, found.passed) == ("own.example", "198.51.100.9", 7, 0)
