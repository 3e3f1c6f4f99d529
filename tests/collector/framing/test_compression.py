"""Decoding as bytes arrive: the same bytes however they were cut, bombs bounded, damage named in its place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector.framing.compression import PORTION, Decoder, Plain, Stream, Zstd, sniff
from mta.events.errors import ParseError

TEXT = b"".join(b"line %d of the segment\n" % n for n in range(300))


def frame(data: bytes, **options) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def streamed(*parts: bytes, end: bool = True) -> bytes:
    """A frame as a log writer makes it: a flushed block for each part, no content size in its header."""
    writer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    blocks = [writer.compress(part) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for part in parts]
    return b"".join(blocks) + (writer.flush() if end else b"")


def skippable(size: int) -> bytes:
    return (0x184D2A53).to_bytes(4, "little") + size.to_bytes(4, "little") + b"?" * size


def read_all(decoder: Decoder) -> bytes:
    found = b""
    while portion := decoder.read():
        found += portion
    return found


def decode(*chunks: bytes) -> bytes:
    decoder = sniff(b"".join(chunks), complete=True)
    assert decoder is not None
    found = b""
    for chunk in chunks:
        decoder.feed(chunk)
        found += read_all(decoder)
    return found


STREAMS = {
    "one frame": (frame(TEXT), TEXT),
    "with checksum": (frame(TEXT, write_checksum=True), TEXT),
    "without size": (frame(TEXT, write_content_size=False), TEXT),
    "flushed blocks": (streamed(b"a\n", TEXT, b"b\n"), b"a\n" + TEXT + b"b\n"),
    "several frames": (frame(b"a\n") + frame(b"") + streamed(b"b\n"), b"a\nb\n"),
    "skippable frames": (skippable(0) + frame(b"a\n") + skippable(9) + frame(b"b\n"), b"a\nb\n"),
    "gzip": (gzip.compress(TEXT), TEXT),
    "gzip members": (gzip.compress(b"a\n") + bytes(7) + gzip.compress(b"b\n") + bytes(5), b"a\nb\n"),
    "bzip2": (bz2.compress(b"a\n") + bz2.compress(b"b\n"), b"a\nb\n"),
    "xz": (lzma.compress(b"a\n") + lzma.compress(b"b\n"), b"a\nb\n"),
    "stored blocks": (frame(random.Random(1).randbytes(2000)), random.Random(1).randbytes(2000)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_at_every_byte_decodes_to_the_same_bytes(name):
    raw, data = STREAMS[name]
    for cut in range(len(raw) + 1):
        assert decode(raw[:cut], raw[cut:]) == data
    assert decode(*(raw[i : i + 1] for i in range(len(raw)))) == data


def test_a_flushed_block_can_be_read_before_its_frame_ends():
    assert decode(streamed(b"first\n", b"second\n", end=False)) == b"first\nsecond\n"


def test_a_half_written_block_waits_for_its_other_half():
    decoder = Zstd()
    raw = streamed(b"first\n", end=False)
    more = streamed(b"first\n", b"second\n", end=False)[len(raw) :]
    decoder.feed(raw + more[:-3])
    assert (read_all(decoder), decoder.inside) == (b"first\n", True)
    assert decoder.unread == len(more) - 3
    decoder.feed(more[-3:])
    assert (read_all(decoder), decoder.unread) == (b"second\n", 0)


@pytest.mark.parametrize("compress", [frame, gzip.compress, bz2.compress, lambda data: lzma.compress(data, preset=1)])
def test_a_bomb_is_read_in_portions(compress):
    size = 40 << 20
    bomb = compress(bytes(size))
    decoder = sniff(bomb, complete=True)
    assert decoder is not None
    tracemalloc.start()
    decoder.feed(bomb)
    total = largest = 0
    while portion := decoder.read():
        total += len(portion)
        largest = max(largest, len(portion))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == size
    assert largest <= 2 * PORTION
    assert peak < 8 << 20


def test_damage_is_named_after_everything_before_it_and_for_ever():
    decoder = Zstd()
    decoder.feed(frame(b"good\n") + b"\x28\xb5\x2f\xfd\x00\x58\xff\xff\xff\xff")
    assert decoder.read() == b"good\n"
    for _ in range(2):
        with pytest.raises(ParseError, match="damaged zstd stream") as refusal:
            decoder.read()
        assert refusal.value.reason == "damaged"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_damage_in_any_compressed_stream_is_named(compress):
    raw = compress(b"good\n")
    decoder = sniff(raw, complete=True)
    assert decoder is not None
    decoder.feed(raw + b"garbage" * 3)
    assert decoder.read() == b"good\n"
    for _ in range(2):
        with pytest.raises(ParseError, match="damaged compressed stream"):
            decoder.read()


def test_a_stream_cut_short_tells_how_much_of_it_is_unread():
    raw = bz2.compress(TEXT)
    decoder = Stream(bz2.BZ2Decompressor)
    for byte in raw[:50]:
        decoder.feed(bytes([byte]))
        assert decoder.read() == b""
    assert (decoder.unread, decoder.inside) == (50, True)


def test_bytes_behind_the_last_frame_that_are_no_frame_are_damage():
    decoder = Zstd()
    decoder.feed(frame(b"good\n") + b"plain text\n")
    assert decoder.read() == b"good\n"
    with pytest.raises(ParseError, match="no zstd frame"):
        decoder.read()


def test_a_wrong_checksum_is_damage():
    raw = bytearray(streamed(TEXT))
    raw[-1] ^= 1
    decoder = Zstd()
    decoder.feed(bytes(raw))
    with pytest.raises(ParseError, match="damaged"):
        read_all(decoder)


def test_a_frame_that_asks_for_too_much_memory_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=25)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    decoder = Zstd(max_window=1 << 20)
    decoder.feed(writer.compress(TEXT) + writer.flush())
    with pytest.raises(ParseError, match="too much memory"):
        decoder.read()


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_decoded_or_named_as_damage(raw, framed):
    decoder = Zstd()
    decoder.feed(b"\x28\xb5\x2f\xfd" * framed + raw)
    try:
        read_all(decoder)
    except ParseError as error:
        assert error.reason == "damaged"  # noqa: PT017 - both outcomes are right, a third is not


@pytest.mark.parametrize(
    ("head", "complete", "kind"),
    [
        (b"", False, type(None)),
        (b"\x28\xb5", False, type(None)),
        (b"\x28\xb5", True, Plain),
        (b"", True, Plain),
        (b"{", False, Plain),
        (b"\x28\xb5\x2f\xfd", False, Zstd),
        (skippable(0), False, Zstd),
        (b"plain text", False, Plain),
        (b"\x1f\x8b", False, Stream),
        (b"BZ", False, type(None)),
        (b"BZh9", False, Stream),
        (b"Bz", False, Plain),
        (b"\xfd7zXZ", False, type(None)),
        (b"\xfd7zXZ\x00", False, Stream),
    ],
)
def test_the_first_bytes_tell_what_a_stream_is(head, complete, kind):
    assert type(sniff(head, complete=complete)) is kind
