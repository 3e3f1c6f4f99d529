"""What the collector tells about itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from collector.metrics import METRICS, CollectorHealth, Distribution
from collector.settings import CollectorSettings
from mta.events.instants import SECOND


def test_names_are_unique_and_carry_the_collectors_prefix():
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert all(name.startswith("mtascope_collector_") for name in names)


def test_lag_is_the_age_of_the_newest_event_that_was_committed():
    health = CollectorHealth()
    assert health.lag(100 * SECOND) is None
    health.committed(records=1, seconds=0.1, newest_event=90 * SECOND)
    health.committed(records=1, seconds=0.1, newest_event=80 * SECOND)
    assert health.lag(100 * SECOND) == 10


def test_a_node_whose_clock_runs_ahead_causes_no_negative_lag():
    health = CollectorHealth(newest_event=200 * SECOND)
    assert health.lag(100 * SECOND) == 0


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (1, 0), (1.5, 1), (10, 1), (11, 2)])
def test_a_value_is_counted_in_the_first_bucket_that_holds_it(value, bucket):
    distribution = Distribution((1, 10))
    distribution.observe(value)
    assert distribution.counts == [int(n == bucket) for n in range(3)]
    assert distribution.total == value


@pytest.mark.parametrize("wrong", [{"pathes": []}, {"poll_interval_s": 0}, {"batch_records": 0}, {"max_line_bytes": 1}])
def test_a_wrong_setting_is_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        CollectorSettings(**wrong)
