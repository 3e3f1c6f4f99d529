"""Phrases: what rules look for in a reply, and an index that finds all of them in one pass.

A phrase is written in words, because punctuation, case and spacing differ between servers that say the same:

    no such (user|mailbox|recipient)      alternatives; an empty one makes it optional: `mailbox (is |)full`
    (dis|in)active                        also inside a word
    sender ... blocked                    `...`: later in the text, at most 12 words on
    blocked using {host}                  a placeholder of `mta.events.template`

All phrases of all rules become one automaton over words. It is made deterministic while texts are read, so that each
step is one look-up, and never steps back: the work is at most (words of the reply) x (words of the longest phrase),
however many rules there are and whatever the text holds.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress

from mta.events.errors import SettingsError

__all__ = ["GAP", "Match", "PhraseIndex", "words"]

GAP = 12
"""How many words `...` may skip."""
MAX_STEPS = 250_000
"""Steps of the deterministic automaton that are remembered; then it is forgotten and grows anew."""

# Chinese, Japanese and Korean are read character by character: their words are not parted by blanks.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\{{[a-z]+\}}|\d{{1,3}}\.\d{{1,3}}\.\d{{1,3}}|[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_ASCII_WORD = re.compile(
    r"\{[a-z]+\}|\d{1,3}\.\d{1,3}\.\d{1,3}|[a-z0-9]+"
)  # the same for the common case, twice as fast
_ALONE = re.compile(rf"\{{|[{_IDEOGRAPHS}]")
_SYNTAX = re.compile(r"[()|]|[^()|]+")
_MOJIBAKE = re.compile(r"[\u00c2-\u00f4][\u0080-\u00bf]")

_Frontier = list[tuple[int, str]]
"""Where a phrase being read can stand: states, and the beginning of a word that is not complete yet."""


def words(text: str) -> list[str]:
    """The words of a text in lower case, without accents; enhanced status codes and placeholders count as words."""
    return _ASCII_WORD.findall(text.lower()) if text.isascii() else _WORD.findall(_fold(text))


def _fold(text: str) -> str:
    """Lower case, no accents; UTF-8 that somebody took for Latin-1 is read again as what it is."""
    if text.isascii():
        return text.lower()
    if _MOJIBAKE.search(text):
        with suppress(UnicodeEncodeError):
            text = text.encode("latin-1").decode("utf-8", "replace")
    decomposed = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(char for char in decomposed if not unicodedata.combining(char))).lower()


Match = tuple[int, int, int, int]
"""A phrase that was found: its owner, the words from and to, and how many words were read.

