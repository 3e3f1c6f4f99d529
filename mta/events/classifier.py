"""From an SMTP reply to its bounce class.

All evidence speaks at once: phrases of the reply's template, the enhanced status code, the plain code and the phase of
the dialogue, each through a rule with a confidence. The most confident rule decides; among equals the one that read
more words. So a provider's own words beat general phrases, those beat an enhanced code, that beats a plain code, and a
wording never seen before falls to the weaker evidence with a lower confidence instead of to `unknown`.

The class depends on the reply's template, codes, phase and provider alone. Of what templates lift out, only host names
are read, and only to tell whose reply it is. That makes the cache per template exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mta.events.blocklist import find_blocklist
from mta.events.errors import SettingsError
from mta.events.event import EventType
from mta.events.phrase import PhraseIndex, words
from mta.events.reply import EnhancedStatus, SmtpReply
from mta.events.reply_rule import Family, Rule, RuleFile, read_rules
from mta.events.retry_hint import retry_after
from mta.events.taxonomy import UNKNOWN, Taxonomy
from mta.events.template import MAX_TEXT, Template, templatize

if TYPE_CHECKING:
    from mta.events.pattern_rules import PatternRules  # brings an engine for regular expressions, which few need

__all__ = ["Classification", "ReplyClassifier"]

_CODES = 4_096
_VERDICTS = 65_536
_ANSWERS = 16_384

_BY_TYPE = {
    EventType.DELIVERY: "delivered",
    EventType.COMPLAINT: "complaint",
}
_LISTED = frozenset({"ip_blocklisted", "domain_blocklisted", "poor_reputation", "spam_content"})

# Postfix writes which command was answered; so do Exim and KumoMTA in their own words.
_ANSWERED = re.compile(
    r"\b(?:in reply to|after) (?:end of )?(helo|ehlo|lhlo|mail from|rcpt to|data|auth|starttls)\b", re.IGNORECASE
)
_PHASE_OF = {"helo": "ehlo", "ehlo": "ehlo", "lhlo": "ehlo", "mail from": "mail", "rcpt to": "rcpt", "data": "data"}
_QUOTED = re.compile(
    r"\b(?:said|replied|responded|response|answered|error|data)[:\s(\"'>]{1,4}([245]\d\d)[ \-]", re.IGNORECASE
)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")


@dataclass(frozen=True, slots=True)
class Classification:
    """Why a delivery failed.

    `rule` is the id of the rule that decided (`none` for unknown), `confidence` how often it is right, 0 to 1.
    `provider` is the one given, else the one whose words these are. `provider_code` is that provider's own error
    code, `blocklist` the list that the reply names, `retry_after_s` the seconds that it asks to wait; None where the
    reply says nothing of the kind.
    """

    bounce_class: str
    group: str
    severity: str
    rule: str
    confidence: float
    provider: str | None = None
    provider_code: str | None = None
    blocklist: str | None = None
    retry_after_s: int | None = None


class _Verdict(NamedTuple):
    """What a template says, whatever its parameters."""

    bounce_class: str
    rule: str
    confidence: float
    family: Family | None


class ReplyClassifier:
    """Rules, compiled. Immutable, never raises on any text, and equal for equal input."""

    def __init__(self, taxonomy: Taxonomy, files: Iterable[RuleFile], patterns: PatternRules | None = None) -> None:
        self._taxonomy = taxonomy
        self._patterns = patterns
        self.rules: tuple[Rule, ...] = ()
        self._families: dict[str, Family] = {}
        """By provider."""
        self._named: dict[str, Family] = {}
        self._hosts: dict[str, Family] = {}
        self._index = PhraseIndex()
        self._ignored = PhraseIndex()
        self._owners: list[tuple[Rule | Family, bool]] = []
        """What a phrase of the index speaks for; True: it is a veto."""
        self._by_code: dict[str, list[Rule]] = {}
        for file in files:
            self._add(file)
        self._host_ends = tuple(self._hosts)
        self._rules_of_codes = lru_cache(maxsize=_CODES)(self._find_code_rules)
        self._judge = lru_cache(maxsize=_VERDICTS)(self._find_verdict)
        self._answer = lru_cache(maxsize=_ANSWERS)(self._find_answer)

    @classmethod
    def from_toml(cls, taxonomy: Taxonomy, *rule_files: bytes, patterns: PatternRules | None = None) -> ReplyClassifier:
        """Read rule files (`mta.events.reply_rule` describes them); an operator's go behind ours.

        A later rule with the same id replaces the earlier one. SettingsError names a rule whose class is unknown.
        `patterns` are rule files of KumoMTA's, which are heard after all that.
        """
        return cls(taxonomy, [read_rules(data) for data in rule_files], patterns)

    def classify(
        self,
        reply: SmtpReply,
        *,
        provider: str | None = None,
        peer: str | None = None,
        type: EventType | None = None,  # noqa: A002 - the field's name everywhere
        phase: str | None = None,
    ) -> Classification:
        """The class of a reply. `provider` is a name of the provider map, `peer` the host that answered.

        `phase` says what was answered where the reply's command does not (a banner answers `connect`).

        An expiration keeps the class of its last deferral, which is what the reply's text tells; without one it is
        `message_expired`. Deliveries, complaints and cancellations are named by their type alone.
        """
        return self._answer(reply.text, reply.code, reply.enhanced, phase or reply.phase, provider, peer, type)

    def _find_answer(
        self,
        text: str,
        code: int | None,
        enhanced: EnhancedStatus | None,
        phase: str,
        provider: str | None,
        peer: str | None,
        type: EventType | None,  # noqa: A002
    ) -> Classification:
        named = _BY_TYPE.get(type) if type is not None else None
        if type is EventType.ADMIN_BOUNCE:
            named = "suppressed" if "suppress" in text.lower() else "policy_rejected"
        if named:
            return self._compose(_Verdict(named, f"type.{type}", 1.0, None), text, templatize(text), provider)
        template = templatize(text)
        family = self._families.get(provider or "") or self._family_of_hosts((peer or "", *template.parameters))
        verdict = self._judge(template.text, code, enhanced, phase, family.name if family else None)
        if self._patterns is not None:
            verdict = self._heeding(self._patterns, verdict, code, enhanced, text)
        if type is EventType.EXPIRATION and verdict.bounce_class == UNKNOWN:
            verdict = _Verdict("message_expired", "type.expiration", 0.9, verdict.family)
        return self._compose(verdict, text, template, provider)

    @staticmethod
    def _heeding(
        patterns: PatternRules, verdict: _Verdict, code: int | None, enhanced: EnhancedStatus | None, text: str
    ) -> _Verdict:
        """The verdict, unless an operator's pattern knows better; a finer class than the pattern's own stays."""
        match = patterns.find(code, enhanced, text)
        if match is None or match.confidence < verdict.confidence or verdict.bounce_class in match.stands_for:
            return verdict
        return _Verdict(match.bounce_class, match.rule, match.confidence, verdict.family)

    def _compose(self, verdict: _Verdict, text: str, template: Template, provider: str | None) -> Classification:
        text = text[:MAX_TEXT]
        bounce_class = self._taxonomy[verdict.bounce_class]
        family = verdict.family
        found = family.code.search(text) if family is not None and family.code is not None else None
        return Classification(
            bounce_class.name,
            bounce_class.group,
            bounce_class.severity,
            verdict.rule,
            verdict.confidence,
            provider or (family.providers[0] if family is not None else None),
            found[0] if found else None,
            find_blocklist(text) if verdict.bounce_class in _LISTED else None,
            retry_after(text) if "{n}" in template.text else None,
        )

    def _find_verdict(
        self, text: str, code: int | None, enhanced: EnhancedStatus | None, phase: str, family_name: str | None
    ) -> _Verdict:
        code, enhanced, phase = _read_wrapped(text, code, enhanced, phase)
        here = {family_name} if family_name else set()
        spoken: list[tuple[Rule, int]] = []
        vetoed: set[str] = set()
        for owner, _, _, length in self._index.find(self._read(text)):
            subject, is_veto = self._owners[owner]
            if isinstance(subject, Family):
                here.add(subject.name)
            elif is_veto:
                vetoed.add(subject.id)
            else:
                spoken.append((subject, length))
        spoken += self._rules_of_codes(code, enhanced)
        spoken.sort(key=_most_confident_first)
        best = next(
            (
                rule
                for rule, _ in spoken
                if rule.id not in vetoed
                and (not rule.only_here or (rule.family is not None and rule.family.name in here))
                and rule.applies(code, enhanced, phase)
            ),
            None,
        )
        speaker = self._speaker(best, family_name, here)
        if best is None:
            return _Verdict(UNKNOWN, "none", 0.0, speaker)
        return _Verdict(best.bounce_class, best.id, best.confidence, speaker)

    def _read(self, text: str) -> list[str]:
        """The words of the text; those that say nothing are empty."""
        sequence = words(text)
        for _, start, end, _ in self._ignored.find(sequence):
            sequence[start:end] = [""] * (end - start)
        return sequence

    def _speaker(self, best: Rule | None, family_name: str | None, here: set[str]) -> Family | None:
        """Whose words these are: the family that was given, else the deciding rule's, else the one that signed."""
        if family_name is None and best is not None and best.family is not None:
            return best.family
        name = family_name or (min(here) if here else None)
        return self._named.get(name) if name is not None else None

    def _find_code_rules(self, code: int | None, enhanced: EnhancedStatus | None) -> list[tuple[Rule, int]]:
        """Rules that need no phrase, looked up by the codes that they name."""
        keys = [str(code), str(code)[:1]] if code is not None else []
        if enhanced is not None:
            subject, detail = enhanced.subject, enhanced.detail
            keys += [f"{klass}.{subject}.{detail}" for klass in ("x", enhanced.klass)]
            keys += [f"{klass}.{subject}" for klass in ("x", enhanced.klass)]
        return [(rule, 0) for key in keys for rule in self._by_code.get(key, ())]

    def _family_of_hosts(self, names: Iterable[str]) -> Family | None:
        """The family that the first of the names, host names among them, lies in."""
        for name in names:
            rest = name.rstrip(".").lower()
            if not rest.endswith(self._host_ends):
                continue
            while rest:
                if rest in self._hosts:
                    return self._hosts[rest]
                rest = rest.partition(".")[2]
        return None

    def _add(self, file: RuleFile) -> None:
        for phrase in file.ignore:
            self._ignored.add(phrase, 0)
        family = file.family
        if family is not None:
            self._named[family.name] = family
            self._families |= dict.fromkeys(family.providers, family)
            self._hosts |= dict.fromkeys(family.hosts, family)
            self._register(family, family.signatures, is_veto=False)
        for rule in file.rules:
            if rule.bounce_class not in self._taxonomy:
                raise SettingsError(f"no bounce class {rule.bounce_class!r}", where=f"rule {rule.id!r}")
            self._replace(rule)
            self.rules = (*self.rules, rule)
            self._register(rule, rule.phrases, is_veto=False)
            self._register(rule, rule.unless, is_veto=True)
            if not rule.phrases:
                for key in rule.enhanced or rule.code:
                    self._by_code.setdefault(key, []).append(rule)

    def _replace(self, rule: Rule) -> None:
        """Silence an earlier rule with the same id."""
        if not any(old.id == rule.id for old in self.rules):
            return
        self.rules = tuple(old for old in self.rules if old.id != rule.id)
        silent = Family("", ())
        self._owners = [
            (silent if isinstance(subject, Rule) and subject.id == rule.id else subject, veto)
            for subject, veto in self._owners
        ]
        for key, rules in self._by_code.items():
            self._by_code[key] = [old for old in rules if old.id != rule.id]

    def _register(self, subject: Rule | Family, phrases: tuple[str, ...], *, is_veto: bool) -> None:
        self._owners.append((subject, is_veto))
        for phrase in phrases:
            self._index.add(phrase, len(self._owners) - 1)


def _most_confident_first(spoken: tuple[Rule, int]) -> tuple[float, int]:
    """Order of a rule that read so many words: by confidence; among equals the one that read most, then the first."""
    rule, length = spoken
    return -rule.confidence, -length


def _read_wrapped(
    text: str, code: int | None, enhanced: EnhancedStatus | None, phase: str
) -> tuple[int | None, EnhancedStatus | None, str]:
    """Codes and phase that another server's wrapping (`host X said: 550 ... (in reply to RCPT TO command)`) holds."""
    if code is None and (quoted := _QUOTED.search(text)):
        code = int(quoted[1])
    if enhanced is None and (status := _STATUS.search(text)) and (code is None or str(code)[0] == status[1]):
        enhanced = EnhancedStatus(*map(int, status.groups()))
    if phase == "unknown" and ("reply to" in text or "after" in text) and (answered := _ANSWERED.search(text)):
        command = answered[1].lower()
        phase = "dot" if "end of" in answered[0].lower() else _PHASE_OF.get(command, command)
    return code, enhanced, phase
