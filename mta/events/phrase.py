"""Phrases: what rules look for in a reply, and an index that finds all of them in one pass.

A phrase is written in words, because punctuation, case and spacing differ between servers that say the same:

    no such (user|mailbox|recipient)      alternatives; an empty one makes it optional: `mailbox (is |)full`
    (dis|in)active                        also inside a word
    sender ... blocked                    `...`: later in the text, at most 12 words on
    blocked using {host}                  a placeholder of `mta.events.template`

All phrases of all rules become one tree of words. Reading a reply walks that tree from each word on, so the work is at
most (words of the reply) x (words of the longest phrase), however many rules there are and whatever the text holds:
there is nothing that could backtrack.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mta.events.errors import SettingsError

__all__ = ["PhraseIndex", "words"]

MAX_VARIANTS = 5_000
"""How many word sequences one part of a phrase may stand for."""
GAP = 12
"""How many words `...` may skip."""

# Chinese, Japanese and Korean are read character by character: their words are not parted by blanks.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\{{[a-z]+\}}|\d{{1,3}}\.\d{{1,3}}\.\d{{1,3}}|[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_SYNTAX = re.compile(r"[()|]|[^()|]+")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without accents; enhanced status codes and placeholders count as words."""
    if not text.isascii():
        folded = unicodedata.normalize("NFKD", text)
        text = unicodedata.normalize("NFC", "".join(char for char in folded if not unicodedata.combining(char)))
    return _WORD.findall(text.lower())


@dataclass(slots=True)
class PhraseIndex:
    """Finds which of many phrases a text holds. Built once by `add`, then only read."""

    _root: dict[str, Any] = field(default_factory=dict)
    _owners: list[tuple[int, int]] = field(default_factory=list)
    """Per phrase: the owner that was given, and the number of its parts."""

    def add(self, phrase: str, owner: int) -> None:
        """Look for `phrase` on behalf of `owner`; SettingsError names a phrase that cannot be read."""
        parts = phrase.split("...")
        number = len(self._owners)
        self._owners.append((owner, len(parts)))
        for index, part in enumerate(parts):
            for variant in _variants(part):
                sequence = words(variant)
                if not sequence:
                    raise SettingsError("a phrase, or an alternative of it, has no words", where=repr(phrase))
                self._insert(sequence, (number, index))

    def _insert(self, sequence: list[str], end: tuple[int, int]) -> None:
        node = self._root
        for word in sequence:
            node = node.setdefault(word, {})
        ends: list[tuple[int, int]] = node.setdefault("", [])
        if end not in ends:
            ends.append(end)

    def find(self, sequence: list[str]) -> list[tuple[int, int]]:
        """(owner, number of words matched) of every phrase in the sequence; an owner may come more than once."""
        found: list[tuple[int, int]] = []
        begun: dict[int, tuple[int, int, int]] = {}
        root, count = self._root, len(sequence)
        for start, word in enumerate(sequence):
            node = root.get(word)
            position = start
            while node is not None:
                position += 1
                if "" in node:
                    for end in node[""]:
                        self._arrive(end, start, position, begun, found)
                if position == count:
                    break
                node = node.get(sequence[position])
        return found

    def _arrive(
        self,
        end: tuple[int, int],
        start: int,
        position: int,
        begun: dict[int, tuple[int, int, int]],
        found: list[tuple[int, int]],
    ) -> None:
        """A part of a phrase ends at `position`: note it if the parts before it have been seen, close enough."""
        phrase, part = end
        owner, parts = self._owners[phrase]
        length = position - start
        if part:
            expected, stopped, before = begun.get(phrase, (0, 0, 0))
            if expected != part or not 0 <= start - stopped <= GAP:
                return
            length += before
        if part + 1 == parts:
            found.append((owner, length))
        else:
            begun[phrase] = (part + 1, position, length)


def _variants(part: str) -> Iterable[str]:
    """Every text that the alternatives of `part` allow."""
    tokens = _SYNTAX.findall(part)
    variants, rest = _alternatives(tokens, 0, part)
    if rest != len(tokens):
        raise SettingsError("a bracket is closed that was not opened", where=repr(part))
    return variants


def _alternatives(tokens: list[str], position: int, part: str) -> tuple[list[str], int]:
    """The variants of `a|b|c` from `position` up to its closing bracket or the end, and where it stopped."""
    variants: list[str] = []
    branch = [""]
    while position < len(tokens) and tokens[position] != ")":
        token = tokens[position]
        position += 1
        if token == "|":  # noqa: S105 - the syntax, not a secret
            variants += branch
            branch = [""]
            continue
        inner = [token]
        if token == "(":  # noqa: S105
            inner, position = _alternatives(tokens, position, part)
            if position == len(tokens):
                raise SettingsError("a bracket is not closed", where=repr(part))
            position += 1
        branch = [head + tail for head in branch for tail in inner]
        if len(branch) > MAX_VARIANTS:
            raise SettingsError(f"more than {MAX_VARIANTS} variants", where=repr(part), remedy="split the phrase")
    return variants + branch, position
