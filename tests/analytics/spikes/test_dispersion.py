"""What is learnt about scatter: close to the truth, whatever spikes are in the data."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.spikes.dispersion import Dispersion, DispersionPrior


def sample(random: Random, mean: float, coefficient: float) -> int:
    rate = random.gammavariate(1 / coefficient, coefficient * mean)
    count, left = 0, random.expovariate(1.0)
    while left < rate:
        count, left = count + 1, left + random.expovariate(1.0)
    return count


def prior() -> DispersionPrior:
    return DispersionPrior(0.01, 12.0, 12, guess=0.4)


@pytest.mark.parametrize("coefficient", [0.05, 0.3, 2.0])
def test_the_coefficient_is_found_within_a_quarter(coefficient):
    random, learnt = Random(1), Dispersion(prior(), 1.0)
    for _ in range(1500):
        learnt.learn(sample(random, 10.0, coefficient), 10.0)
    learnt.settle()
    assert learnt.value == pytest.approx(coefficient, rel=0.25)


def test_a_day_of_spikes_in_a_month_does_not_double_it():
    random, clean, spoilt = Random(2), Dispersion(prior(), 1.0), Dispersion(prior(), 1.0)
    for number in range(1500):
        count = sample(random, 10.0, 0.1)
        clean.learn(count, 10.0)
        spoilt.learn(count + (400 if number % 30 == 0 else 0), 10.0)
    clean.settle()
    spoilt.settle()
    assert spoilt.value < 2 * clean.value


def test_scatter_with_a_known_cause_is_left_out():
    random, learnt = Random(3), Dispersion(DispersionPrior(0.001, 2.0, 10, guess=0.02), 1.0)
    for _ in range(1500):
        learnt.learn(sample(random, 20.0, 0.25), 20.0, known=0.2)
    learnt.settle()
    assert 0.02 < learnt.value < 0.1


def test_a_newcomer_starts_from_what_the_others_say():
    shared = prior()
    random, others = Random(4), [Dispersion(shared, 1.0) for _ in range(10)]
    for other in others:
        for _ in range(300):
            other.learn(sample(random, 10.0, 3.0), 10.0)
    shared.learn(others)
    assert Dispersion(shared, 1.0).value == pytest.approx(3.0, rel=0.5)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 10**6)), max_size=20))
def test_no_count_breaks_it(counts):
    learnt = Dispersion(prior(), 0.99)
    for count, mean in counts:
        learnt.learn(count, mean)
    learnt.settle()
    assert 0.005 < learnt.value < 24
    assert sum(learnt.posterior()) == pytest.approx(1.0)
