"""Lumberjack version 2: golden bytes, in any pieces; what breaks a rule or a limit is refused cheaply."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ProtocolError
from collector.framing.lumberjack import LumberjackLimits, LumberjackReader, Run, ack


def window(count: int) -> bytes:
    return b"2W" + struct.pack(">I", count)


def event(sequence: int, content: bytes) -> bytes:
    return b"2J" + struct.pack(">II", sequence, len(content)) + content


def squeezed(frames: bytes) -> bytes:
    content = zlib.compress(frames)
    return b"2C" + struct.pack(">I", len(content)) + content


def read(data: bytes, *cuts: int, **limits: int) -> list[Run]:
    """All runs of a stream that comes in pieces."""
    reader = LumberjackReader(LumberjackLimits(**limits))
    edges = [0, *cuts, len(data)]
    runs = [run for start, end in itertools.pairwise(edges) for run in reader.feed(data[start:end])]
    assert reader.is_idle
    return runs


def summary(runs: list[Run]) -> list[tuple[list[bytes], int]]:
    return [(run.events, run.sequence) for run in runs]


GOLDEN = {
    "two bare events": (
        bytes.fromhex("325700000002")
        + bytes.fromhex("324a00000001000000027b7d")
        + bytes.fromhex("324a00000002000000027b7d"),
        [([b"{}", b"{}"], 2)],
    ),
    "one compressed frame": (
        window(2) + squeezed(event(1, b'{"a":1}') + event(2, b'{"a":2}')),
        [([b'{"a":1}', b'{"a":2}'], 2)],
    ),
    "two compressed frames in a window": (
        window(3) + squeezed(event(1, b"a")) + squeezed(event(2, b"b") + event(3, b"c")),
        [([b"a", b"b", b"c"], 3)],
    ),
    "compressed and bare": (window(2) + squeezed(event(1, b"a")) + event(2, b"b"), [([b"a", b"b"], 2)]),
    "numbers that go on": (
        window(2) + event(1, b"a") + event(2, b"b") + window(1) + event(3, b"c"),
        [([b"a", b"b"], 2), ([b"c"], 3)],
    ),
    "numbers that begin anew": (window(1) + event(1, b"a") + window(1) + event(1, b"b"), [([b"a"], 1), ([b"b"], 1)]),
    "a window before the last one was full": (
        window(5) + event(1, b"a") + window(1) + event(1, b"b"),
        [([b"a"], 1), ([b"b"], 1)],
    ),
    "an empty window": (window(0) + window(1) + event(1, b"a"), [([], 0), ([b"a"], 1)]),
    "an empty event": (window(1) + event(1, b""), [([b""], 1)]),
    "the window inside the compressed frame": (squeezed(window(1) + event(1, b"a")), [([b"a"], 1)]),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_bytes_cut_at_every_byte(case):
    data, expected = GOLDEN[case]
    for cut in range(len(data) + 1):
        assert summary(read(data, cut)) == expected
    assert summary(read(data, *range(1, len(data)))) == expected


def test_an_acknowledgement_is_six_bytes():
    assert ack(1) == bytes.fromhex("324100000001")


def test_a_large_window_is_given_out_in_runs_that_can_be_acknowledged_one_by_one():
    data = window(10) + squeezed(b"".join(event(number, b"x" * 100) for number in range(1, 11)))
    runs = read(data, run=300)
    assert [run.sequence for run in runs] == [3, 6, 9, 10]


def test_an_event_beyond_the_limit_keeps_its_beginning_and_its_neighbours():
    data = window(3) + squeezed(event(1, b"a") + event(2, b"b" * 50_000) + event(3, b"c"))
    (run,) = read(data, *range(10, len(data), 7), event=10_000)
    assert run.events == [b"a", b"c"]
    assert run.cut == [(b"b" * 4096, 50_000)]
    assert run.sequence == 3


REFUSED = {
    "version 1": b"1W" + bytes(4),
    "key-value frames": window(1) + b"2D" + bytes(8),
    "TLS": b"\x16\x03\x01\x02\x00",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "a window of four billion": window(2**32 - 1),
    "an event of 4 GB": window(1) + b"2J" + struct.pack(">II", 1, 2**32 - 1),
    "a compressed frame of 4 GB": window(1) + b"2C" + b"\xff" * 4,
    "compressed in compressed": window(1) + squeezed(squeezed(event(1, b"a"))),
    "no zlib": window(1) + b"2C" + struct.pack(">I", 5) + b"hello",
    "compressed and cut": window(1) + b"2C" + struct.pack(">I", 9) + zlib.compress(event(1, b"a" * 99))[:9],
    "an event without a window": event(1, b"a"),
    "more events than the window says": window(1) + event(1, b"a") + event(2, b"b"),
    "a compressed frame that ends in an event": window(2) + squeezed(event(1, b"a") + event(2, b"b")[:-1]),
    "an empty compressed frame": window(1) + b"2C" + bytes(4),
    "bytes behind the zlib stream": window(1)
    + b"2C"
    + struct.pack(">I", len(zlib.compress(b"")) + 1)
    + zlib.compress(b"")
    + b"x",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_breaks_the_protocol_or_a_limit_is_refused(case):
    with pytest.raises(ProtocolError):
        read(REFUSED[case])


def test_a_zlib_bomb_is_refused_and_costs_little_memory():
    bomb = window(1000) + squeezed(event(1, bytes(60 << 20)) * 3)
    tracemalloc.start()
    with pytest.raises(ProtocolError, match="without end"):
        read(bomb, inflated=100 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_give_runs_or_a_protocol_error(data, cuts):
    reader = LumberjackReader()
    edges = [0, *sorted(cuts), len(data)]
    try:
        for start, end in itertools.pairwise(edges):
            for run in reader.feed(data[start:end]):
                assert run.sequence >= 0
    except ProtocolError:
        pass


@given(
    st.lists(st.lists(st.binary(max_size=30), max_size=6), max_size=4),
    st.booleans(),
    st.lists(st.integers(0, 500), max_size=5),
)
def test_every_event_comes_out_once_and_in_order(windows, compress, cuts):
    data = b""
    for events in windows:
        frames = b"".join(event(number, content) for number, content in enumerate(events, 1))
        data += window(len(events)) + (squeezed(frames) if compress and frames else frames)
    runs = read(data, *sorted(min(cut, len(data)) for cut in cuts))
    assert [run.events for run in runs] == windows
    assert [run.sequence for run in runs] == [len(events) for events in windows]
