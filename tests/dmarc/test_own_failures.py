"""Our addresses that fail, at whom and since when."""

from __future__ import annotations

from dmarc.own_failures import OwnDay, failing_streams
from dmarc.senders import OwnAddress
from mta.events.instants import DAY, parse_instant

START = parse_instant("2026-01-01T00:00:00Z")
OWN = {"192.0.2.7": OwnAddress("src1", "news", "node-1")}


def days(*dkim_failed: float, lost: float = 0, reporter: str = "Yahoo", spf_failed: float = 0) -> list[OwnDay]:
    return [
        OwnDay(
            source_ip="192.0.2.7", reporter=reporter, day=START + number * DAY, messages=100,
            dkim_failed=failed, spf_failed=spf_failed, failed=lost,
        )
        for number, failed in enumerate(dkim_failed)
    ]  # fmt: skip


def test_a_stream_that_broke_is_told_with_its_day_pool_and_reporter():
    (found,) = failing_streams(days(0, 1, 0, 99, 100, 100), OWN)
    assert (found.since, found.messages, found.failed, found.passed_before) == ("2026-01-04", 300, 299, True)
    assert found.text == (
        "Our address 192.0.2.7 (pool news, node node-1) fails DKIM alignment at Yahoo since 2026-01-04: "
        "299 of 300 messages; before that it passed."
    )


def test_what_never_aligned_is_told_only_where_mail_is_lost_by_it():
    assert failing_streams(days(0, 0, spf_failed=100), OWN) == []
    told = failing_streams(days(100, 100, lost=100, spf_failed=100), OWN)
    assert {failure.mechanism for failure in told} == {"dkim", "spf"}
    assert "all reports" in told[0].text


def test_what_is_repaired_or_too_little_is_not_told():
    assert failing_streams(days(100, 100, 0), OWN) == []
    assert failing_streams([day for day in days(0, 100) if day.day == START], OWN) == []


def test_reporters_are_judged_apart():
    told = failing_streams([*days(0, 100), *days(0, 0, reporter="google.com")], OWN)
    assert [failure.reporter for failure in told] == ["Yahoo"]
