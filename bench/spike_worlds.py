"""Simulated fleets with known spikes: what `bench_spikes.py` judges detectors on.

Two worlds, after the description in `docs/spikes.md`: 30 series of 30 to 60,000 mails an hour in 5-minute steps, with a
rhythm of day and week, campaign bursts, slow drift and beta-binomial noise. *Plain*: normal bounce rates of 0.3 to 3 %,
rho .001 to .006. *Hard*: 0.3 to 10 %, rho .002 to .02, and a list quality that wanders with a log standard deviation
of .45. How quality moves is open, and it decides how hard the hard world is. With a quality for each campaign the rules
of others score as they do elsewhere, so that is *hard*; the two other ways (`Quality`) are harder still: their swings
are true changes, and who calls them false alarms gives an upper bound.
Everything follows from the seed. Detectors see only `sent` and `bounced`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from random import Random

STEPS_PER_HOUR = 12
STEPS_PER_DAY = 24 * STEPS_PER_HOUR
STEPS_PER_WEEK = 7 * STEPS_PER_DAY

_LIFTS = (0.05, 0.10, 0.30, 0.60)
_EXACT_BELOW = 40.0
"""Binomial variates of a smaller mean are drawn exactly, larger ones from the normal limit."""


class Quality(Enum):
    """How the quality of the lists moves in the hard world."""

    STEADY = "steady"
    WANDERING = "wandering"
    """A mean-reverting walk with a correlation time of a day."""
    DAILY = "daily"
    """Another list each day: a jump at midnight."""
    CAMPAIGN = "campaign"
    """Each campaign burst has a quality of its own."""


@dataclass(frozen=True, slots=True)
class WorldKind:
    """The ranges a world draws its series from."""

    name: str
    rates: tuple[float, float]
    rhos: tuple[float, float]
    quality: Quality = Quality.STEADY
    quality_sd: float = 0.0


PLAIN = WorldKind("plain", (0.003, 0.03), (0.001, 0.006))
HARD = WorldKind("hard", (0.003, 0.10), (0.002, 0.02), Quality.CAMPAIGN, 0.45)
HARD_WANDERING = WorldKind("hard, wandering lists", HARD.rates, HARD.rhos, Quality.WANDERING, 0.45)
HARD_DAILY = WorldKind("hard, daily lists", HARD.rates, HARD.rhos, Quality.DAILY, 0.45)


@dataclass(frozen=True, slots=True)
class Spike:
    """Steps `start` to `end` (exclusive) bounce by `lift` more; `extra` bounces are expected of the first hour."""

    start: int
    end: int
    lift: float
    extra: float


@dataclass(frozen=True, slots=True)
class SimulatedSeries:
    """Counts per step, and the truth."""

    name: str
    sent: list[int]
    bounced: list[int]
    spikes: list[Spike] = field(default_factory=list)


def simulate(kind: WorldKind, seed: int, *, weeks: int = 8, series: int = 30) -> list[SimulatedSeries]:
    """One world."""
    return [_series(kind, Random(f"{kind.name}/{seed}/{number}"), number, weeks) for number in range(series)]


def _series(kind: WorldKind, random: Random, number: int, weeks: int) -> SimulatedSeries:
    steps = weeks * STEPS_PER_WEEK
    bursts = _bursts(random, steps)
    volume = _volume(random, steps, bursts)
    rate = _normal_rate(kind, random, steps, bursts)
    rho = _log_uniform(random, kind.rhos)
    sent = [_poisson(random, mean) for mean in volume]
    spikes = _spikes(random, volume)
    lifts = [0.0] * steps
    for spike in spikes:
        lifts[spike.start : spike.end] = [spike.lift] * (spike.end - spike.start)
    bounced = [
        _beta_binomial(random, n, min(0.95, p + lift), rho) for n, p, lift in zip(sent, rate, lifts, strict=True)
    ]
    return SimulatedSeries(f"s{number:04d}", sent, bounced, spikes)


def _log_uniform(random: Random, bounds: tuple[float, float]) -> float:
    return math.exp(random.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _bursts(random: Random, steps: int) -> list[tuple[int, int, float, float]]:
    """Campaigns, about three a week: (start, end, times the volume, standard normal quality)."""
    found = []
    at = 0.0
    while (at := at + random.expovariate(3 / STEPS_PER_WEEK)) < steps:
        length = random.randint(STEPS_PER_HOUR // 2, 2 * STEPS_PER_HOUR)
        found.append((int(at), min(steps, int(at) + length), random.uniform(2, 8), random.gauss(0, 1)))
    return found


def _volume(random: Random, steps: int, bursts: list[tuple[int, int, float, float]]) -> list[float]:
    """Expected mails of each step."""
    hourly = _log_uniform(random, (30, 60_000))
    swing, weekend, phase = random.uniform(0.2, 0.8), random.uniform(0.3, 0.9), random.uniform(0, 2 * math.pi)
    mean = hourly / STEPS_PER_HOUR
    volume = []
    noise = 1.0
    for step in range(steps):
        if step % STEPS_PER_HOUR == 0:
            noise = math.exp(random.gauss(0, 0.2))
        day = step // STEPS_PER_DAY % 7
        rhythm = 1 + swing * math.sin(2 * math.pi * step / STEPS_PER_DAY + phase)
        volume.append(mean * rhythm * noise * (weekend if day >= 5 else 1.0))
    for start, end, times, _ in bursts:
        for step in range(start, end):
            volume[step] *= times
    return volume


def _normal_rate(
    kind: WorldKind, random: Random, steps: int, bursts: list[tuple[int, int, float, float]]
) -> list[float]:
    """The bounce rate of each step without spikes."""
    base = _log_uniform(random, kind.rates)
    swing, phase = random.uniform(0, 0.25), random.uniform(0, 2 * math.pi)
    drift = 0.0
    quality = random.gauss(0, kind.quality_sd)
    keep = math.exp(-1 / 24)
    rates = []
    for step in range(steps):
        if step % STEPS_PER_HOUR == 0:
            drift += random.gauss(0, 0.03 / math.sqrt(24))
            if kind.quality is Quality.WANDERING:
                quality = keep * quality + random.gauss(0, kind.quality_sd * math.sqrt(1 - keep * keep))
            elif kind.quality is Quality.DAILY and step % STEPS_PER_DAY == 0:
                quality = random.gauss(0, kind.quality_sd)
        moving = quality if kind.quality in {Quality.WANDERING, Quality.DAILY} else 0.0
        rhythm = 1 + swing * math.sin(2 * math.pi * step / STEPS_PER_DAY + phase)
        rates.append(base * rhythm * math.exp(drift + moving))
    if kind.quality is Quality.CAMPAIGN:
        for start, end, _, normal in bursts:
            rates[start:end] = [rate * math.exp(kind.quality_sd * normal) for rate in rates[start:end]]
    return [min(rate, 0.5) for rate in rates]


def _spikes(random: Random, volume: list[float]) -> list[Spike]:
    """About two a week, an hour to four long, at least half a day apart."""
    spikes = []
    at = STEPS_PER_DAY
    while True:
        at += STEPS_PER_DAY // 2 + int(random.expovariate(1 / (3 * STEPS_PER_DAY)))
        length = random.randint(STEPS_PER_HOUR, 4 * STEPS_PER_HOUR)
        if at + length >= len(volume):
            return spikes
        lift = random.choice(_LIFTS)
        spikes.append(Spike(at, at + length, lift, lift * sum(volume[at : at + STEPS_PER_HOUR])))
        at += length


def _poisson(random: Random, mean: float) -> int:
    if mean > _EXACT_BELOW:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    count, left = 0, random.expovariate(1.0)
    while left < mean:
        count += 1
        left += random.expovariate(1.0)
    return count


def _beta_binomial(random: Random, n: int, p: float, rho: float) -> int:
    if n == 0:
        return 0
    weight = 1 / rho - 1
    return _binomial(random, n, random.betavariate(p * weight, (1 - p) * weight))


def _binomial(random: Random, n: int, p: float) -> int:
    if p > 0.5:
        return n - _binomial(random, n, 1 - p)
    mean = n * p
    if mean > _EXACT_BELOW:
        return min(n, max(0, round(random.gauss(mean, math.sqrt(mean * (1 - p))))))
    if p < 1e-12:
        return 0
    # Gaps between successes are geometric: as many draws as successes.
    count, at, log_miss = 0, 0, math.log1p(-p)
    while (at := at + 1 + int(math.log(1.0 - random.random()) / log_miss)) <= n:
        count += 1
    return count
