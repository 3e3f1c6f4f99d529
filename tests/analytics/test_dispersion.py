"""Intervals are as wide as failures clump."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from analytics import dispersion
from analytics.dispersion import Clumping
from analytics.rates import Question, ask
from analytics.ratios import wilson
from analytics.store import Store
from mta.events.event import Event, EventType
from mta.events.instants import HOUR, MINUTE
from mta.events.intake import Batch
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000 // HOUR * HOUR


def sums(clumps: list[tuple[int, int]]) -> Clumping:
    """Of (recipients, failures)."""
    n, k = sum(n for n, _ in clumps), sum(k for _, k in clumps)
    return Clumping.of_sums(len(clumps), n, k, sum(k * k / n for n, k in clumps), sum(n * n for n, _ in clumps))


def test_recipients_that_fail_one_by_one_need_no_widening() -> None:
    rng = random.Random(1)
    found = sums([(100, sum(rng.random() < 0.1 for _ in range(100))) for _ in range(400)])
    assert found.rho < 0.003
    assert found.size == 100


def test_clumps_that_fail_as_one_are_single_recipients() -> None:
    found = sums([(100, 100)] * 10 + [(100, 0)] * 90)
    assert found.rho == 0.5  # the most that is believed
    assert found.phi(10_000) == pytest.approx(1 + 99 * 0.5)
    assert found.phi(2) == 1.5  # of two recipients at most two are alike


def test_the_fit_finds_how_alike_clumps_were_made() -> None:
    rng = random.Random(7)
    rho, share = 0.1, 0.2
    a, b = share * (1 / rho - 1), (1 - share) * (1 / rho - 1)
    clumps = []
    for _ in range(3000):
        own = rng.betavariate(a, b)
        clumps.append((30, sum(rng.random() < own for _ in range(30))))
    assert sums(clumps).rho == pytest.approx(rho, abs=0.015)


def test_a_wider_variance_is_that_of_fewer_recipients() -> None:
    assert wilson(30, 300, phi=3.0) == pytest.approx(wilson(10, 100))
    assert wilson(0, 300, phi=3.0)[0] == 0


@pytest.fixture
def clumped(store: Store) -> Store:
    """Forty campaigns of twenty; every tenth fails whole at gmail. At yahoo each second recipient of every one does."""
    events = []
    for campaign in range(40):
        for number in range(20):
            for domain, fails in (("gmail.com", campaign % 10 == 0), ("yahoo.com", number % 2 == 0)):
                received = Event(
                    type=EventType.RECEPTION, time=START + campaign * MINUTE, created=START + campaign * MINUTE,
                    node="n", mta="kumomta", queue_id=f"{campaign}-{number}-{domain}", recipient=f"u{number}@{domain}",
                    campaign=f"c{campaign}",
                )  # fmt: skip
                kind, code = (EventType.BOUNCE, 550) if fails else (EventType.DELIVERY, 250)
                reply = SmtpReply(code, None, "said")
                events += [received, replace(received, type=kind, time=received.time + 1, attempt=1, reply=reply)]
    assert store.load(Batch("test", [(event,) for event in events])).adds_up
    return store


def test_each_provider_has_the_clumping_of_its_own_mail(clumped: Store) -> None:
    before = {row.key["provider"]: row.rates["bounce_rate"] for row in ask(clumped, Question())}
    assert {rate.phi for rate in before.values()} == {1.0}
    dispersion.fit(clumped)
    after = {row.key["provider"]: row.rates["bounce_rate"] for row in ask(clumped, Question())}
    assert (after["gmail"].num, after["gmail"].den) == (before["gmail"].num, before["gmail"].den) == (80, 800)
    assert after["gmail"].phi == pytest.approx(1 + 19 * 0.5)
    assert (
        (after["gmail"].low or 0)
        < (before["gmail"].low or 0)
        < 0.1
        < (before["gmail"].high or 0)
        < (after["gmail"].high or 0)
    )
    assert after["yahoo"].phi == 1.0
    [chosen] = ask(clumped, Question(by=(), where={"provider": ["gmail"]}))
    assert chosen.rates["bounce_rate"].phi == after["gmail"].phi


def test_a_provider_with_few_clumps_is_judged_by_all_mail(clumped: Store) -> None:
    dispersion.fit(clumped)
    known = dispersion.read(clumped)
    bounce = next(rate for rate in dispersion.RATES if rate.name == "bounce_rate")
    assert known.phi("seznam", bounce, 20) == known.phi(None, bounce, 20) > 1
