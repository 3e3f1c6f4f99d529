"""Time stamps that lack a year or a zone."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from collector.formats.context import Context
from collector.formats.stamps import Stamps, zone_named
from mta.events.errors import ParseError
from mta.events.instants import format_instant, parse_instant

NEW_YEAR = parse_instant("2027-01-01T00:00:30Z")
UTC = zone_named("UTC")


def read(text: str, **context) -> str:
    return format_instant(Stamps(Context(**({"zone": UTC, "now": lambda: NEW_YEAR} | context)))(text))


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("Dec 31 23:59:59", "2026-12-31T23:59:59.000000Z"),
        ("Jan  1 00:00:10", "2027-01-01T00:00:10.000000Z"),
        ("Jan  1 23:00:00", "2027-01-01T23:00:00.000000Z"),  # a clock that is ahead
        ("Jan  3 00:00:00", "2026-01-03T00:00:00.000000Z"),
        ("Feb 29 12:00:00", "2024-02-29T12:00:00.000000Z"),
        ("Mar 7 02:09:33", "2026-03-07T02:09:33.000000Z"),
        ("Dec 31 23:59:60", "2026-12-31T23:59:59.000000Z"),  # a leap second
        ("2026-11-04 13:35:23", "2026-11-04T13:35:23.000000Z"),
        ("2026-11-04T13:35:23.25+0100", "2026-11-04T12:35:23.250000Z"),
        ("2026-11-04 13:35:23.250 +01:00", "2026-11-04T12:35:23.250000Z"),
        ("2026-11-04T13:35:23,5Z", "2026-11-04T13:35:23.500000Z"),
    ],
)
def test_a_stamp_is_the_latest_instant_that_it_can_mean(written, instant):
    assert read(written) == instant


def test_a_given_year_turns_with_the_months():
    stamp = Stamps(Context(zone=UTC, year=2012))
    years = [format_instant(stamp(text))[:4] for text in ("Nov 30 00:00:00", "Dec 31 00:00:00", "Jan  1 00:00:00")]
    assert years == ["2012", "2012", "2013"]


def test_a_line_that_is_late_at_the_turn_of_the_year_belongs_to_the_old_one():
    stamp = Stamps(Context(zone=UTC, year=2012))
    years = [format_instant(stamp(text))[:4] for text in ("Dec 31 23:59:59", "Jan  1 00:00:00", "Dec 31 23:59:59")]
    assert years == ["2012", "2013", "2012"]


def test_a_zone_is_kept_through_summer_time():
    berlin = ZoneInfo("Europe/Berlin")
    assert read("Jul  1 12:00:00", zone=berlin) == "2026-07-01T10:00:00.000000Z"
    assert read("2026-12-01 12:00:00", zone=berlin) == "2026-12-01T11:00:00.000000Z"


def test_without_clock_and_year_a_stamp_that_has_none_is_refused():
    with pytest.raises(ParseError, match="tell the year"):
        read("Jan  1 00:00:00", now=None)


@pytest.mark.parametrize(
    "text", ["", "Foo  1 00:00:00", "Jan 32 00:00:00", "2026-13-01 00:00:00", "1960-01-01 00:00:00"]
)
def test_what_is_no_stamp_is_refused(text):
    with pytest.raises(ParseError):
        read(text)


@pytest.mark.parametrize("name", ["Mars/Base", "../etc/passwd", "x" * 999])
def test_an_unknown_zone_is_named(name):
    with pytest.raises(ValueError, match="no time zone"):
        zone_named(name)
