"""Frames of parcels: what goes in comes out, and what is not a frame is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.framing.parcels import FRAME_HEAD, Parcel, Shape, body_size, decode, encode
from mta.events.errors import ParseError

parcels = st.builds(
    Parcel,
    st.lists(st.binary(max_size=50), max_size=10),
    st.sampled_from(Shape),
    st.text(max_size=20),
    st.text(max_size=20),
    st.none() | st.integers(0, 2**62),
)


@given(parcels)
def test_a_parcel_survives_its_frame(parcel):
    frame = encode(parcel)
    assert body_size(frame[:FRAME_HEAD]) == len(frame) - FRAME_HEAD
    arrival = decode(frame[:FRAME_HEAD], frame[FRAME_HEAD:], 100)
    assert (arrival.end, arrival.parcel) == (100 + len(frame), parcel)


@given(parcels, st.data())
def test_reading_goes_on_at_any_record(parcel, data):
    frame = encode(parcel)
    whole = decode(frame[:FRAME_HEAD], frame[FRAME_HEAD:], 100)
    used = data.draw(st.integers(0, len(parcel.records)))
    before = sum(len(record) + 1 for record in parcel.records[:used])
    rest = decode(frame[:FRAME_HEAD], frame[FRAME_HEAD:], 100, whole.offset + before)
    assert rest.parcel.records == list(parcel.records[used:])
    assert rest.offset == whole.offset + before
    assert rest.parcel.offset == (None if parcel.offset is None else parcel.offset + before)


@given(parcels, st.data())
def test_one_wrong_byte_is_noticed(parcel, data):
    frame = bytearray(encode(parcel))
    frame[data.draw(st.integers(FRAME_HEAD, len(frame) - 1))] ^= 0x40
    with pytest.raises(ParseError, match="checksum"):
        decode(bytes(frame[:FRAME_HEAD]), bytes(frame[FRAME_HEAD:]), 0)


@pytest.mark.parametrize("head", [b"MTSQ" + bytes(8), b"MTSP\xff\xff\xff\xff" + bytes(4)], ids=["magic", "4 GB"])
def test_what_begins_no_frame_is_refused(head):
    with pytest.raises(ParseError, match="no frame"):
        body_size(head)
