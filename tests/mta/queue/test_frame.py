"""The bytes of the journal."""

from hypothesis import given
from hypothesis import strategies as st

from mta.queue.frame import (
    FRAME_BYTES,
    HEADER_BYTES,
    Damage,
    Entry,
    EntryKind,
    SegmentHeader,
    frame,
    head_range,
    pack,
    scan,
    unpack,
)

SALT = 0x1234ABCD

entries = st.builds(
    Entry,
    st.sampled_from(EntryKind),
    st.binary(max_size=40),
    st.binary(max_size=200),
    st.integers(1, 2**40),
    st.lists(st.binary(max_size=30), max_size=4).map(tuple),
)


def segment(payloads: list[bytes]) -> bytes:
    return SegmentHeader(SALT, 1).to_bytes() + b"".join(frame(payload, SALT) + payload for payload in payloads)


@given(entries)
def test_an_entry_is_read_as_it_was_written(entry):
    payload = pack(entry)
    assert unpack(memoryview(payload)) == entry
    assert payload.endswith(entry.body)
    head = head_range(payload)
    assert payload[head.start : head.stop] == entry.head


@given(st.lists(entries, min_size=1, max_size=5), st.data())
def test_what_stands_before_a_cut_is_read_and_the_rest_is_reported_as_the_end(written, data):
    payloads = [pack(entry) for entry in written]
    whole = segment(payloads)
    cut = data.draw(st.integers(HEADER_BYTES, len(whole)))
    found = list(scan(memoryview(whole[:cut]), SALT))
    kept = [bytes(item[1]) for item in found if not isinstance(item, Damage)]
    assert kept == payloads[: len(kept)]
    assert all(item.at_end for item in found if isinstance(item, Damage))
    assert sum(FRAME_BYTES + len(payload) for payload in kept) <= cut - HEADER_BYTES


@given(st.lists(entries, min_size=3, max_size=6), st.data())
def test_a_flipped_byte_costs_only_the_entry_that_it_is_in(written, data):
    payloads = [pack(entry) for entry in written]
    whole = bytearray(segment(payloads))
    at = data.draw(st.integers(HEADER_BYTES, len(whole) - 1))
    whole[at] ^= 0x40
    kept = [bytes(item[1]) for item in scan(memoryview(bytes(whole)), SALT) if not isinstance(item, Damage)]
    assert len(kept) == len(payloads) - 1
    assert all(payload in payloads for payload in kept)


def test_a_body_that_imitates_a_frame_cannot_pass_for_one_after_damage():
    forged = pack(Entry(EntryKind.RESULT, b'{"id":"x","attempts":0,"due":null}'))
    honest = pack(Entry(EntryKind.MESSAGES, b"{}", frame(forged, 0) + forged))
    whole = bytearray(segment([honest]))
    whole[HEADER_BYTES] ^= 0xFF
    assert list(scan(memoryview(bytes(whole)), SALT)) == [Damage(HEADER_BYTES, len(whole), at_end=True)]
