"""The detector on mail that looks like mail: what opens, what closes, what does neither."""

from __future__ import annotations

import json
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.spikes import ChangeKind, SpikeDetector, SpikeSettings

DAY = 288
WEEK = 7 * DAY
OPENED, RENEWED, CLOSED = ChangeKind.OPENED, ChangeKind.RENEWED, ChangeKind.CLOSED


def spike(start: int, end: int, lift: float, base: float = 0.01):
    return lambda step: base + (lift if start <= step < end else 0.0)


def test_a_spike_is_one_incident_that_opens_in_minutes_and_closes_after_half_an_hour(feed):
    start, end = 3 * DAY, 3 * DAY + 24
    opened, closed = feed(SpikeDetector(), range(4 * DAY), spike(start, end, 0.10))
    assert (opened.kind, closed.kind) == (OPENED, CLOSED)
    assert start <= opened.step <= start + 1
    assert opened.began == start
    assert end + 5 <= closed.step <= end + 8
    assert closed.level == pytest.approx(0.11, rel=0.2)
    assert closed.baseline == pytest.approx(0.01, rel=0.2)


def test_a_small_rise_is_seen_within_the_hour(feed):
    opened, _ = feed(SpikeDetector(), range(4 * DAY), spike(3 * DAY, 3 * DAY + 36, 0.03))
    assert 3 * DAY <= opened.step < 3 * DAY + 12


def test_steady_mail_of_thirty_series_opens_at_most_one_incident_in_a_week(feed):
    detector = SpikeDetector()
    found = []
    for step in range(WEEK):
        for number in range(30):
            found += feed(detector, [step], lambda _: 0.01, sent=20 * (number + 1), series=f"s{number}", clumping=0.5)
    assert len([change for change in found if change.kind is OPENED]) <= 1


def test_clumps_that_last_a_quarter_of_an_hour_are_learnt():
    random, detector, found, rate = Random(5), SpikeDetector(), [], 0.0
    for step in range(4 * WEEK):
        if step % 3 == 0:
            rate = random.gammavariate(2.0, 0.01)
        change = detector.observe("gmail", step, 1000, round(1000 * min(1.0, rate)))
        found += [change] if change is not None and change.kind is OPENED and step > WEEK else []
    assert len(found) <= 2
    assert detector._watches["gmail"].baseline.redundancy > 1.3


def test_clumps_that_end_with_their_step_discount_nothing(feed):
    detector = SpikeDetector()
    feed(detector, range(2 * WEEK), lambda _: 0.02, clumping=0.5)
    assert detector._watches["gmail"].baseline.redundancy == 1.0


def test_the_rhythm_of_the_day_is_no_spike(feed):
    def rate(step):
        return 0.02 * (1 + 0.4 * math.sin(2 * math.pi * step / DAY))

    assert feed(SpikeDetector(), range(2 * WEEK), rate) == []


def test_a_slow_drift_to_three_times_the_rate_is_no_spike(feed):
    assert feed(SpikeDetector(), range(3 * WEEK), lambda step: 0.01 * 3 ** (step / (3 * WEEK)), clumping=0.2) == []


def test_a_spike_teaches_nothing(feed):
    with_spike, without = SpikeDetector(), SpikeDetector()
    feed(with_spike, range(3 * DAY), spike(2 * DAY, 2 * DAY + 48, 0.3))
    feed(without, range(3 * DAY), spike(0, 0, 0.3))
    rates = [one._watches["gmail"].baseline.expectation.rate for one in (with_spike, without)]
    assert rates[0] == pytest.approx(rates[1], rel=0.1)


def test_an_incident_is_told_of_again_when_it_doubles(feed):
    def rate(step):
        return 0.01 if step < 3 * DAY else 0.06 if step < 3 * DAY + 24 else 0.4

    changes = feed(SpikeDetector(), range(3 * DAY + 36), rate)
    assert [change.kind for change in changes][:2] == [OPENED, RENEWED]
    assert changes[1].step <= 3 * DAY + 30


def test_an_incident_is_told_of_again_after_a_day(feed):
    changes = feed(SpikeDetector(), range(5 * DAY), spike(3 * DAY, 9 * DAY, 0.1))
    assert [change.kind for change in changes] == [OPENED, RENEWED]
    assert changes[1].step == changes[0].step + DAY


def test_a_rise_that_stays_becomes_the_new_normal(feed):
    changes = feed(SpikeDetector(), range(10 * DAY), spike(3 * DAY, 99 * DAY, 0.1))
    assert [change.kind for change in changes if change.kind is not RENEWED] == [OPENED, CLOSED]
    assert changes[-1].step <= changes[0].step + 3 * DAY + 1


