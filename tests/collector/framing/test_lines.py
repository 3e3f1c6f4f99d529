"""Lines out of chunks: the same lines however the stream was cut, nothing lost, nothing held."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.framing.lines import Lines, LineSplitter, Piece, Rest, Spoiled

LIMIT, KEEP = 20, 5


def split(chunks: list[bytes], **limits: int) -> list[Piece]:
    splitter = LineSplitter(**limits)
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)]
    return [*pieces, *splitter.rest("cut off")]


def flat(pieces: list[Piece]) -> list[tuple[object, ...]]:
    """Line by line with offsets, without regard to how lines were grouped."""
    found: list[tuple[object, ...]] = []
    for piece in pieces:
        if isinstance(piece, Lines):
            offset = piece.offset
            for line in piece.lines:
                found.append((offset, "line", line))
                offset += len(line) + 1
            assert offset == piece.end
        elif isinstance(piece, Spoiled):
            found.append((piece.offset, piece.reason, piece.raw, piece.size))
        else:
            found.append((piece.offset, "rest", piece.raw))
    return found


def naive(stream: bytes) -> list[tuple[object, ...]]:
    """What should come out, from the whole stream at once."""
    found: list[tuple[object, ...]] = []
    offset = 0
    *lines, last = stream.split(b"\n")
    for line in lines:
        found.append((offset, "limit", line[:KEEP], len(line)) if len(line) > LIMIT else (offset, "line", line))
        offset += len(line) + 1
    if last:
        found.append((offset, "limit", last[:KEEP], len(last)) if len(last) > LIMIT else (offset, "rest", last))
    return found


def test_a_stream_cut_at_every_byte_gives_the_same_lines():
    stream = b"one\n\nthree is rather long, far too long\n" + b"x" * LIMIT + b"\nlast"
    whole = naive(stream)
    for cut in range(len(stream) + 1):
        assert flat(split([stream[:cut], stream[cut:]], limit=LIMIT, keep=KEEP)) == whole
    assert flat(split([stream[i : i + 1] for i in range(len(stream))], limit=LIMIT, keep=KEEP)) == whole


@given(st.lists(st.binary(max_size=60).map(lambda chunk: chunk.replace(b"\x00", b"\n")), max_size=12))
def test_any_stream_in_any_chunks_gives_what_it_gives_at_once(chunks):
    pieces = split(chunks, limit=LIMIT, keep=KEEP)
    assert flat(pieces) == naive(b"".join(chunks))


@given(st.lists(st.binary(max_size=60).map(lambda chunk: chunk.replace(b"\x00", b"\n")), max_size=12))
def test_pieces_follow_each_other_without_gap_to_the_end_of_the_stream(chunks):
    pieces = split(chunks, limit=LIMIT, keep=KEEP)
    assert [piece.offset for piece in pieces] == [0, *(piece.end for piece in pieces)][: len(pieces)]
    assert (pieces[-1].end if pieces else 0) == sum(map(len, chunks))


def test_a_line_of_exactly_the_limit_is_read_and_one_byte_more_is_not():
    pieces = split([b"x" * LIMIT + b"\n" + b"y" * (LIMIT + 1) + b"\n"], limit=LIMIT, keep=KEEP)
    assert flat(pieces) == [(0, "line", b"x" * LIMIT), (LIMIT + 1, "limit", b"yyyyy", LIMIT + 1)]


def test_a_line_of_a_hundred_megabytes_is_counted_and_not_held():
    splitter = LineSplitter(keep=KEEP)
    chunk = b"z" * (1 << 20)
    tracemalloc.start()
    for _ in range(100):
        assert list(splitter.feed(chunk)) == []
    pieces = list(splitter.feed(b"\nnext\n"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert flat(pieces) == [(0, "limit", b"zzzzz", 100 << 20), ((100 << 20) + 1, "line", b"next")]
    assert peak < 8 << 20


def test_offsets_go_on_from_where_the_stream_was_taken_up():
    splitter = LineSplitter(offset=1000)
    assert flat(list(splitter.feed(b"a\nb"))) == [(1000, "line", b"a")]
    assert splitter.offset == 1002
    assert flat(list(splitter.rest("cut off"))) == [(1002, "rest", b"b")]


def test_a_stream_that_ends_with_a_line_end_leaves_no_rest():
    assert [piece for piece in split([b"a\n"]) if isinstance(piece, Rest)] == []


@pytest.mark.parametrize("pending", [b"", b"begun"])
def test_damage_takes_the_unfinished_line_with_it(pending):
    splitter = LineSplitter()
    list(splitter.feed(b"a\n" + pending))
    piece = splitter.damaged("bad checksum")
    assert (piece.offset, piece.reason, piece.raw, piece.detail) == (2, "damaged", pending, "bad checksum")


def test_what_could_not_be_decoded_makes_the_rest_unreadable_even_if_it_looks_whole():
    splitter = LineSplitter()
    list(splitter.feed(b'{"whole":1}'))
    (piece,) = splitter.rest("ends inside a frame", lost=7)
    assert isinstance(piece, Spoiled)
    assert (piece.reason, piece.raw) == ("truncated", b'{"whole":1}')
