"""The alerts that ship, and the recording rules under them.

Verdicts on mail compare event-time window gauges, never the rate of a counter: a backfill of old logs moves counters
but no window, and so wakes nobody. A spike must be high in itself, high against the provider's own past, and rest on
enough mail. A provider without a past is assumed to have an ordinary one.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboards import rates, thresholds
from dashboards.promql import metric
from dashboards.rates import Rate
from dashboards.rules import Alert, Group, Record
from dashboards.thresholds import MIN_EVENTS

__all__ = ["ALERTS", "GROUPS", "SPIKE_FACTOR"]

SPIKE_FACTOR = 3
"""So many times its own past makes a share a spike."""

_SUITE = ("job", "instance")
_PROVIDER = (*_SUITE, "provider")
_SAME_PROVIDER = f"on ({', '.join(_PROVIDER)})"
_ISP_BOARD = "/d/mtascope-isp?var-provider={{ $labels.provider }}"
_DELIVERY_BOARD = "/d/mtascope-delivery"
_INFRASTRUCTURE_BOARD = "/d/mtascope-infrastructure"


@dataclass(frozen=True, slots=True)
class _Judged:
    """The recorded series under the verdicts on one rate, by provider and window."""

    rate: Rate
    part: Record
    whole: Record
    ratio: Record
    baseline: Record

    @property
    def records(self) -> tuple[Record, ...]:
        """In the order in which they depend on each other."""
        return self.part, self.whole, self.ratio, self.baseline

    def spike(self, window: str) -> str:
        """High in itself, on enough mail, and not what this provider's past makes normal."""
        ratio, line = self.ratio.where(window=window), self.rate.line
        provider = f"min by ({', '.join(_PROVIDER)})"
        past = f"({provider} ({self.baseline}) or 0 * {provider} ({ratio}) + {line.usual:g})"
        return (
            f"(\n  {ratio} >= {line.critical:g}\n"
            f"  and {self.whole.where(window=window)} >= {line.floor}\n"
            f"  and {self.part.where(window=window)} >= {MIN_EVENTS}\n)\n"
            f"unless {_SAME_PROVIDER} (\n"
            f"  {ratio} <= {_SAME_PROVIDER} {SPIKE_FACTOR} * {past}\n)"
        )

    def numbers(self, window: str) -> str:
        """What a reader asks first, as alert template: of how many, and what is normal."""
        volume = _looked_up(f'{self.whole}{{{_HERE},window="{window}"}}', "humanize")
        normal = _looked_up(f"min({self.baseline}{{{_HERE}}})", "humanizePercentage")
        return f"of {volume} in the last {window}; its own past: {normal}"


_HERE = ",".join(f"{label}=%q" for label in _PROVIDER)


def _looked_up(pattern: str, form: str) -> str:
    """A template that fills the alert's provider into the pattern and shows the value of that query, if it has one."""
    query = f"printf `{pattern}` {' '.join(f'$labels.{label}' for label in _PROVIDER)} | query"
    return f"{{{{ with {query} }}}}{{{{ . | first | value | {form} }}}}{{{{ else }}}}unknown{{{{ end }}}}"


def _judged(rate: Rate, stem: str) -> _Judged:
    share = rate.over(None, *_PROVIDER, "window")
    level = f"provider_window:mtascope_{stem}"
    part = Record(f"{level}_part:sum", share.part)
    whole = Record(f"{level}_whole:sum", share.whole)
    ratio = Record(f"{level}:ratio", f"{part} / ({whole} > 0)")
    baseline = Record(f"{level}:baseline_ratio", f"{_past(part)}\n/ ({_past(whole)} >= {rate.line.floor})")
    return _Judged(rate, part, whole, ratio, baseline)


def _past(record: Record) -> str:
    """Six hours and a day without their last hour: what is normal, untouched by what is happening now."""
    return f'({record}{{window=~"6h|1d"}} - {_SAME_PROVIDER} group_left () {record.where(window="1h")})'


_BOUNCES = _judged(rates.BOUNCE, "bounce")
_DEFERRALS = _judged(rates.DEFERRAL, "attempt_deferral")

