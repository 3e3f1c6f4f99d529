"""An incident in words, from its JSON: for the command line, mails and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["details", "sentence", "severity"]

_HAPPENED = {
    "bounce_spike": "bounced",
    "block_surge": "blocked",
    "deferral_surge": "put off",
    "complaint_surge": "complained about",
    "provider_cliff": "refused or put off",
}
_CRITICAL = frozenset({"block_surge", "provider_cliff", "silence", "identity_broken"})


def severity(row: Mapping[str, Any]) -> str:
    """`critical` where mail is lost for good while nobody acts, else `warning`."""
    return "critical" if _CRITICAL.intersection((row["kind"], *row.get("kinds", ()))) else "warning"


def sentence(row: Mapping[str, Any]) -> str:
    """What happened, where, how much, since when."""
    scope = "".join(f", {name} {value}" for name, value in row["scope"].items())
    others = len(row.get("providers", ())) - 1
    where = f"{row['provider']}{f' and {others} more' if others > 0 else ''}{scope}"
    end = f"until {_minute(row['closed'])}" if row["closed"] else "still open"
    return f"{where}: {_measure(row)} since {_minute(row['began'])}, seen {_minute(row['opened'])}, {end}"


def details(row: Mapping[str, Any]) -> list[str]:
    """Causes, replies and advice, a line each."""
    causes = [f"{cause['dimension']} {cause['value']}: {_cause(cause)}" for cause in row.get("causes", ())]
    replies = [_reply(reply) for reply in row.get("replies", ())]
    return [*causes, *replies, *(f"-> {advice}" for advice in row.get("advice", ()))]


def _measure(row: Mapping[str, Any]) -> str:
    level, baseline = row["level"], row["baseline"]
    match row["kind"]:
        case "silence":
            return f"nothing delivered where {baseline:.0f} were expected"
        case "queue_age":
            return f"a tenth of {row['numerator']} waiting recipients is older than {level / 3600:.1f} h"
        case "backlog_growth":
            return f"{row['numerator']} recipients wait where {baseline:.0f} are usual"
        case "reports_stopped":
            return f"no report for {level:.0f} days where one came every {baseline:.1f}"
        case "identity_broken":
            return f"the counts differ by {row['numerator']} recipients"
        case kind:
            rates = f"{level:.1%} {_HAPPENED[kind]} instead of {baseline:.1%}"
            return f"{rates} ({row['numerator']} of {row['denominator']})"


def _minute(stamp: str) -> str:
    """An instant for people: steps are whole minutes."""
    return f"{stamp[:10]} {stamp[11:16]}Z"


def _cause(cause: Mapping[str, Any]) -> str:
    return f"{cause['share']:.0%} of the excess on {cause['mail_share']:.0%} of the mail"


def _reply(reply: Mapping[str, Any]) -> str:
    heard = "new" if reply["new"] else "more than usual"
    return f"{reply['share']:.0%} {reply['bounce_class'] or 'unclassed'}, {heard}: {reply['text']}"
