"""The lines between fine, worth watching and bad: one constant each, used by the panel that shows it and the alert.

A verdict needs volume: a share is judged only when a single event could not cross the line (`floor`), and it is
called bad only for at least `MIN_EVENTS` events. Below that the number is shown without colour and raises no alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from exporter.catalogue import LINES

__all__ = [
    "BACKLOG",
    "BOUNCE",
    "CLOCK",
    "COMPLAINT",
    "CPU_BUSY",
    "DEAD_LETTERS",
    "DEFERRAL",
    "DELIVERY",
    "DISK_FILLING",
    "DISK_FREE",
    "DMARC_PASS",
    "DMARC_VOLUME",
    "FIRING",
    "HARD",
    "IDENTITY",
    "LAG",
    "LANDING",
    "MEMORY_FREE",
    "MIN_EVENTS",
    "NEW_SENDERS",
    "NOTIFICATIONS",
    "QUARANTINED",
    "QUEUE_AGE",
    "QUEUE_GROWTH",
    "REPORTS",
    "SERIES",
    "SNAPSHOT",
    "SPOOL_FREE",
    "STALENESS",
    "STEADY_FLEET",
    "STUCK",
    "SYNC_TIME",
    "TLS",
    "UNKNOWN",
    "WATCH",
    "Line",
]

MIN_EVENTS = 5
"""So many bad events make a bad verdict; fewer may be chance whatever their share."""


@dataclass(frozen=True, slots=True)
class Line:
    """Two bounds on a number. `high_is_bad` says on which side of them trouble lies. Equal bounds: bad at once.

    `usual` is what to assume of a provider whose past is unknown, where an alert compares with the past.
    """

    warning: float
    critical: float
    high_is_bad: bool = True
    usual: float = 0.0

    def __post_init__(self) -> None:
        if self.warning != self.critical and (self.warning < self.critical) != self.high_is_bad:
            raise ValueError(f"critical {self.critical} lies on the good side of warning {self.warning}")

    @property
    def floor(self) -> int:
        """The least volume for a verdict on a share: one event among so many does not cross the warning line."""
        return ceil(round(1 / (self.warning if self.high_is_bad else 1 - self.warning), 9))

    def __str__(self) -> str:
        """How the line reads under a percentage."""
        fine, bad = ("below", "from") if self.high_is_bad else ("from", "below")
        return f"fine {fine} {self.warning * 100:g} %, bad {bad} {self.critical * 100:g} %"


def _line(rate: str, usual: float = 0.0) -> Line:
    """The line of a rate as everybody else draws it."""
    threshold = LINES[rate]
    return Line(threshold.warning, threshold.bad, high_is_bad=not threshold.low_is_bad, usual=usual)


DELIVERY = _line("delivery_rate")
"""Share of recipients with an outcome that were delivered."""
BOUNCE = _line("bounce_rate", usual=0.02)
"""Share of recipients with an outcome that bounced, expired or came back late."""
DEFERRAL = _line("attempt_deferral_rate", usual=0.17)
"""Share of attempts that the provider answered with a 4xx. Greylisting alone makes it one in two
for a newcomer, so what is assumed of an unknown past calls only more than that a surge."""
COMPLAINT = _line("complaint_rate")
"""Share of delivered recipients that complained: where Gmail and Yahoo ask senders to stay, and where they block."""
UNKNOWN = Line(0.03, 0.05)
"""Share of failures whose reason no rule knows."""
TLS = Line(0.99, 0.95, high_is_bad=False)
"""Share of connections that ended encrypted, of those where TLS was tried."""

HARD = Line(0.02, 0.05)
"""Share of recipients with an outcome whose address does not exist: where list brokers' addresses begin to show."""

DMARC_PASS = Line(0.98, 0.9, high_is_bad=False)
"""Share of the messages in reports that passed DMARC; forwarding alone costs one in a hundred."""
DMARC_VOLUME = 100
"""Messages reported in a week, below which a share of them says little."""
NEW_SENDERS = Line(20, 100)
"""Messages in a week from unknown sources that were not there before."""
REPORTS = Line(2 * 86_400, 4 * 86_400)
"""Seconds since the last aggregate report; most receivers send one a day."""

IDENTITY = Line(1, 1)
"""Recipients that the counting identity cannot explain."""
STALENESS = Line(300, 900)
"""Seconds between now and the event time that the data has reached."""
STEADY_FLEET = 14_400
"""So many recipients a day, ten a minute on average, that a quarter of an hour of silence is news."""
STUCK = 100
"""So many recipients waiting are not a few odd domains."""
BACKLOG = 1000
"""Growth of a queue within an hour that is news, in recipients."""
QUEUE_GROWTH = 2.0
"""And how many times as many as an hour ago."""
QUEUE_AGE = Line(3600, 4 * 3600)
"""Seconds that the oldest recipient has waited."""
QUARANTINED = Line(1, 100)
"""Records that could not be read."""
DEAD_LETTERS = Line(1, 20)
"""Messages that can be neither delivered nor returned."""
FIRING = Line(1, 5)
"""Alerts firing at the same time."""
SERIES = Line(10_000, 20_000)
"""Series on one /metrics page."""
CPU_BUSY = Line(0.80, 0.95)
"""Share of CPU time not idle."""
MEMORY_FREE = Line(0.20, 0.10, high_is_bad=False)
"""Share of memory that programs can still get."""
DISK_FREE = Line(0.20, 0.10, high_is_bad=False)
"""Share of a file system that is free."""
DISK_FILLING = 0.4
"""A file system that is freer than this is not called filling, whatever its trend."""
SPOOL_FREE = Line(8 * 2**30, 2**30, high_is_bad=False)
"""Bytes free for the spool; at 256 MiB new mail is refused."""
LAG = Line(60, 300)
"""Seconds from a record's writing to its storing."""
LANDING = Line(0.5, 0.8)
"""Share of a road's room on disk that is in use."""
CLOCK = Line(10, 60)
"""Seconds that a node's clock runs ahead."""
WATCH = Line(1200, 3600)
"""Seconds since the last step that the watch for spikes has judged."""
NOTIFICATIONS = Line(1, 10)
"""Notifications of incidents that nobody has taken yet."""
SNAPSHOT = Line(30, 120)
"""Seconds since the figures of the metrics page were computed."""
SYNC_TIME = Line(0.05, 0.5)
"""Seconds for one fsync of the spool's journal: every accepted message waits for it."""
