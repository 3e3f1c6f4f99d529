"""Whatever comes in, something named comes out: no exception but those of the tree ever leaves the reader."""

from __future__ import annotations

import base64
import gzip

from hypothesis import given, settings
from hypothesis import strategies as st

from dmarc.reports import Outcome


def check(read, data):
    found = read(data)
    assert found, "silence"
    for item in found:
        if item.outcome is Outcome.QUARANTINED:
            assert item.error is not None
        elif item.kind == "aggregate":
            assert item.report.messages == sum(record.messages for record in item.records)
            assert item.report.records == len(item.records)


@st.composite
def mutated(draw, original: bytes) -> bytes:
    """The original with spans cut out, repeated, overwritten or moved."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 60))
        match draw(st.integers(0, 3)):
            case 0:
                del data[at : at + length]
            case 1:
                data[at:at] = data[at : at + length]
            case 2:
                data[at : at + length] = draw(st.binary(max_size=40))
            case _:
                data[at:at] = draw(
                    st.sampled_from([b"<", b">", b"&", b"]]>", b"<![CDATA[", b"<record>", b"</record>", b"\0"])
                )
    return bytes(data)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes(read_all_once, data):
    check(read_all_once, data)


@settings(max_examples=250, deadline=None)
@given(choice=st.data())
def test_damaged_reports_in_every_wrapping(read_all_once, samples, choice):
    data = choice.draw(mutated(choice.draw(st.sampled_from(samples))))
    check(read_all_once, data)


@settings(max_examples=100, deadline=None)
@given(choice=st.data())
def test_damage_inside_good_wrapping(read_all_once, samples, choice):
    data = choice.draw(mutated(samples[0]))
    wrap = choice.draw(
        st.sampled_from([gzip.compress, base64.encodebytes, lambda inner: b"A: b\nContent-Type: text/xml\n\n" + inner])
    )
    check(read_all_once, wrap(data))