Of a phrase with gaps, from and to tell where its last part stands. A plain tuple, because ten are made for every reply.
"""


class _Node:
    """A state of the deterministic automaton: what ends here, and where a word leads.

    `owners` have a phrase without gaps that ends here; `ends` are the (phrase, part) of phrases with gaps.
    """

    __slots__ = ("ends", "next", "owners", "states")

    def __init__(self, states: frozenset[int], owners: tuple[int, ...], ends: tuple[tuple[int, int], ...]) -> None:
        self.states = states
        self.owners = owners
        self.ends = ends
        self.next: dict[str, _Node | None] = {}


class PhraseIndex:
    """Finds which of many phrases a text holds. Built once by `add`, then read by `find`."""

    def __init__(self) -> None:
        self._edges: list[dict[str, list[int]]] = [{}]
        self._skips: list[list[int]] = [[]]
        """Per state: states that are reached from it without a word."""
        self._ends: list[list[tuple[int, int]]] = [[]]
        """Per state: (phrase, part) that end there."""
        self._phrases: list[tuple[int, int]] = []
        """Per phrase: its owner, and how many parts it has."""
        self._vocabulary: set[str] = set()
        self._forget()

    def add(self, phrase: str, owner: int) -> None:
        """Look for `phrase` on behalf of `owner`; SettingsError names a phrase that cannot be read."""
        parts = _fold(phrase).split("...")
        self._phrases.append((owner, len(parts)))
        for index, part in enumerate(parts):
            tokens = _SYNTAX.findall(part)
            frontier, read = self._read_alternatives(tokens, 0, [(0, "")], phrase)
            if read != len(tokens):
                raise SettingsError("a bracket is closed that was not opened", where=repr(phrase))
            state = self._new_state()
            for origin, pending in frontier:
                self._link(origin, pending, state)
            if state in self._closure({0}):
                raise SettingsError("a part of the phrase may be empty", where=repr(phrase))
            self._ends[state].append((len(self._phrases) - 1, index))
        self._forget()

    def find(self, sequence: list[str]) -> list[Match]:
        """Every phrase in the sequence; an owner may come more than once. An empty word matches nothing."""
        vocabulary = self._vocabulary
        known = [word if word in vocabulary else "" for word in sequence]
        known.append("")
        found: list[Match] = []
        begun: dict[int, tuple[int, int, int]] = {}
        for start, word in enumerate(known):
            node = self._root
            position = start
            while word:
                following = node.next[word] if word in node.next else self._step(node, word)
                if following is None:
                    break
                node = following
                position += 1
                for owner in node.owners:
                    found.append((owner, start, position, position - start))  # noqa: PERF401 - usually none or one
                for end in node.ends:
                    if not end[1] or end[0] in begun:
                        self._arrive(end, start, position, begun, found)
                word = known[position]  # noqa: PLW2901 - reading on from `start`
        return found

    def _step(self, node: _Node, word: str) -> _Node | None:
        """Work out, and remember, where `word` leads from `node`."""
        states = self._closure({target for state in node.states for target in self._edges[state].get(word, ())})
        if self._steps >= MAX_STEPS:
            self._forget()
        self._steps += 1
        node.next[word] = following = self._node(states) if states else None
        return following

    def _node(self, states: frozenset[int]) -> _Node:
        if states not in self._nodes:
            ends = dict.fromkeys(end for state in sorted(states) for end in self._ends[state])
            whole = [self._phrases[phrase][0] for phrase, _ in ends if self._phrases[phrase][1] == 1]
            parts = [end for end in ends if self._phrases[end[0]][1] > 1]
            self._nodes[states] = _Node(states, tuple(dict.fromkeys(whole)), tuple(parts))
        return self._nodes[states]

    def _forget(self) -> None:
        """Begin the deterministic automaton anew."""
        self._steps = 0
        self._nodes: dict[frozenset[int], _Node] = {}
        self._root = _Node(self._closure({0}), (), ())

    def _arrive(
        self,
        end: tuple[int, int],
        start: int,
        position: int,
        begun: dict[int, tuple[int, int, int]],
        found: list[Match],
    ) -> None:
        """A part of a phrase ends at `position`: note it if the parts before it have been seen, close enough."""
        phrase, part = end
        owner, parts = self._phrases[phrase]
        length = position - start
        if part:
            expected, stopped, before = begun.get(phrase, (0, 0, 0))
            if expected != part or not 0 <= start - stopped <= GAP:
                return
            length += before
        if part + 1 == parts:
            found.append((owner, start, position, length))
        else:
            begun[phrase] = (part + 1, position, length)

    def _read_alternatives(
        self, tokens: list[str], position: int, origin: _Frontier, phrase: str
    ) -> tuple[_Frontier, int]:
        """Read `a|b|c` up to its closing bracket or the end: where the branches end, and where reading stopped."""
        ends: _Frontier = []
        frontier = origin
        while position < len(tokens) and tokens[position] != ")":
            token = tokens[position]
            position += 1
            if token == "|":  # noqa: S105 - the syntax, not a secret
                ends += frontier
                frontier = origin
            elif token == "(":  # noqa: S105
                frontier, position = self._read_alternatives(tokens, position, self._join(frontier), phrase)
                if position == len(tokens):
                    raise SettingsError("a bracket is not closed", where=repr(phrase))
                position += 1
            else:
                frontier = self._read_text(token, frontier)
        return list(dict.fromkeys(ends + frontier)), position

    def _read_text(self, text: str, frontier: _Frontier) -> _Frontier:
        """Follow plain text: between words everybody who waits meets in one state."""
        position = 0
        for found in _WORD.finditer(text):
            alone = _ALONE.match(found[0]) is not None
            if found.start() > position or alone:
                frontier = self._meet(frontier)
            frontier = [(state, pending + found[0]) for state, pending in frontier]
            if alone:
                frontier = self._meet(frontier)
            position = found.end()
        return self._meet(frontier) if position < len(text) else frontier

    def _meet(self, frontier: _Frontier) -> _Frontier:
        """Complete the pending words; one state in which all branches continue."""
        if len(frontier) == 1 and not frontier[0][1]:
            return frontier
        state = self._new_state()
        for origin, pending in frontier:
            self._link(origin, pending, state)
        return [(state, "")]

    def _join(self, frontier: _Frontier) -> _Frontier:
        """The same frontier, with all branches that wait for nothing in one state."""
        waiting = [place for place in frontier if not place[1]]
        if len(waiting) < 2:
            return frontier
        return [*self._meet(waiting), *(place for place in frontier if place[1])]

    def _new_state(self) -> int:
        self._edges.append({})
        self._skips.append([])
        self._ends.append([])
        return len(self._edges) - 1

    def _link(self, origin: int, word: str, target: int) -> None:
        if not word:
            self._skips[origin].append(target)
            return
        self._vocabulary.add(word)
        self._edges[origin].setdefault(word, []).append(target)

    def _closure(self, states: set[int]) -> frozenset[int]:
        """The states and all that are reached from them without a word."""
        reached = set(states)
        waiting = list(states)
        while waiting:
            for target in self._skips[waiting.pop()]:
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return frozenset(reached)
