"""The rates of mail as PromQL: each is defined once here, for the panel that shows it and the rule that judges it.

A rate divides two sums of event-time window gauges; numerator, denominator and the bad events that its verdict needs
are named by measure. Averages of ratios appear nowhere: a rate over several providers or nodes sums first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboards import thresholds
from dashboards.promql import Series, metric, total
from dashboards.thresholds import MIN_EVENTS, Line

__all__ = ["BLOCK", "BOUNCE", "COMPLAINT", "DEFERRAL", "DELIVERY", "HARD", "Rate", "Share"]

_RECIPIENTS = ("mtascope_window_recipients", "measure")
_ATTEMPTS = ("mtascope_window_attempts", "outcome")


@dataclass(frozen=True, slots=True)
class Rate:
    """`part` of `whole`, both sums of one window gauge; `bad` are the events that count against the line.

    `gauge` is that metric and the label which tells its measures apart.
    """

    name: str
    part: tuple[str, ...]
    whole: tuple[str, ...]
    meaning: str
    line: Line
    bad: tuple[str, ...]
    gauge: tuple[str, str] = _RECIPIENTS

    def over(self, window: str | None, *labels: str, select: Callable[[str], Series] = metric) -> Share:
        """The rate in one window (`1h`, or a variable), for each combination of these labels.

        None leaves all windows in: then `window` must be one of the labels, for windows do not add up.
        """
        name, label = self.gauge
        windowed = select(name).where(window=window) if window else select(name)

        def sum_of(measures: tuple[str, ...]) -> str:
            return total(windowed.where(**{label: measures}), *labels)

        return Share(sum_of(self.part), sum_of(self.whole), sum_of(self.bad), self.line, self.meaning)


@dataclass(frozen=True, slots=True)
class Share:
    """One sum as part of another: PromQL for its value, its volume, and whether it may be judged.

    The three expressions carry the same labels; `bad` counts the events that speak against the line.
    """

    part: str
    whole: str
    bad: str
    line: Line
    meaning: str

    @property
    def value(self) -> str:
        """The share, 0 to 1; nothing where nothing was counted."""
        return f"{self.part} / ({self.whole} > 0)"

    @property
    def judged(self) -> str:
        """The share where volume allows a verdict, else nothing."""
        return f"{self.value}\nand ({self.whole} >= {self.line.floor} unless ({self._chance}))"

    @property
    def unjudged(self) -> str:
        """The share where there are too few events for a verdict, else nothing."""
        return f"{self.value}\nand ({self.whole} < {self.line.floor} or ({self._chance}))"

    @property
    def _chance(self) -> str:
        """True where the share looks bad for a handful of events: that is no verdict."""
        side = ">=" if self.line.high_is_bad else "<"
        return f"{self.part} {side} {self.line.warning:g} * {self.whole} and {self.bad} < {MIN_EVENTS}"


DELIVERY = Rate(
    "Delivery rate",
    part=("delivered",),
    whole=("sent",),
    meaning="recipients delivered / recipients with an outcome (delivered, bounced or expired)",
    line=thresholds.DELIVERY,
    bad=("bounced", "expired"),
)
BOUNCE = Rate(
    "Bounce rate",
    part=("bounced", "expired", "oob_bounced"),
    whole=("sent",),
    meaning="recipients bounced, expired or bounced late (when the report came in) / recipients with an outcome",
    line=thresholds.BOUNCE,
    bad=("bounced", "expired", "oob_bounced"),
)
BLOCK = Rate(
    "Block rate",
    part=("block",),
    whole=("sent",),
    meaning="recipients refused because of who we are (reputation, authentication, policy) / with an outcome",
    line=thresholds.BOUNCE,
    bad=("block",),
)
HARD = Rate(
    "Hard bounce rate",
    part=("hard",),
    whole=("sent",),
    meaning="recipients whose address or domain does not exist / recipients with an outcome",
    line=thresholds.HARD,
    bad=("hard",),
)
COMPLAINT = Rate(
    "Complaint rate",
    part=("complained",),
    whole=("complainable",),
    meaning="complaints / recipients delivered at providers that run a feedback loop; nothing where none does",
    line=thresholds.COMPLAINT,
    bad=("complained",),
)
DEFERRAL = Rate(
    "Attempt deferral rate",
    part=("deferred",),
    whole=("delivered", "deferred", "bounced"),
    meaning="attempts answered with 4xx / attempts that the provider answered",
    line=thresholds.DEFERRAL,
    bad=("deferred",),
    gauge=_ATTEMPTS,
)
