r"""Rules that give a reply its bounce class: data in TOML files, one file per provider family, read strictly.

[family]                              # optional: whose replies the file is about
name = "google"
providers = ["gmail", "google-workspace"]   # names of the provider map; the first one is assumed when none is known
hosts = ["google.com"]                # MX hosts below these names answer with these rules
signatures = ["gsmtp"]                # phrases that only this family writes
code = '\bS\d{4}\b'                     # how its own error codes look

[[rule]]
id = "google.over-quota"
class = "mailbox_full"
phrases = ["out of storage space"]    # any of them (see mta.events.phrase); none: the codes alone decide
unless = ["..."]                      # none of these
code = ["552", "4"]                   # reply code begins with any of these
enhanced = ["5.2.2", "x.2.2"]         # one of these; `x`: any class, `5.7`: any detail, `5.7.606-649`
phase = ["rcpt"]                      # answered in any of these phases
only_here = true                      # only when the reply is known to come from the family
confidence = 0.97                     # how often the rule is right when it speaks
source = "where the fact comes from"
example = "552 5.2.2 ..."             # a reply that this rule decides; a test checks it
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from mta.events.errors import SettingsError
from mta.events.reply import EnhancedStatus

__all__ = ["Family", "Rule", "RuleFile", "read_rules"]

_LIMIT = 4 * 1024 * 1024
_RULE_KEYS = frozenset(
    {"id", "class", "phrases", "unless", "code", "enhanced", "phase", "only_here", "confidence", "source", "example"}
)
_FAMILY_KEYS = frozenset({"name", "providers", "hosts", "signatures", "code"})
_PHASES = frozenset({"connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot"})
DEFAULT_CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class Family:
    """Mailbox providers that run the same servers, and how their replies are recognised."""

    name: str
    providers: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    code: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One piece of knowledge; the module docstring explains the fields. Empty scopes hold always."""

    id: str
    bounce_class: str
    phrases: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    enhanced: tuple[str, ...] = ()
    phase: tuple[str, ...] = ()
    only_here: bool = False
    confidence: float = DEFAULT_CONFIDENCE
    source: str = ""
    example: str = ""
    family: Family | None = None

    def applies(self, code: int | None, enhanced: EnhancedStatus | None, phase: str) -> bool:
        """Whether a reply with these codes, in this phase, is in the rule's scope."""
        if self.code and code is not None and not str(code).startswith(self.code):
            return False
        if self.enhanced and (enhanced is None or not any(matches(scope, enhanced) for scope in self.enhanced)):
            return False
        return not self.phase or phase in self.phase


@dataclass(frozen=True, slots=True)
class RuleFile:
    """The rules of one file, the family that they are about, and phrases that say nothing."""

    family: Family | None
    rules: tuple[Rule, ...]
    ignore: tuple[str, ...] = ()


def matches(scope: str, enhanced: EnhancedStatus) -> bool:
    """`5.1.1`, `x.1.1`, `5.1` or `x.1` against a code."""
    klass, _, rest = scope.partition(".")
    subject, _, detail = rest.partition(".")
    return (
        klass in {"x", str(enhanced.klass)}
        and subject == str(enhanced.subject)
        and detail in {"", str(enhanced.detail)}
    )


def read_rules(data: bytes) -> RuleFile:
    """Read one file. SettingsError names the rule and the key that is wrong."""
    if len(data) > _LIMIT:
        raise SettingsError(f"the rule file has {len(data)} bytes, the limit is {_LIMIT}", where="reply rules")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"no TOML: {error}", where="reply rules") from error
    _only(document, frozenset({"family", "rule", "ignore"}), "reply rules")
    family = _family(document["family"]) if "family" in document else None
    rules = tuple(_rule(entry, family) for entry in document.get("rule", ()))
    return RuleFile(family, rules, _strings(document, "ignore", "reply rules"))


def _family(entry: dict[str, Any]) -> Family:
    where = f"family {entry.get('name')!r}"
    _only(entry, _FAMILY_KEYS, where)
    if not isinstance(entry.get("name"), str) or not entry.get("providers"):
        raise SettingsError("a family needs a name and providers", where=where)
    lists = {key: _strings(entry, key, where) for key in ("providers", "hosts", "signatures")}
    return Family(entry["name"], **lists, code=_code_pattern(entry.get("code"), where))


def _code_pattern(pattern: str | None, where: str) -> re.Pattern[str] | None:
    """Compiled, if it cannot backtrack: no unbounded repeat, so the work per character is bounded."""
    if pattern is None:
        return None
    if re.search(r"(?<!\\)[*+]|\{\d*,\}", pattern):
        raise SettingsError("a code pattern may not use *, + or {n,}", where=where, remedy="write {1,20}")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"no regular expression: {error}", where=where) from error


def _rule(entry: dict[str, Any], family: Family | None) -> Rule:
    where = f"rule {entry.get('id')!r}"
    _only(entry, _RULE_KEYS, where)
    lists = {key: _strings(entry, key, where) for key in ("phrases", "unless", "code", "enhanced", "phase")}
    lists["enhanced"] = tuple(code for scope in lists["enhanced"] for code in _expand(scope))
    texts = {key: entry.get(key, "") for key in ("id", "class", "source", "example")}
    if not all(isinstance(text, str) for text in texts.values()) or not texts["id"] or not texts["class"]:
        raise SettingsError("a rule needs an id and a class, both strings", where=where)
    confidence = entry.get("confidence", DEFAULT_CONFIDENCE)
    if not isinstance(confidence, float) or not 0 < confidence <= 1:
        raise SettingsError(f"confidence {confidence!r} is no number between 0 and 1", where=where)
    if unknown := set(lists["phase"]) - _PHASES:
        raise SettingsError(f"no phase {', '.join(sorted(unknown))}", where=where, remedy=", ".join(sorted(_PHASES)))
    if not (lists["phrases"] or lists["code"] or lists["enhanced"]):
        raise SettingsError("a rule needs phrases or codes", where=where)
    only_here = entry.get("only_here", False)
    if only_here and family is None:
        raise SettingsError("only_here needs a family in its file", where=where)
    return Rule(
        texts["id"],
        texts["class"],
        **lists,
        only_here=bool(only_here),
        confidence=confidence,
        source=texts["source"],
        example=texts["example"],
        family=family,
    )


def _expand(scope: str) -> list[str]:
    """`5.7.606-649` written out; anything else as it is."""
    head, _, details = scope.rpartition(".")
    first, dash, last = details.partition("-")
    if not dash or not (first.isdigit() and last.isdigit()):
        return [scope]
    return [f"{head}.{detail}" for detail in range(int(first), min(int(last), 999) + 1)]


def _strings(entry: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = entry.get(key, ())
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(item, str) for item in listed):
        raise SettingsError(f"{key} must be a string or a list of strings", where=where)
    return tuple(listed)


def _only(entry: dict[str, Any], keys: frozenset[str], where: str) -> None:
    if unknown := sorted(set(entry) - keys):
        raise SettingsError(
            f"unknown key {', '.join(unknown)}", where=where, remedy=f"keys are {', '.join(sorted(keys))}"
        )
