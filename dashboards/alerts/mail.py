"""What mailbox providers do with our mail: bounces, blocks, deferrals, complaints, silence."""

from __future__ import annotations

from dashboards import rates, thresholds
from dashboards.alerts.judged import BY_PROVIDER, BY_SUITE, SUITE, judged
from dashboards.promql import metric
from dashboards.rules import Alert, Group
from dashboards.thresholds import MIN_EVENTS

__all__ = ["GROUPS"]

_ISP_BOARD = "/d/mtascope-isp?var-provider={{ $labels.provider }}"
_DELIVERY_BOARD = "/d/mtascope-delivery"
_SHARE = "{{ $value | humanizePercentage }}"
_PROVIDER = "{{ $labels.provider }}"

_BOUNCES = judged(rates.BOUNCE, "bounce", "bounce")
_BLOCKS = judged(rates.BLOCK, "block", "block")
_DEFERRALS = judged(rates.DEFERRAL, "attempt_deferral", "deferral")
_COMPLAINTS = judged(rates.COMPLAINT, "complaint", "complaint")

_BOUNCE_SPIKE = Alert(
    "MtascopeBounceSpike",
    _BOUNCES.spike("5m"),
    "critical",
    f"{_PROVIDER} bounces {_SHARE} of our mail",
    f"{_PROVIDER} bounced {_SHARE} {_BOUNCES.numbers('5m')}. "
    "Look at the failures by class on the board: a block asks you to stop and repair, bad addresses to stop that list.",
    _ISP_BOARD,
    keep="15m",
    scope="mail",
    matter="bounces",
)
_BLOCKED = Alert(
    "MtascopeBlocked",
    _BLOCKS.spike("15m"),
    "critical",
    f"{_PROVIDER} refuses {_SHARE} of our mail for who we are",
    f"{_PROVIDER} refused {_SHARE} {_BLOCKS.numbers('15m')}, for reputation, authentication or policy. "
    "Every further attempt makes a block worse: slow down, find what changed, then ask for delisting.",
    _ISP_BOARD,
    keep="15m",
    scope="mail",
    matter="blocks",
)
_DEFERRAL_SURGE = Alert(
    "MtascopeDeferralSurge",
    _DEFERRALS.spike("15m"),
    "warning",
    f"{_PROVIDER} defers {_SHARE} of our attempts",
    f"{_PROVIDER} answered 4xx to {_SHARE} {_DEFERRALS.numbers('15m')}. "
    "Mail is late, not lost; if it goes on, the queue grows and messages expire.",
    _ISP_BOARD,
    lasting="10m",
    keep="15m",
    scope="mail",
    matter="deferrals",
)
_COMPLAINTS_HIGH = Alert(
    "MtascopeComplaintsHigh",
    _COMPLAINTS.above(rates.COMPLAINT.line.warning, "1d"),
    "warning",
    f"{_SHARE} of recipients at {_PROVIDER} complain",
    f"Complaints at {_PROVIDER} are {_SHARE} of what it took in a day. Gmail and Yahoo ask senders to stay below 0.1 "
    "%. Find the campaign on the board and look at who was mailed and why.",
    _ISP_BOARD,
    lasting="15m",
    keep="1h",
    scope="mail",
    matter="complaints",
)
_COMPLAINTS_CRITICAL = Alert(
    "MtascopeComplaintsCritical",
    _COMPLAINTS.above(rates.COMPLAINT.line.critical, "1d"),
    "critical",
    f"{_SHARE} of recipients at {_PROVIDER} complain: providers block at this rate",
    f"Complaints at {_PROVIDER} are {_SHARE} of what it took in a day, over the 0.3 % at which Gmail and Yahoo stop "
    "helping a sender. Stop the campaign behind it now.",
    _ISP_BOARD,
    keep="1h",
    scope="mail",
    matter="complaints",
)
_RECIPIENTS = metric("mtascope_window_recipients")
_HARD, _SENT = _RECIPIENTS.where(window="1h", measure="hard"), _RECIPIENTS.where(window="1h", measure="sent")
_BAD_ADDRESSES = Alert(
    "MtascopeBadAddresses",
    f"sum {BY_SUITE} ({_HARD}) / (sum {BY_SUITE} ({_SENT}) >= {thresholds.HARD.floor}) >= "
    f"{thresholds.HARD.critical:g}\nand sum {BY_SUITE} ({_HARD}) >= {10 * MIN_EVENTS}",
    "warning",
    f"{_SHARE} of the addresses mailed in the last hour do not exist",
    f"{_SHARE} of recipients with an outcome bounced for good because the address or its domain does not exist. That "
    "is a bad list, at all providers at once; providers judge a sender by it. Find the campaign and stop it.",
    _DELIVERY_BOARD,
    lasting="10m",
    keep="15m",
    scope="mail",
    matter="bounces",
)
_DELIVERED_HOUR = f"sum {BY_PROVIDER} ({_RECIPIENTS.where(window='1h', measure='delivered')})"
_DELIVERED_DAY = f"sum {BY_PROVIDER} ({_RECIPIENTS.where(window='1d', measure='delivered')})"
_WAITING = f"sum {BY_PROVIDER} ({metric('mtascope_in_flight_recipients')})"
_PROVIDER_SILENT = Alert(
    "MtascopeProviderSilent",
    f"{_WAITING} >= {thresholds.STUCK}\n"
    f"and {_DELIVERED_HOUR} == 0\n"
    f"and ({_DELIVERED_DAY} - {_DELIVERED_HOUR}) / 23 >= {thresholds.STUCK}",
    "critical",
    f"Nothing reaches {_PROVIDER}, and {{{{ $value }}}} recipients wait",
    f"{_PROVIDER} has taken no mail of ours for an hour, though it takes hundreds in an ordinary one, and "
    f"{{{{ $value }}}} recipients wait for it. It may be down, unreachable from here, or refuse our connections.",
    _ISP_BOARD,
    lasting="10m",
    scope="mail",
    matter="silence",
)
_INCIDENT = Alert(
    "MtascopeIncidentOpen",
    f"sum by ({', '.join(SUITE)}, kind, provider) ({metric('mtascope_incident_open')}) > 0",
    "info",
    f"An incident is open: {{{{ $labels.kind }}}} at {_PROVIDER}",
    f"The detector has opened an incident ({{{{ $labels.kind }}}}) that shows at {_PROVIDER}. `mtascope incidents` "
    "names its cause, since when, and what to do.",
    _DELIVERY_BOARD,
    lasting="1m",
    scope="mail",
    matter="incidents",
)

GROUPS = (
    Group("mtascope-bounces", (*_BOUNCES.records, _BOUNCE_SPIKE, _BAD_ADDRESSES)),
    Group("mtascope-blocks", (*_BLOCKS.records, _BLOCKED)),
    Group("mtascope-deferrals", (*_DEFERRALS.records, _DEFERRAL_SURGE)),
    Group("mtascope-complaints", (*_COMPLAINTS.records, _COMPLAINTS_HIGH, _COMPLAINTS_CRITICAL)),
    Group("mtascope-flow", (_PROVIDER_SILENT, _INCIDENT)),
)
"""The records and alerts on mail, a group for each matter."""
