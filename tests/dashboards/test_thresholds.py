"""A verdict needs volume."""

import pytest

from dashboards.thresholds import BOUNCE, COMPLAINT, DELIVERY, Line


@pytest.mark.parametrize(("line", "floor"), [(BOUNCE, 34), (COMPLAINT, 1000), (DELIVERY, 34), (Line(0.1, 0.25), 10)])
def test_below_the_floor_one_event_could_cross_the_line(line, floor):
    assert line.floor == floor


def test_a_line_whose_bad_side_is_its_good_side_is_refused():
    with pytest.raises(ValueError, match="good side"):
        Line(0.95, 0.97, high_is_bad=False)
