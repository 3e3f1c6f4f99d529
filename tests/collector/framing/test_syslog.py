"""Syslog over a stream: both framings, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ProtocolError
from collector.framing.syslog import SyslogSplitter

GOLDEN = {
    "line ends": (b"<34>one\n<34>two\n", [b"<34>one", b"<34>two"]),
    "NUL": (b"<34>one\x00<34>two\x00", [b"<34>one", b"<34>two"]),
    "counted": (b"7 <34>one8 <34>1\ntw", [b"<34>one", b"<34>1\ntw"]),
    "mixed": (b"7 <34>one<34>two\n7 <34>six", [b"<34>one", b"<34>two", b"<34>six"]),
    "no last line end": (b"<34>one\n<34>two", [b"<34>one", b"<34>two"]),
    "empty lines": (b"\n\n<34>one\n\n", [b"<34>one"]),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_messages_are_found_wherever_the_stream_is_cut(case):
    data, expected = GOLDEN[case]
    for cut in range(len(data) + 1):
        splitter = SyslogSplitter()
        found = [*splitter.feed(data[:cut]), *splitter.feed(data[cut:]), *splitter.rest()]
        assert [message.raw for message in found] == expected


@pytest.mark.parametrize("stream", [b"x" * 9000 + b"\n", b"9000 " + b"x" * 9000])
@pytest.mark.parametrize("step", [1, 100, 8999, 9000, 20_000])
def test_a_message_that_is_too_long_keeps_its_beginning_its_size_and_its_neighbours(stream, step):
    splitter = SyslogSplitter(limit=5000)
    data = b"<34>one\n" + stream + b"<34>two\n"
    found = [message for start in range(0, len(data), step) for message in splitter.feed(data[start : start + step])]
    assert [message.size for message in found] == [7, 9000, 7]
    assert 0 < len(found[1].raw) <= 5000
    assert not splitter.is_inside


def test_an_absurd_count_is_refused():
    with pytest.raises(ProtocolError, match="4294967295 bytes"):
        SyslogSplitter().feed(b"4294967295 <34>")


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_are_messages_or_a_protocol_error(chunks):
    splitter = SyslogSplitter(limit=20)
    try:
        found = [message for chunk in chunks for message in splitter.feed(chunk)]
    except ProtocolError:
        return
    assert sum(len(message.raw) for message in found) <= sum(map(len, chunks))
