"""The short way for regular records reads exactly what the parser reads; `<record >` keeps a record off it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarc.assembly import Assembly
from dmarc.deviation import Deviations
from dmarc.limits import Limits
from dmarc.regular import RegularRecords

_PIECES = (
    b"<record>", b"</record>", b"<row>", b"</row>", b"<count>3</count>", b"<count> 4\r\n</count>", b"<!--", b"-->",
    b"<source_ip>192.0.2.7</source_ip>", b"<!-- <record> -->", b"<![CDATA[", b"]]>", b"&amp;", b"&", b"<", b">", b"]]",
    b"\xc3\xa9", b"\xff", b"\0", b"<dkim/>", b"<dkim><domain>b.example</domain></dkim>", b"<spf>fail</spf>",
    b"<x:y/>", b"<Row>", b'<row a="b">', b"<reason><type>other</type></reason>", b"<?pi <record>?>", b" " * 300,
    b"<identities>", b"</feedback>", b"<feedback>", b"<policy_evaluated>", b"</policy_evaluated>", b"<count>-1</count>",
    b"<extension><record>",
)  # fmt: skip


def told(found) -> list[object]:
    return [
        (
            item.outcome,
            getattr(item.error, "reason", None),
            item.records,
            dict(item.deviations),
            replace(item.report, extensions=()) if item.report else None,
        )
        for item in found
    ]


def parsed_only(data: bytes) -> bytes:
    return data.replace(b"<record>", b"<record >")


@settings(max_examples=int(os.environ.get("MTASCOPE_FUZZ_EXAMPLES", "300")), deadline=None)
@given(choice=st.data())
def test_damaged_reports_are_read_alike(read_all_once, samples, choice):
    data = bytearray(samples[0])
    for _ in range(choice.draw(st.integers(0, 4))):
        at = choice.draw(st.integers(0, len(data)))
        data[at : at + choice.draw(st.sampled_from((0, 0, 1, 9)))] = choice.draw(st.sampled_from(_PIECES))
    cut = choice.draw(st.integers(1, len(data)))
    chunks = [bytes(data[:cut]), bytes(data[cut:])]
    assert told(read_all_once(chunks)) == told(read_all_once([parsed_only(bytes(data))]))


def taken(record: str) -> int:
    return RegularRecords(Assembly(Limits(), Deviations()), Limits()).take(record.encode())


def test_regular_records_take_the_short_way(record):
    one = record()
    assert taken(one + "\r\n" + one + "<record>") == 2 * len(one) + 2
    assert taken(one.replace("\n", "\r\n")) > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("<row>", "<row x='1'>"),
        lambda text: text.replace("example.com", "ex&#97;mple.com"),
        lambda text: text.replace("example.com", "<![CDATA[example.com]]>"),
        lambda text: text.replace("<row>", "<!-- a comment --><row>"),
        lambda text: text.replace("<row>", "<ROW>"),
        lambda text: text.replace("<row>", "<row><more>1</more>"),
        lambda text: text.replace("example.com", "exämple.com"),
        lambda text: text.replace("example.com", "e" * 300),
        lambda text: text.replace("</row>", ""),
        lambda text: text[:-5],
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(record, change):
    assert taken(change(record())) == 0


def test_a_record_in_a_comment_or_an_extension_is_none(read_one, report, record):
    data = report([f"<!-- {record()} -->", f"<extra>{record()}</extra>", record(count=5)])
    assert read_one(data).report.messages == 5
