"""The delivery objective, and how fast its error budget burns.

Of the recipients with an outcome, `OBJECTIVE` are to be delivered; the rest is the budget of 30 days. An alert fires
when the budget burns so many times too fast in a long window and still does in a short one: the long window makes it
worth waking for, the short one ends it when the trouble ends. The windows are event-time gauges, so a backfill burns
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.alerts.judged import SUITE
from dashboards.promql import metric
from dashboards.rules import Alert, Group, Record
from dashboards.thresholds import DELIVERY, MIN_EVENTS

__all__ = ["GROUP", "OBJECTIVE"]

OBJECTIVE = DELIVERY.warning
"""Share of recipients with an outcome that are to be delivered: where the delivery rate stops being fine."""

_LEVEL = "suite_window:mtascope_undelivered"
_BY_WINDOW = f"by ({', '.join(SUITE)}, window)"
_RECIPIENTS = metric("mtascope_window_recipients")
_PART = Record(f"{_LEVEL}_part:sum", f"sum {_BY_WINDOW} ({_RECIPIENTS.where(measure=('bounced', 'expired'))})")
_WHOLE = Record(f"{_LEVEL}_whole:sum", f"sum {_BY_WINDOW} ({_RECIPIENTS.where(measure='sent')})")
_RATIO = Record(f"{_LEVEL}:ratio", f"{_PART} / ({_WHOLE} > 0)")


@dataclass(frozen=True, slots=True)
class _Burn:
    """`factor` times too fast, over `long` and `short`."""

    name: str
    factor: float
    long: str
    short: str
    severity: str
    lasting: str

    @property
    def alert(self) -> Alert:
        bound = self.factor * (1 - OBJECTIVE)
        same = f"on ({', '.join(SUITE)})"
        short = f"{_RATIO.where(window=self.short)} >= {bound:g}"
        enough = f"{_WHOLE.where(window=self.short)} >= {DELIVERY.floor}"
        bad = f"{_PART.where(window=self.short)} >= {MIN_EVENTS}"
        return Alert(
            self.name,
            f"{_RATIO.where(window=self.long)} >= {bound:g}\nand {same} {short}\nand {same} {enough}\nand {same} {bad}",
            self.severity,
            f"{{{{ $value | humanizePercentage }}}} of mail was not delivered in the last {self.long}",
            f"Over {self.long}, {{{{ $value | humanizePercentage }}}} of recipients with an outcome were not "
            f"delivered, and it goes on: the budget of {(1 - OBJECTIVE) * 100:g} % burns {self.factor:g} times "
            "too fast.",
            "/d/mtascope-delivery",
            lasting=self.lasting,
            scope="mail",
            matter="objective",
        )


_BURNS = (
    _Burn("MtascopeDeliveryBurnsFast", 14.4, "1h", "5m", "critical", "2m"),
    _Burn("MtascopeDeliveryBurnsSteadily", 6, "6h", "15m", "critical", "15m"),
    _Burn("MtascopeDeliveryBurnsSlowly", 3, "1d", "1h", "warning", "30m"),
    _Burn("MtascopeDeliveryBurnsOnAndOn", 1, "3d", "6h", "info", "60m"),
)

GROUP = Group("mtascope-objective", (_PART, _WHOLE, _RATIO, *(burn.alert for burn in _BURNS)))
"""The records, and an alert for each speed."""
