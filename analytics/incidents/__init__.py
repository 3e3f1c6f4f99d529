"""Incidents: from the signals of the spike detector and the safety nets to one trouble with its cause."""

from __future__ import annotations

from analytics.incidents import journal
from analytics.incidents.incident import Incident
from analytics.incidents.replay import replay

__all__ = ["Incident", "journal", "replay"]
