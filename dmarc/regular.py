"""Reports that look like nearly all others, read without the XML parser: ten times as fast, and exactly as right.

A reporter writes every record with the same few arrangements of tags. So the tags of a record are looked up as a whole:
the first time an arrangement is met, a plan of what stands where is made by the grammar; from then on a record is one
search for its tags and a few look-ups. Whatever a plan cannot tell for certain is left to the parser: attributes,
entities, CDATA, comments, empty-element tags, extensions, other letter cases, what is not ASCII, long values.

Most records repeat even more: all but the address and the count was in another record, to the byte. What such a rest
means is remembered, so that a record that has it costs one look-up.

The frame before the first record is read in the same way. The caller makes sure that a record begins where it looks, as
a child of `feedback` (see `dmarc/aggregate.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from dmarc.assembly import Assembly
from dmarc.deviation import Deviation, Deviations
from dmarc.grammar import FEEDBACK, RECORD, Node
from dmarc.limits import Limits
from dmarc.reports import AuthKind

__all__ = ["Pick", "Plan", "RegularRecords", "plan_of", "regular_frame"]

_LEGAL = bytes(byte for byte in (9, 10, 13, *range(0x20, 0x7F)) if byte not in b"&]")
_NEXT = re.compile(
    rb"[ \t\r\n]*<record>(?:[ \t\r\n]*<row>[ \t\r\n]*<source_ip>[ \t\r\n]*([0-9A-Fa-f.:]{2,45})[ \t\r\n]*</source_ip>"
    rb"[ \t\r\n]*<count>[ \t\r\n]*([0-9]{1,12})[ \t\r\n]*</count>)?"
)
"""A record, and how nearly all begin: with an address and a count."""
_BEGINNING = b"<row><source_ip>192.0.2.1</source_ip><count>1</count>"
"""Stands for any such beginning."""
_REST = 2_000
"""Bytes of a rest that is remembered."""
_RESTS = 4_096
_PATIENCE = 8
"""Records that may be met for the first time for each that was met before; past it a report is read without memory."""
_END = b"</record>"
_PROLOG = re.compile(
    rb"""(?:<\?xml[ \t\r\n]+version=(["'])1\.0\1(?:[ \t\r\n]+encoding=(["'])[A-Za-z][A-Za-z0-9._-]{0,40}\2)?"""
    rb"""[ \t\r\n]*\?>)?[ \t\r\n]*<feedback>"""
)
_LONGEST = 16_384
"""Bytes of a record that is read here."""
_TOKEN = re.compile(r"<([^<> \t\n]{1,40})>([^<]{0,255})(?=<|\Z)")
_PLANS = 1_024
"""Arrangements that are remembered; real reporters together have some hundreds."""
_MOST_TAGS = 200

_AUTH_KEYS = ("auth_domain", "auth_selector", "auth_scope", "auth_result", "auth_human_result")
_GROUPS: dict[Callable[[Assembly], None], AuthKind] = {
    Assembly.close_dkim: AuthKind.DKIM,
    Assembly.close_spf: AuthKind.SPF,
}


Pick = Callable[[Sequence[str | None]], tuple[str | None, ...]]
"""Takes what belongs together from a record's texts, of which the last is None: what is absent."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which of a record's texts is what; positions count its tags."""

    fields: tuple[tuple[str, int], ...]
    auth: tuple[tuple[AuthKind, Pick], ...]
    """Kind, and what picks domain, selector, scope, result and human result."""
    reasons: tuple[Pick, ...]
    """What picks type and comment."""
    evaluated: bool
    identities: bool


class RegularRecords:
    """Reads records into an assembly."""

    def __init__(self, assembly: Assembly, limits: Limits) -> None:
        self._assembly = assembly
        self._limits = limits
        self._rests = _rests(limits)
        self._met = self._unmet = 0

    def take(self, data: bytes) -> int:
        """Read the regular records that `data` begins with; how many bytes they take up."""
        at = 0
        while found := _NEXT.match(data, at):
            start = found.end()
            end = data.find(_END, start, start + _LONGEST)
            if end < 0:
                break
            address, count = found.groups()
            rest = self._meaning(data[start:end]) if address and end - start <= _REST else None
            if rest is not None:
                self._assembly.add_repeated(address.decode("ascii"), int(count), *rest)
            elif not _read(data[data.index(b">", at) + 1 : end], self._assembly):
                break
            at = end + len(_END)
        return at

    def _meaning(self, rest: bytes) -> Rest | None:
        """What the rest of a record after its count means; None where it is not regular, or hardly any is met twice."""
        known = self._rests.get(rest)
        if known is not None:
            self._met += 1
            return known
        self._unmet += 1
        if self._unmet > _PATIENCE * (self._met + 100):
            return None
        made = _made(rest, self._limits)
        if made is not None:
            if len(self._rests) >= _RESTS:
                self._rests.clear()
            self._rests[rest] = made
        return made


Rest = tuple[tuple[Any, ...], tuple[Deviation, ...]]
"""The fields of a record that follow its count, and what is odd about them."""


@lru_cache(maxsize=8)
def _rests(limits: Limits) -> dict[bytes, Rest]:  # noqa: ARG001 - what a rest means depends on them
    """What is remembered of all reports that are read within the same limits."""
    return {}


def _made(rest: bytes, limits: Limits) -> Rest | None:
    deviations = Deviations()
    assembly = Assembly(limits, deviations)
    if not _read(_BEGINNING + rest, assembly):
        return None
    [record] = assembly.done
    return None if record[1:3] != ("192.0.2.1", 1) else (record[3:], tuple(deviations.elements()))


def regular_frame(head: bytes) -> dict[str, str] | None:
    """The values of what stands before the first record; None where it is not regular."""
    prolog = _PROLOG.match(head)
    tokens = _tokens(head[prolog.end() :]) if prolog else []
    if not tokens:
        return None
    tags, texts = zip(*tokens, strict=True)
    plan = _frame_plan(tags)
    return None if plan is None else {key: texts[at].strip() for key, at in plan}


@lru_cache(maxsize=_PLANS)
def _frame_plan(tags: tuple[str, ...]) -> tuple[tuple[str, int], ...] | None:
    plan = _Planner(tags, FEEDBACK).plan() if len(tags) <= _MOST_TAGS else None
    return None if plan is None or "error" in dict(plan.fields) else plan.fields  # there may be several errors


def _tokens(markup: bytes) -> list[tuple[str, str]]:
    """Each tag with the text that follows it; nothing where there is more than plain tags and text."""
    if markup.translate(None, _LEGAL):
        return []
    text = markup.decode("ascii")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # XML 1.0 section 2.11
    tokens = _TOKEN.findall(text)
    return tokens if len(tokens) == text.count("<") else []


def _read(record: bytes, assembly: Assembly) -> bool:
    """Take up what stands between a record's tags, if it is regular."""
    tokens = _tokens(record)
    if not tokens:
        return False
    tags, texts = zip(*tokens, strict=True)
    plan = plan_of(tags)
    if plan is None:
        return False
    assembly.add_planned(plan.fields, plan.auth, plan.reasons, [*map(str.strip, texts), None])
    if plan.evaluated:
        assembly.close_evaluated()
    if plan.identities:
        assembly.close_identities()
    assembly.close_record()
    return True


@lru_cache(maxsize=_PLANS)
def plan_of(tags: tuple[str, ...]) -> Plan | None:
    """The plan for an arrangement of tags; None where it is not regular."""
    return _Planner(tags, RECORD).plan() if len(tags) <= _MOST_TAGS else None


class _Planner:
    """Walks an arrangement of tags along the grammar, from the children of `root` on."""

    def __init__(self, tags: Sequence[str], root: Node) -> None:
        self._tags = tags
        self._root = root
        self._fields: dict[str, int] = {}
        self._auth: list[tuple[AuthKind, Pick]] = []
        self._reasons: list[Pick] = []
        self._closed: set[object] = set()

    def plan(self) -> Plan | None:
        """None where the arrangement is not regular."""
        open_names: list[str] = []
        nodes: list[Node] = [self._root]
        for position, tag in enumerate(self._tags):
            if tag.startswith("/"):
                if not open_names or open_names.pop() != tag[1:]:
                    return None
                self._close(nodes.pop())
                continue
            node = nodes[-1].children.get(tag)
            if node is None:
                return None
            if node.key:
                self._fields[node.key] = position
            open_names.append(tag)
            nodes.append(node)
        return None if open_names else self._made()

    def _close(self, node: Node) -> None:
        self._closed.add(node.close)
        kind = _GROUPS.get(node.close) if node.close is not None else None
        if kind is not None:
            self._auth.append((kind, self._pick(*_AUTH_KEYS)))
        elif node.close is Assembly.close_reason:
            self._reasons.append(self._pick("reason", "comment"))

    def _pick(self, *keys: str) -> Pick:
        """The values of a group, which are not the record's own then."""
        return itemgetter(*(self._fields.pop(key, -1) for key in keys))

    def _made(self) -> Plan:
        return Plan(
            tuple(self._fields.items()),
            tuple(self._auth),
            tuple(self._reasons),
            evaluated=Assembly.close_evaluated in self._closed,
            identities=Assembly.close_identities in self._closed,
        )
