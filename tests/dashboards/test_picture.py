"""A drawn board shows what was answered, and lets nothing of it out of its place."""

from __future__ import annotations

import html
import math
import re

import pytest

from dashboards.boards import BOARDS
from dashboards.picture import Series, draw_board, readable, series_of

every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def one(name: str, *values: float) -> Series:
    return Series(name, {"provider": name}, tuple((60.0 * n, value) for n, value in enumerate(values)))


@every_board
def test_a_board_is_drawn_with_every_panel_that_is_open(board):
    page = draw_board(board, lambda _: [one("gmail", 1, 2, 3), one("yahoo", 3, math.nan, 1)])
    titles = [title for row in board.rows if not row.repeat for title in [p.build().title for _, p in row.panels]]
    assert titles
    for title in titles:
        assert f'<div class="title">{html.escape(title)}</div>' in page


@every_board
def test_without_data_a_board_says_so(board):
    page = draw_board(board, lambda _: [])
    assert "no data" in page
    assert "<svg" not in page


def test_a_hostile_name_stays_text():
    page = draw_board(BOARDS[0], lambda _: [one("<script>alert(1)</script>", 1, 2)])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_series_is_named_as_the_legend_says():
    found = {"metric": {"provider": "gmail", "type": "bounce"}, "values": [[0, "1"], [15, "NaN"]]}
    series = series_of({"legendFormat": "{{provider}}: {{type}}"}, found)
    assert series.name == "gmail: bounce"
    assert math.isnan(series.last)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "percentunit", "1.23 %"),
        (90, "s", "1.5 min"),
        (0.0042, "s", "4.2 ms"),
        (172_800, "s", "2 d"),
        (1536, "bytes", "1.5 KiB"),
        (2_500_000, "short", "2.5 M"),
        (0, "short", "0"),
        (math.nan, "short", "-"),
    ],
)
def test_a_value_reads_as_a_person_would_say_it(value, unit, text):
    assert readable(value, unit) == text


def test_the_page_says_that_it_is_a_rendering():
    assert re.search("not a screenshot of Grafana", draw_board(BOARDS[0], lambda _: []))
