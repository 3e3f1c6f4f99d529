"""What would have been told: the watch over stored history, with any settings, without keeping or sending anything.

It decides each step from its past only, like the live watch: the same code is fed the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from analytics import steps
from analytics.incidents.casebook import Casebook
from analytics.incidents.findings import StoredEvidence
from analytics.incidents.incident import Incident
from analytics.incidents.signals import FINE, Signals
from analytics.spikes import SpikeSettings
from analytics.steps import STEP
from analytics.store import Store
from mta.events.instants import DAY

__all__ = ["HISTORY", "WARM_UP", "replay"]

HISTORY = 28 * DAY
"""How much mail before the time asked for teaches what is normal."""
WARM_UP = DAY
"""Of this, what is judged already, so that an incident that began before is known as such."""


def replay(
    store: Store,
    *,
    since: int,
    until: int | None = None,
    settings: SpikeSettings | None = None,
    groups: Mapping[str, str] | None = None,
) -> list[Incident]:
    """Incidents that would have been open at some time in [`since`, `until`), the latest first.

    Without `until`, up to now. The step that is still running is left out: its counts would look like a lull. `groups`
    maps bounce classes to their groups, for the advice.
    """
    end = (store.clock() if until is None else until) // STEP * STEP
    begin = since // STEP * STEP - WARM_UP
    signals, book = Signals(settings), Casebook(StoredEvidence(store), groups)
    con = store.cursor()
    try:
        signals.teach(steps.read_past(con, begin - HISTORY, begin, FINE))
        counts = steps.read(con, begin, end)
    finally:
        con.close()
    found: dict[str, Incident] = {}
    for step, of_step in groupby(counts, key=lambda one: one.step):
        page = book.take(signals.observe(step, list(of_step)), step + STEP)
        found |= {incident.id: incident for incident in page.changed}
    wanted = [one for one in found.values() if one.closed is None or one.closed > since]
    return sorted(wanted, key=lambda one: (-one.opened, one.id))