def test_a_step_in_the_middle_of_recovery_keeps_the_incident_open(feed):
    def rate(step):
        return 0.2 if 3 * DAY <= step < 3 * DAY + 12 or step == 3 * DAY + 15 else 0.01

    assert [change.kind for change in feed(SpikeDetector(), range(4 * DAY), rate)] == [OPENED, CLOSED]


def test_a_handful_of_bounces_is_nobodys_incident(feed):
    detector = SpikeDetector()
    feed(detector, range(3 * DAY), lambda _: 0.01, sent=2)
    assert all(detector.observe("gmail", step, 2, 1) is None for step in range(3 * DAY, 3 * DAY + 6))


def test_nothing_is_judged_in_the_first_hours(feed):
    assert feed(SpikeDetector(), range(60), lambda _: 0.5) == []


def test_hours_without_mail_neither_close_nor_open(feed):
    detector = SpikeDetector()
    feed(detector, range(3 * DAY), lambda _: 0.01)
    (opened,) = feed(detector, range(3 * DAY, 3 * DAY + 3), lambda _: 0.3)
    assert opened.kind is OPENED
    silence = [detector.observe("gmail", step, 0, 0) for step in range(3 * DAY + 3, 3 * DAY + 60)]
    assert set(silence) == {None}
    (closed,) = feed(detector, range(3 * DAY + 90, 3 * DAY + 110), lambda _: 0.01)
    assert closed.kind is CLOSED


def test_more_series_need_more_evidence_each():
    detector = SpikeDetector()
    for number in range(2000):
        detector.observe(f"s{number}", 0, 10, 0)
    assert detector.threshold == pytest.approx(SpikeSettings().threshold + math.log(2000 / 30))


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="treshold"):
        SpikeSettings(treshold=5)


def run(counts):
    detector = SpikeDetector()
    return [detector.observe("gmail", step, sent, bounced) for step, (sent, bounced) in enumerate(counts)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 400))
def test_what_comes_later_changes_no_decision(seed, cut):
    random = Random(seed)
    counts = []
    for step in range(400):
        sent = random.choice([0, 5, 300, 5000])
        share = 0.5 if step % 97 > 90 else 0.02
        counts.append((sent, min(sent, int(random.expovariate(1) * share * sent))))
    assert run(counts)[:cut] == run(counts[:cut])


def test_what_was_learnt_and_is_open_survives_a_restart(feed):
    """A detector restored from its state, which went through JSON, decides as the one that never stopped."""
    start = 3 * DAY
    whole, first, second = SpikeDetector(tiers=2), SpikeDetector(tiers=2), SpikeDetector(tiers=2)
    expected = feed(whole, range(4 * DAY), spike(start, start + 24, 0.10))
    found = feed(first, range(start + 7), spike(start, start + 24, 0.10))
    second.restore(json.loads(json.dumps(first.state())))
    found += feed(second, range(start + 7, 4 * DAY), spike(start, start + 24, 0.10))
    assert found == expected
    assert second.state() == whole.state()


def test_an_incident_without_mail_ends_after_six_hours(feed):
    detector = SpikeDetector()
    (opened,) = feed(detector, range(3 * DAY + 6), spike(3 * DAY, 4 * DAY, 0.3))
    closed = feed(detector, range(3 * DAY + 6, 4 * DAY), lambda _: 0.0, sent=0)
    assert [change.kind for change in (opened, *closed)] == [OPENED, CLOSED]
    assert closed[0].step == 3 * DAY + 5 + 72
    assert detector.troubled() == []


def test_a_taught_past_is_a_baseline_at_once(feed):
    detector, random = SpikeDetector(), Random(1)
    for hour in range(48):
        steps = [(hour * 12 + place, 500, max(0, round(random.gauss(5, 2.5)))) for place in range(12)]
        detector.teach("gmail", hour, steps, thorough=hour % 4 == 0)
    assert detector.expectation("gmail").rate == pytest.approx(0.01, rel=0.3)
    opened, *_ = feed(detector, range(2 * DAY, 2 * DAY + 12), spike(2 * DAY + 6, 3 * DAY, 0.1))
    assert opened.step <= 2 * DAY + 7


def test_many_parts_do_not_make_the_wholes_deaf():
    detector = SpikeDetector(tiers=2)
    for number in range(30):
        detector.observe(f"whole{number}", 0, 1, 0)
    alone = detector.threshold
    for number in range(2000):
        detector.observe(f"part{number}", 0, 1, 0, tier=1)
    assert detector.threshold == pytest.approx(alone + math.log(2))
    assert detector._threshold(1) == pytest.approx(alone + math.log(2 * 2000 / 30))


def test_late_counts_are_learnt_and_open_nothing():
    detector = SpikeDetector()
    for step in range(3 * DAY):
        detector.observe("gmail", step, 500, 5)
    detector.restate("gmail", 3 * DAY - 1, 500, 400)
    assert not [change for step in range(3 * DAY, 4 * DAY) if (change := detector.observe("gmail", step, 500, 5))]