_BOUNCE_SPIKE = Alert(
    "MtascopeBounceSpike",
    _BOUNCES.spike("5m"),
    "critical",
    "{{ $labels.provider }} bounces {{ $value | humanizePercentage }} of our mail",
    f"{{{{ $labels.provider }}}} bounced {{{{ $value | humanizePercentage }}}} {_BOUNCES.numbers('5m')}. "
    "Look at the failures by class on the board: a block asks you to stop and repair, bad addresses to stop that list.",
    _ISP_BOARD,
    keep="15m",
)
_DEFERRAL_SURGE = Alert(
    "MtascopeDeferralSurge",
    _DEFERRALS.spike("15m"),
    "warning",
    "{{ $labels.provider }} defers {{ $value | humanizePercentage }} of our attempts",
    f"{{{{ $labels.provider }}}} answered 4xx to {{{{ $value | humanizePercentage }}}} {_DEFERRALS.numbers('15m')}. "
    "Mail is late, not lost; if it goes on, the queue grows and messages expire.",
    _ISP_BOARD,
    lasting="10m",
    keep="15m",
)
_IDENTITY_BROKEN = Alert(
    "MtascopeIdentityBroken",
    f"abs({metric('mtascope_identity_broken_recipients')}) >= {thresholds.IDENTITY.critical:g}",
    "critical",
    "The counts of {{ $labels.instance }} do not add up",
    "{{ $value }} recipients are in no outcome or in two: injected is not the sum of the others. Rates of this suite "
    "may be wrong by that much.",
    _DELIVERY_BOARD,
)
_BY_SUITE = f"by ({', '.join(_SUITE)})"
_INJECTED_TODAY = metric("mtascope_window_recipients").where(window="1d", measure="injected")
_WATERMARK_STALE = Alert(
    "MtascopeWatermarkStale",
    f"time() - max {_BY_SUITE} ({metric('mtascope_watermark_timestamp_seconds')})"
    f" > {thresholds.STALENESS.critical:g}\n"
    f"and sum {_BY_SUITE} ({_INJECTED_TODAY}) >= {thresholds.STEADY_FLEET}",
    "critical",
    "{{ $labels.instance }} has seen no new records for {{ $value | humanizeDuration }}",
    "The newest record of any node is {{ $value | humanizeDuration }} old: no mail flows, or its records do not reach "
    "the store. Until then no alert on mail can fire.",
    _DELIVERY_BOARD,
)
_QUARANTINE_GROWING = Alert(
    "MtascopeQuarantineGrowing",
    f"sum {_BY_SUITE} ({metric('mtascope_quarantined_records')})\n"
    f"- (sum {_BY_SUITE} ({metric('mtascope_quarantined_records')} offset 15m)\n"
    # an empty quarantine has no series: what the suite showed at that time counts as 0
    f"   or 0 * sum {_BY_SUITE} ({metric('mtascope_snapshot_timestamp_seconds')} offset 15m)) >= {MIN_EVENTS}",
    "warning",
    "{{ $labels.instance }} cannot read part of its input",
    "{{ $value }} records went to quarantine within 15 minutes. They are kept, but count nowhere until they are loaded "
    "again: a node may have begun to write another format.",
    _INFRASTRUCTURE_BOARD,
)
_DOWN = Alert(
    "MtascopeDown",
    f"{metric('up').where(job='mtascope')} == 0\nor absent({metric('up').where(job='mtascope')})",
    "critical",
    "mtascope cannot be scraped{{ with $labels.instance }} at {{ . }}{{ end }}",
    "{{ with $labels.instance }}The metrics endpoint of {{ . }} has not answered{{ else }}Prometheus has had no "
    "target of the job mtascope{{ end }} for two minutes. Mail flows on without it, but nothing watches it.",
    _INFRASTRUCTURE_BOARD,
    lasting="2m",
)

GROUPS: tuple[Group, ...] = (
    Group("mtascope-bounces", (*_BOUNCES.records, _BOUNCE_SPIKE)),
    Group("mtascope-deferrals", (*_DEFERRALS.records, _DEFERRAL_SURGE)),
    Group("mtascope-suite", (_IDENTITY_BROKEN, _WATERMARK_STALE, _QUARANTINE_GROWING, _DOWN)),
)
"""Everything, in the order of the rule file."""

ALERTS: tuple[Alert, ...] = tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))
