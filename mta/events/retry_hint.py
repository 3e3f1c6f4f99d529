"""For how long a reply asks to be left alone, if it does. Pure."""

from __future__ import annotations

import re

__all__ = ["retry_after"]

_LONGEST = 7 * 86_400
_TOLD = re.compile(
    r"\b(?:again|retry|back|wait|later|delayed?|for|in|after)\b\D{0,30}?(?:(\d{1,2}):(\d\d):(\d\d)"
    r"|(\d{1,6}) ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b)",
    re.IGNORECASE,
)
_HINTS = ("retry", "again", "back in", "wait", "greylist", "graylist", "later", "delay")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def retry_after(text: str) -> int | None:
    """Seconds that a reply's text asks to wait, up to a week; None if it asks nothing of the kind."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS) or not (found := _TOLD.search(lowered)):
        return None
    if found[1] is not None:
        seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])
    else:
        seconds = int(found[4]) * _SECONDS[found[5][0]]
    return seconds if seconds <= _LONGEST else None
