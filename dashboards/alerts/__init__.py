"""The alerts that ship, and the recording rules under them.

Each module is about one matter: `mail` (what providers do with it), `burn` (the delivery objective), `queues` (what
waits), `mta` (the bundled MTA), `dmarc` (what reports say), `collector`, `suite` (our own parts), `machine`. An alert's
`severity` says who must hear of it, its `scope` and `matter` which others it makes superfluous: the Alertmanager
configuration in `deploy/` inhibits by them.
"""

from __future__ import annotations

from dashboards import fleet
from dashboards.alerts import burn, collector, dmarc, machine, mail, mta, queues, suite
from dashboards.rules import Alert, Group

__all__ = ["ALERTS", "GROUPS"]

GROUPS: tuple[Group, ...] = (
    fleet.GROUP,
    *mail.GROUPS,
    burn.GROUP,
    queues.GROUP,
    mta.GROUP,
    dmarc.GROUP,
    collector.GROUP,
    suite.GROUP,
    machine.GROUP,
)
"""Everything, in the order of the rule file."""

ALERTS: tuple[Alert, ...] = tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))
