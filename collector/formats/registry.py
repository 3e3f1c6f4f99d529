"""Which dialects there are, by the name that `--format` takes, and `auto`, which finds out.

A new dialect is one file here beside `kumomta.py` and one line in `DIALECTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collector.errors import UnknownFormat
from collector.formats import exim, haraka, kumomta, postfix, powermta
from collector.formats.context import Context
from collector.formats.kumomta_sql import COLUMN_READER
from collector.formats.outcome import ALIEN, BLANK, LineParser, Outcome
from collector.quarantine import Reason
from mta.events.errors import ParseError
from mta.events.intake import ColumnReader

__all__ = ["AUTO", "DIALECTS", "Dialect", "column_reader", "format_names", "open_parser"]

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of mail server writes its log.

    `open` makes a parser for one source, given what its records do not say themselves. `recognises` tells from a single
    line whether it is probably of this dialect; it must be cheap and never raise.
    """

    name: str
    open: Callable[[Context], LineParser]
    recognises: Callable[[bytes], bool]


DIALECTS = (
    Dialect("kumomta", lambda context: kumomta.opened(context.node), kumomta.recognises),
    Dialect("postfix", postfix.opened, postfix.recognises),
    Dialect("exim", exim.opened, exim.recognises),
    Dialect("haraka", haraka.opened, haraka.recognises),
    Dialect("powermta", powermta.opened, powermta.recognises),
)
"""Every dialect that `auto` tries, in this order."""

_BY_NAME = {dialect.name: dialect for dialect in DIALECTS} | {
    # The bundled MTA writes KumoMTA's schema with additions under `meta`; records say themselves who wrote them.
    "mtascope": DIALECTS[0],
}


_COLUMN_READERS = {AUTO: COLUMN_READER, "kumomta": COLUMN_READER, "mtascope": COLUMN_READER}

_NOWHERE = Context()


def format_names() -> tuple[str, ...]:
    """Everything that `--format` takes."""
    return (AUTO, *_BY_NAME)


def open_parser(name: str, context: Context = _NOWHERE) -> LineParser:
    """A parser for one source. Parsers may remember earlier lines: use one for each source, in its order.

    Raises UnknownFormat.
    """
    if name == AUTO:
        return _Auto(DIALECTS, context)
    if name not in _BY_NAME:
        raise UnknownFormat(
            f"no log format {name[:64]!r}", where="--format", remedy=f"one of {', '.join(format_names())}"
        )
    return _BY_NAME[name].open(context)


def column_reader(name: str, line: bytes) -> ColumnReader | None:
    """What reads lines like this one in columns, if the format of that name has such a reader.

    It is sure about its own dialect's records only, so a wrong guess costs time and changes nothing.
    """
    reader = _COLUMN_READERS.get(name)
    return reader if reader is not None and kumomta.recognises(line) else None


class _Auto:
    """Stays with the dialect of the line before, and looks around only when that one refuses a line.

    So a garbled line in a known log is refused by its own dialect with a precise reason, and a folder or file that
    mixes dialects is still read.
    """

    def __init__(self, dialects: tuple[Dialect, ...], context: Context) -> None:
        self._dialects = dialects
        self._context = context
        self._current: Dialect | None = None
        self._parse: LineParser = self._unknown
        self._opened: dict[str, LineParser] = {}

    def __call__(self, line: bytes) -> Outcome:
        try:
            outcome = self._parse(line)
        except ParseError:
            if self._turned(line):
                return self._parse(line)
            raise
        return self._parse(line) if outcome is ALIEN and self._turned(line) else outcome

    def _turned(self, line: bytes) -> bool:
        """Another dialect knows the line, and reads it and those that follow."""
        found = next((dialect for dialect in self._dialects if dialect.recognises(line)), None)
        if found is None or found is self._current:
            return False
        if found.name not in self._opened:
            self._opened[found.name] = found.open(self._context)
        self._current, self._parse = found, self._opened[found.name]
        return True

    @staticmethod
    def _unknown(line: bytes) -> Outcome:
        if not line.strip():
            return BLANK
        raise ParseError(
            "no known log format", reason=Reason.UNKNOWN_FORMAT, remedy="name it with --format if it should be one"
        )
