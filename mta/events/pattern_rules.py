r"""KumoMTA's rule files for bounces, as they are: classes, each with regular expressions over the reply on one line.

    [rules]
    InvalidRecipient = ["^(?:450|550) 5\\.1\\.1", "(?i)no such user"]

KumoMTA compiles them with Rust's `regex`; here RE2 does, which is its model: both read the text once, whatever the
pattern and the text, and neither knows look-around or back-references. What only one of the two understands is refused
by name. The first pattern that matches decides, in the order of the files, their classes and their lists.

KumoMTA's classes are coarser than ours. Where ours is one of those that a KumoMTA class stands for, ours stays, which
is why a file that says `SpamBlock` does not lose the blocklist. A pattern of codes alone is weak evidence and does not
overrule words. A class that neither KumoMTA predefines nor ours knows means nothing until `classes` says what.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import re2

from mta.events.errors import SettingsError
from mta.events.reply import EnhancedStatus
from mta.events.taxonomy import Taxonomy

__all__ = ["PatternMatch", "PatternRules", "is_pattern_file"]

_LIMIT = 1 << 20
_MOST_PATTERNS = 10_000
_MOST_CHARACTERS = 4_096
"""Of a reply and of a pattern."""
_MEMORY = 64 << 20
_WORDS, _CODES = 0.985, 0.6
"""Confidence of a pattern that looks for words, and of one that looks for codes."""
_ESCAPES = re.compile(r"\\.|\[[^\]]*\]|\(\?[a-z:]+\)?|[^A-Za-z]")

# What KumoMTA predefines (crates/bounce-classify): the class that a match means where nothing finer is known.
_PREDEFINED = {
    "InvalidRecipient": "bad_mailbox",
    "InactiveMailbox": "inactive_mailbox",
    "BadDomain": "bad_domain",
    "QuotaIssues": "mailbox_full",
    "InvalidSender": "sender_rejected",
    "AuthenticationFailed": "auth_failure",
    "RelayDenied": "relay_denied",
    "RelayingIssues": "relay_denied",
    "ProtocolErrors": "protocol_error",
    "TooManyRecipients": "too_many_recipients",
    "SpamBlock": "ip_blocklisted",
    "SpamContent": "spam_content",
    "SpamRelated": "spam_content",
    "VirusRelated": "virus_detected",
    "ProhibitedAttachment": "prohibited_attachment",
    "ContentRelated": "message_malformed",
    "PolicyRelated": "policy_rejected",
    "NoAnswerFromHost": "connection_failure",
    "BadConnection": "connection_failure",
    "DNSFailure": "dns_failure",
    "RoutingErrors": "routing_error",
    "BadConfiguration": "recipient_system_error",
    "TransientFailure": "recipient_system_error",
    "MessageExpired": "message_expired",
    "AutoReply": "auto_reply",
    "ChallengeResponse": "challenge_response",
    "Subscribe": "unsubscribe_request",
    "Unsubscribe": "unsubscribe_request",
}
_TRANSIENT = frozenset({"rate_limited", "greylisted", "recipient_system_error", "recipient_rate_limited"})


@dataclass(frozen=True, slots=True)
class PatternMatch:
    """The pattern that decided: its class in our names, and ours that it also stands for."""

    bounce_class: str
    stands_for: frozenset[str]
    rule: str
    confidence: float


class PatternRules:
    """Patterns of one or several files, compiled. `unmapped`: classes that mean nothing here."""

    def __init__(self, files: Iterable[bytes], taxonomy: Taxonomy, classes: Mapping[str, str] | None = None) -> None:
        self._taxonomy = taxonomy
        self._classes = classes or {}
        self._matches: list[PatternMatch | None] = []
        self._set = re2.Set.SearchSet(_options())
        unmapped: dict[str, None] = {}
        for number, data in enumerate(files, start=1):
            for name, patterns in _read(data, f"rule file {number}").items():
                bounce_class = self._class_of(name)
                if bounce_class is None:
                    unmapped[name] = None
                for place, pattern in enumerate(patterns, start=1):
                    self._add(name, bounce_class, pattern, place)
        self.unmapped = tuple(unmapped)
        if self._matches:
            self._set.Compile()

    def __len__(self) -> int:
        return len(self._matches)

    def find(self, code: int | None, enhanced: EnhancedStatus | None, text: str) -> PatternMatch | None:
        """What the first pattern that matches says; None if none does, or its class means nothing here."""
        if not self._matches:
            return None
        line = " ".join(str(part) for part in (code, enhanced, " ".join(text.split())) if part not in (None, ""))
        found = self._set.Match(line[:_MOST_CHARACTERS].encode("utf8", "replace"))
        return self._matches[min(found)] if found else None

    def _add(self, name: str, bounce_class: str | None, pattern: str, place: int) -> None:
        where = f"rules.{name} number {place}: {pattern[:80]!r}"
        if len(pattern) > _MOST_CHARACTERS or len(self._matches) >= _MOST_PATTERNS:
            raise SettingsError(f"at most {_MOST_PATTERNS} patterns of {_MOST_CHARACTERS} characters", where=where)
        try:
            re2.compile(pattern, _options())
            self._set.Add(pattern)
        except re2.error as error:
            said = error.args[0].decode("utf8", "replace") if isinstance(error.args[0], bytes) else str(error)
            remedy = "write it without look-around and back-references, as RE2 and Rust's regex want it"
            raise SettingsError(f"not a linear-time pattern: {said}", where=where, remedy=remedy) from None
        match = None
        if bounce_class is not None:
            confidence = _WORDS if _ESCAPES.sub("", pattern) else _CODES
            stands_for = self._stands_for(name, bounce_class)
            match = PatternMatch(bounce_class, stands_for, f"kumomta.{name}.{place}", confidence)
        self._matches.append(match)

    def _class_of(self, name: str) -> str | None:
        found = self._classes.get(name) or _PREDEFINED.get(name) or name
        if found in self._taxonomy:
            return found
        if name in self._classes:
            raise SettingsError(f"no bounce class {found!r}", where=f"classes.{name}")
        return None

    def _stands_for(self, name: str, bounce_class: str) -> frozenset[str]:
        """Our classes that KumoMTA puts into this one of its own."""
        if name in self._classes:
            return frozenset({bounce_class})
        same = {each.name for each in self._taxonomy.values() if name in re.findall(r"\w+", each.kumomta)}
        return frozenset({bounce_class, *same, *(_TRANSIENT if name == "TransientFailure" else ())})


def is_pattern_file(data: bytes) -> bool:
    """Whether a rule file is one of KumoMTA's: it has a table `rules`."""
    return re.search(rb"(?m)^[ \t]*\[[ \t]*rules[ \t]*\]", data[:_LIMIT]) is not None


def _options() -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    return options


def _read(data: bytes, where: str) -> dict[str, list[str]]:
    if len(data) > _LIMIT:
        raise SettingsError(f"the rule file has {len(data)} bytes, the limit is {_LIMIT}", where=where)
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"no TOML: {error}", where=where) from error
    rules = document.get("rules")
    if set(document) != {"rules"} or not isinstance(rules, dict):
        raise SettingsError("a file of KumoMTA's has one table, [rules]", where=where)
    for name, patterns in rules.items():
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            raise SettingsError("a list of patterns is wanted", where=f"{where}: rules.{name}")
    return cast("dict[str, list[str]]", rules)
