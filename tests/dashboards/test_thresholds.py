"""A verdict needs volume."""

import json

import pytest

from dashboards.alerts import ALERTS
from dashboards.boards import BOARDS
from dashboards.palette import BAD
from dashboards.thresholds import BOUNCE, COMPLAINT, DELIVERY, Line


@pytest.mark.parametrize(("line", "floor"), [(BOUNCE, 34), (COMPLAINT, 1000), (DELIVERY, 34), (Line(0.1, 0.25), 10)])
def test_below_the_floor_one_event_could_cross_the_line(line, floor):
    assert line.floor == floor


def test_a_line_says_in_words_where_it_lies():
    assert str(BOUNCE) == "fine below 3 %, bad from 5 %"
    assert str(DELIVERY) == "fine from 97 %, bad below 95 %"


def test_what_the_alert_calls_a_spike_is_red_on_the_board():
    board = next(board for board in BOARDS if board.uid == "mtascope-delivery")
    panel = next(panel for panel in json.loads(board.as_json())["panels"] if panel["title"] == "Bounces")
    red = next(
        step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"] if step["color"] == BAD
    )
    spike = next(alert for alert in ALERTS if alert.name == "MtascopeBounceSpike")
    assert f'mtascope_bounce:ratio{{window="5m"}} >= {red}\n' in spike.expr


def test_a_line_whose_bad_side_is_its_good_side_is_refused():
    with pytest.raises(ValueError, match="good side"):
        Line(0.95, 0.97, high_is_bad=False)
