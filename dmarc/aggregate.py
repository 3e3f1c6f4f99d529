"""Aggregate reports (RFC 7489 appendix C, RFC 9990), read as a stream: bytes in, batches of records and a frame out.

The reader is driven by expat's events, so that a report costs the memory of one batch of records, whatever its size.
Expat, because it tells of a document type before anything in it has an effect, does not mind prefixes that nobody
declared, stops exactly where the text stops being XML, and is as fast here as any tree (see docs/decisions).

What makes a document readable, in the order in which it is tried:

1. well-formed XML, matched by local names; elements of a foreign namespace are extensions;
2. from the point where it stops being well-formed, each record that is whole is read on its own (`recovered`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from xml.parsers import expat

from dmarc.assembly import Assembly
from dmarc.deviation import Deviation, Deviations
from dmarc.encoding import as_utf8, clean_utf8
from dmarc.errors import DamagedReport, ForbiddenMarkup, NotAReport
from dmarc.grammar import DOCUMENT, FEEDBACK, RECORD, Node
from dmarc.limits import Limits
from dmarc.regular import RegularRecords, regular_frame
from dmarc.reports import AggregateReport, Record
from dmarc.salvage import split_records
from mta.events.errors import LimitExceeded

__all__ = ["AggregateReader"]

_STEP = 64 * 1024
_BATCH = 500
_RECORD = b"<record>"
_RECORD_END = b"</record>"
_REPORT_END = re.compile(rb"[ \t\r\n]*</feedback>[ \t\r\n]*")
_BLANKS = b" \t\r\n"
_TAG_AT_END = re.compile(rb"<[^<>]*>[ \t\r\n]*")
_HELD = 32 * 1024
"""Bytes that wait for the end of a record."""
_ENDS_EARLY = frozenset(
    expat.errors.codes[text]
    for text in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)
"""Errors of a text that is well-formed as far as it goes."""
_NAMESPACES = frozenset({"", "urn:ietf:params:xml:ns:dmarc-2.0", "http://dmarc.org/dmarc-xml/0.1"})
_IDENTITY = frozenset({"org_name", "report_id", "begin", "policy_domain"})


class AggregateReader:
    """Reads one report: `read` yields batches of records, and when it has ended, `report` is the frame around them.

    Raises ForbiddenMarkup and LimitExceeded for what is hostile, NotAReport where there is no `feedback` element,
    DamagedReport where the XML is broken and nothing whole is in it; `report` then tells what little is known.
    """

    def __init__(self, limits: Limits | None = None, deviations: Deviations | None = None) -> None:
        self.deviations = Deviations() if deviations is None else deviations
        self._limits = limits or Limits()
        self._assembly = Assembly(self._limits, self.deviations)
        self._broken = self._cut = False
        self._prefixes = frozenset({""})
        self._seen_feedback = False
        self._regular = RegularRecords(self._assembly, self._limits)
        self._parser: expat.XMLParserType | None = None
        self._unfed = b""
        """A regular frame that the parser has not seen, because it was not needed yet."""
        self._fed = self._good_until = 0
        self._pending = b""
        """What the parser has seen since the last whole record."""
        self._boundary = -1
        """Where the tag begins that ended the last child of `feedback`."""
        self._at_boundary = False
        """Nothing but blanks has followed that tag: what comes next is a child of `feedback`."""

    @property
    def recovered(self) -> bool:
        """Something was lost: broken markup, or a record that could not be taken."""
        return self._broken or Deviation.RECORD_REFUSED in self.deviations

    @property
    def report(self) -> AggregateReport:
        """The frame, with the sums of the records read so far."""
        return self._assembly.report

    def read(self, chunks: Iterable[bytes]) -> Iterator[tuple[Record, ...]]:
        """Batches of records, as they are met."""
        stream = _steps(as_utf8(chunks, self.deviations))
        held = b""
        for chunk in stream:
            held = self._take_regular(self._take_frame(held + chunk))
            while piece := self._next_piece(held):
                held = held[len(piece) :]
                if not self._advance(piece):
                    yield from self._batch()
                    yield from self._after_error(self._pending, chain((held,), stream))
                    return
                held = self._take_regular(held)
            yield from self._batch()
        whole = self._advance(held) and (bool(self._unfed) or self._feed(b"", final=True))
        yield from self._batch()
        if whole:
            self._judge()
        else:
            yield from self._after_error(self._pending, iter(()))

    def _next_piece(self, held: bytes) -> bytes:
        """What the parser is to see next: up to where a regular record may begin; b"" where that is not yet to be seen.

        Where one begins and is not whole yet, it waits for the rest, unless it is longer than regular ones are.
        """
        at = held.find(_RECORD)
        if at >= 0 and not held[:at].strip(_BLANKS):
            if self._at_boundary and len(held) < _HELD and _RECORD_END not in held:
                return b""
            at = held.find(_RECORD, at + 1)
        return held if at < 0 else held[:at]

    def _advance(self, piece: bytes) -> bool:
        """Give the parser a piece; False where it stops being XML."""
        if self._unfed:
            if self._is_regular_end(piece):
                self._unfed += piece
                return True
            self._catch_up()
        start = self._fed
        origin = start - len(self._pending)
        self._pending += piece
        whole = self._feed(piece)
        self._fed += len(piece)
        self._pending = self._pending[max(self._good_until - origin, 0) :]
        self._at_boundary = self._boundary >= start and bool(_TAG_AT_END.fullmatch(piece, self._boundary - start))
        if whole and len(self._pending) > self._limits.token:
            raise LimitExceeded(f"a record or tag of more than {self._limits.token} bytes")
        return whole

    def _take_frame(self, held: bytes) -> bytes:
        """Read a regular frame past the parser; what is left."""
        at = -1 if self._fed or self._unfed else held.find(_RECORD, 0, _HELD)
        frame = regular_frame(held[:at]) if at > 0 else None
        if frame is None:
            return held
        self._assembly.frame.update(frame)
        self._unfed = held[:at]
        self._seen_feedback = self._at_boundary = True
        return held[at:]

    def _is_regular_end(self, piece: bytes) -> bool:
        """Whether the report ends here, or has ended, and nothing else comes."""
        if self._assembly.closed:
            return not piece.strip(_BLANKS)
        if self._at_boundary and _REPORT_END.fullmatch(piece):
            self._assembly.close_feedback()
            return True
        return False

    def _catch_up(self) -> None:
        """Show the parser what was read without it, records apart: something comes that only it can judge."""
        unfed, self._unfed = self._unfed, b""
        self._seen_feedback = False
        self._advance(unfed)

    def _take_regular(self, held: bytes) -> bytes:
        """Read the regular records that come next, past the parser; what is left."""
        if not self._at_boundary:
            return held
        taken = self._regular.take(held)
        if taken:
            self._pending = b""
        return held[taken:]

    def _feed(self, data: bytes, *, final: bool = False) -> bool:
        """False where the data stop being XML."""
        parser = self._parser or self._begin_parser(DOCUMENT)
        try:
            parser.Parse(data, final)
        except expat.ExpatError as error:
            self._cut = error.code in _ENDS_EARLY
            return False
        return True

    def _batch(self) -> Iterator[tuple[Record, ...]]:
        if self._assembly.done:
            yield tuple(self._assembly.done)
            self._assembly.done.clear()

    # -- damage --------------------------------------------------------------------------------------------------------

    def _after_error(self, pending: bytes, stream: Iterator[bytes]) -> Iterator[tuple[Record, ...]]:
        if self._assembly.closed:  # every record is in; what follows the report is not part of it
            self.deviations.note(Deviation.CONTAINER_TRAILING_BYTES)
            self._broken = self._cut or _holds_record(chain((pending,), stream))
        else:
            self.deviations.note(Deviation.XML_CUT if self._cut else Deviation.XML_MALFORMED)
            yield from self._salvage(pending, stream)
        self._judge()

    def _salvage(self, pending: bytes, stream: Iterator[bytes]) -> Iterator[tuple[Record, ...]]:
        """Read every whole record in what is left, each on its own."""
        self._broken = True
        pieces = split_records(pending, stream, self._limits.token)
        head = next(pieces)
        if not self._assembly.met:
            self._read_head(head)
        for piece in pieces:
            if not (piece and (self._read_piece(piece) or self._read_piece(clean_utf8(piece)))):
                self.deviations.note(Deviation.RECORD_DAMAGED)
            if len(self._assembly.done) >= _BATCH:
                yield from self._batch()
        yield from self._batch()

    def _read_head(self, head: bytes) -> None:
        """The frame before the first record, as far as it can be read; it need not end properly."""
        self._assembly.restart()
        self.deviations.pop(Deviation.ELEMENT_UNKNOWN, None)
        self._seen_feedback = False
        self._begin_parser(DOCUMENT)
        head = head[max(head.find(b"<feedback"), 0) :]  # what stands before it may be what is broken
        cleaned = clean_utf8(head)
        if cleaned != head:
            self.deviations.note(Deviation.REPAIRED_TEXT)
        self._feed(cleaned)
        self._assembly.close_frame_group()

    def _read_piece(self, piece: bytes) -> bool:
        before = self._assembly.met
        self._assembly.begin_record()
        self._begin_parser(FEEDBACK)
        return self._feed(piece, final=True) and self._assembly.met > before

    def _judge(self) -> None:
        """Raise unless what was read is a report."""
        if not self._seen_feedback:
            raise NotAReport("no feedback element: this is no aggregate report", reason="no-report")
        if self.recovered and not self._assembly.kept:
            raise DamagedReport("broken, and without one whole record", reason="damaged")
        if not self._assembly.frame.keys() & _IDENTITY:
            raise DamagedReport("a report that names neither its reporter nor its subject", reason="missing-field")
        self._assembly.note_frame()

    # -- expat's events ------------------------------------------------------------------------------------------------

    def _begin_parser(self, root: Node) -> expat.XMLParserType:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartDoctypeDeclHandler = self._doctype
        self._set_handlers(parser, root)
        self._parser = parser
        return parser

    def _doctype(self, *_: object) -> None:
        raise ForbiddenMarkup("a document type declaration: no report has one", reason="doctype")

    def _set_handlers(self, parser: expat.XMLParserType, root: Node) -> None:
        """Closures, because they are called for every element: local names make them half again as fast as methods."""
        assembly, node = self._assembly, root
        fields = assembly.fields
        text: list[str] = []
        above: list[Node] = []
        clear, push, pop = text.clear, above.append, above.pop

        def start(name: str, attributes: list[str]) -> None:
            nonlocal node
            clear()
            push(node)
            found = node.children.get(name)
            node = self._unusual(name, attributes, above) if found is None or attributes else found

        def end(_: str) -> None:
            nonlocal node
            if node.key:
                value = (text[0] if len(text) == 1 else "".join(text)).strip()
                clear()
                if len(value) <= 255:
                    fields[node.key] = value
                else:
                    assembly.keep(node.key, value)
            if node.close is not None:
                node.close(assembly)
                if node is RECORD:
                    self._good_until = parser.CurrentByteIndex
            node = pop()
            if node is FEEDBACK:
                self._boundary = parser.CurrentByteIndex

        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = text.append

    def _unusual(self, name: str, listed: list[str], above: list[Node]) -> Node:
        """An element with attributes, with a prefix, in another case, or of another schema."""
        if len(above) > self._limits.depth:
            raise LimitExceeded(f"elements nested more than {self._limits.depth} deep")
        attributes = dict(zip(listed[::2], listed[1::2], strict=True))
        prefix, _, local = name.rpartition(":")
        local = local.lower()
        if not self._seen_feedback:
            if local != "feedback":
                return DOCUMENT
            self._open_feedback(prefix, attributes)
            return FEEDBACK
        foreign = attributes.get("xmlns") not in (None, "", self._assembly.namespace)
        known = None if foreign or prefix not in self._prefixes else above[-1].children.get(local)
        if known is not None:
            return known
        in_record = RECORD in above
        return Node("extension", close=lambda assembly: assembly.add_extension(name, in_record=in_record))

    def _open_feedback(self, prefix: str, attributes: dict[str, str]) -> None:
        self._seen_feedback = True
        self._prefixes = frozenset({"", prefix})
        self._assembly.namespace = namespace = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns")
        if (namespace or "") not in _NAMESPACES:
            self.deviations.note(Deviation.NAMESPACE_UNKNOWN)


def _holds_record(chunks: Iterable[bytes]) -> bool:
    """Whether a record begins anywhere in them; all are read."""
    tail, found = b"", False
    for chunk in chunks:
        found = found or b"<record" in tail + chunk
        tail = (tail + chunk[-len(_RECORD) :])[-len(_RECORD) :]
    return found


def _steps(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of at most `_STEP` bytes: what expat is given at once bounds how often it looks at a long tag again."""
    for chunk in chunks:
        if len(chunk) <= _STEP:
            yield chunk
        else:
            yield from (chunk[start : start + _STEP] for start in range(0, len(chunk), _STEP))
