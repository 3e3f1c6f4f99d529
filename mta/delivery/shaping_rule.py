"""Automation rules of a shaping file: what to do when a provider says something. Pure.

    [[provider."example".automation]]
    regex = ["too many connections", "try again later"]     # or class = "RateLimited"
    action = [{SetConfig = {name = "connection_limit", value = 1}}, "SuspendTenant"]
    trigger = {Threshold = "3/hr"}
    duration = "1 hour"

The form is KumoMTA's; `class` is ours and names bounce classes. A pattern sees `CODE ENHANCED TEXT` on one line of
bounded length, because the text is the peer's. RE2 reads it, in linear time whatever peer and pattern are. What RE2
does not know (look-around, back-references: KumoMTA's engine does) is tried by Python's, which may take long for
patterns with repetitions within repetitions. What neither knows is an error: a rule that silently never fires is worse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, cast

import re2

from mta.delivery.limits import KEYS, NOT_KEPT, Rate, duration, read_value
from mta.events.reply import SmtpReply

__all__ = ["Action", "ActionKind", "Rule", "one_line", "read_rule"]

_MAX_LINE = 1024
_MAX_PATTERN = 2000
_SPELLED_OTHERWISE = {r"\z": r"\Z", r"\h": "[0-9A-Fa-f]"}
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z_])")
_KEYS = frozenset({"regex", "class", "action", "trigger", "duration", "match_internal"})


class Pattern(Protocol):
    """A regular expression of either engine."""

    def search(self, text: str, /) -> object | None:
        """What it finds anywhere in the text; None if nothing."""


class ActionKind(Enum):
    """What a rule does to mail on its way: suspending holds it back, bouncing gives it up."""

    SUSPEND = "Suspend"
    SUSPEND_TENANT = "SuspendTenant"
    SUSPEND_CAMPAIGN = "SuspendCampaign"
    BOUNCE = "Bounce"
    BOUNCE_TENANT = "BounceTenant"
    BOUNCE_CAMPAIGN = "BounceCampaign"
    SET_CONFIG = "SetConfig"
    SET_DOMAIN_CONFIG = "SetDomainConfig"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do; `name` and `value` are what `SetConfig` and `SetDomainConfig` set, as the file says it."""

    kind: ActionKind
    name: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True)
class Rule:
    """When a pattern or class fits often enough (`trigger`; None: at once), do `actions` for `duration` seconds."""

    origin: str
    """Where it stands, for people: `provider.example.automation 2`."""
    patterns: tuple[Pattern, ...]
    classes: frozenset[str]
    actions: tuple[Action, ...]
    trigger: Rate | None
    duration: float
    match_internal: bool = False

    def matches(self, line: str) -> bool:
        """Whether a pattern occurs in a reply, written by `one_line`."""
        return any(pattern.search(line) for pattern in self.patterns)


def one_line(reply: SmtpReply) -> str:
    """A reply as patterns see it."""
    enhanced = f"{reply.enhanced} " if reply.enhanced else ""
    return f"{reply.code or 400} {enhanced}{' '.join(reply.text.split())}"[:_MAX_LINE]


def read_rule(table: Any, origin: str, ignored: list[str]) -> Rule:
    """The rule that a table says. Raises ValueError; settings that do nothing here are added to `ignored`."""
    if not isinstance(table, Mapping):
        raise ValueError("an automation rule is a table")  # noqa: TRY004 - what readers of shaping files raise
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]}")
    patterns, classes = _texts(table.get("regex", ())), _texts(table.get("class", ()))
    if not patterns and not classes:
        raise ValueError("regex is missing")
    if "action" not in table or "duration" not in table:
        raise ValueError(f"{'action' if 'action' not in table else 'duration'} is missing")
    actions = (_action(each, origin, ignored) for each in _listed(table["action"]))
    return Rule(
        origin,
        tuple(map(_pattern, patterns)),
        frozenset(classes),
        tuple(action for action in actions if action is not None),
        _trigger(table.get("trigger", "Immediate")),
        duration(table["duration"]),
        bool(table.get("match_internal", False)),
    )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _texts(value: Any) -> list[str]:
    texts = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("regex and class are a text or a list of texts")
    return texts


def _pattern(text: str) -> Pattern:
    if len(text) > _MAX_PATTERN:
        raise ValueError(f"a regex has more than {_MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    with suppress(re2.error):
        return cast("Pattern", re2.compile(text, options))
    translated = _ESCAPE.sub(lambda found: _SPELLED_OTHERWISE.get(found[0], found[0]), text)
    translated = _NAMED_GROUP.sub("(?P<", translated)
    try:
        return re.compile(translated)
    except (re.error, OverflowError) as error:
        raise ValueError(f"regex {text!r} cannot be read: {error}") from None


def _action(said: Any, origin: str, ignored: list[str]) -> Action | None:
    if isinstance(said, str):
        kinds = {kind.value: kind for kind in ActionKind if not kind.value.startswith("Set")}
        if said in kinds:
            return Action(kinds[said])
    elif isinstance(said, Mapping) and len(said) == 1:
        (kind, setting), *_ = said.items()
        if kind in {"SetConfig", "SetDomainConfig"} and isinstance(setting, Mapping):
            return _setting(ActionKind(kind), setting, origin, ignored)
    raise ValueError(f"{said!r} is no action")


def _setting(kind: ActionKind, setting: Mapping[str, Any], origin: str, ignored: list[str]) -> Action | None:
    name = setting.get("name")
    if set(setting) != {"name", "value"} or not isinstance(name, str):
        raise ValueError(f"{kind.value} wants a name and a value")
    if name in NOT_KEPT:
        ignored.append(f"{origin}: {kind.value} {name}")
        return None
    if name not in KEYS:
        raise ValueError(f"{kind.value}: unknown key {name}")
    read_value(name, setting["value"])
    return Action(kind, name, setting["value"])


def _trigger(said: Any) -> Rate | None:
    if said == "Immediate":
        return None
    if isinstance(said, Mapping) and set(said) == {"Threshold"}:
        return Rate.parse(str(said["Threshold"]))
    raise ValueError(f'{said!r} is no trigger: write "Immediate" or {{Threshold = "3/hr"}}')
