"""One colour per meaning, on every board. Colour is never the only sign: the legend names what it stands for."""

from __future__ import annotations

__all__ = ["BAD", "GOOD", "NEUTRAL", "OUTCOMES", "WATCH"]

GOOD = "green"
WATCH = "orange"
BAD = "red"
NEUTRAL = "text"
"""Below the floor: a number without a verdict."""

OUTCOMES = {
    "injected": "blue",
    "delivered": "green",
    "delivery": "green",
    "in_flight": "light-blue",
    "fresh": "light-blue",
    "deferred": "yellow",
    "retrying": "yellow",
    "bounced": "red",
    "bounce": "red",
    "expired": "dark-purple",
    "expiration": "dark-purple",
    "admin_bounced": "semi-dark-blue",
    "admin_bounce": "semi-dark-blue",
    "suppressed": "dark-blue",
    "transferred": "super-light-blue",
    "transfer_out": "super-light-blue",
}
"""Grafana colour by series name: the event type, outcome or state that a legend shows."""
