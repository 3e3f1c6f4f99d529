"""What to do about an incident: by what providers answered, and where the provider explains itself.

Both are data: `data/advice.csv` says what to do about a group of bounce classes or a kind of incident, and
`data/provider_pages.csv` names each provider's own page for senders.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from analytics.incidents.incident import Incident

__all__ = ["advise", "provider_page"]

_MOST_PAGES = 3


def advise(incident: Incident, groups: Mapping[str, str]) -> list[str]:
    """Sentences, the most telling first. `groups` maps bounce classes to their groups."""
    classes = list(dict.fromkeys(reply.bounce_class for reply in incident.replies if reply.bounce_class))
    keys = [key for name in classes for key in (name, groups.get(name, ""))]
    known = _advice()
    found = [known[key] for key in (*keys, *(kind.value for kind in incident.kinds)) if key in known]
    pages = [page for name in incident.providers[:_MOST_PAGES] if (page := provider_page(name)) is not None]
    return [*dict.fromkeys(found[:2] or [known["any"]]), *dict.fromkeys(pages)]


def provider_page(provider: str) -> str | None:
    """Name and address of the provider's page for senders; None where we know of none."""
    return _pages().get(provider)


@cache
def _advice() -> dict[str, str]:
    return {row["about"]: row["advice"] for row in _rows("advice.csv")}


@cache
def _pages() -> dict[str, str]:
    return {row["provider"]: f"{row['name']}: {row['url']}" for row in _rows("provider_pages.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("analytics") / "data" / name).read_text("utf8")
    return list(csv.DictReader(text.splitlines()))
