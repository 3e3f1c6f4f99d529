"""Reports in the wrappings of old gateways, of Outlook and of S/MIME, and with what comes before and after them."""

from __future__ import annotations

import base64
import binascii
import bz2
import html
import io
import lzma
import quopri
import struct
import tarfile
import time
import zipfile
import zlib
from contextlib import suppress
from gzip import compress as gz

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarc.errors import DamagedReport
from dmarc.reports import Outcome
from dmarc.smime import signed_content
from dmarc.tnef import tnef_attachments
from dmarc.uuencode import uuencoded_files
from mta.events.errors import LimitExceeded, ParseError

HEAD = b"From: Reports <noreply@receiver.example>\r\nTo: rua@example.com\r\nMIME-Version: 1.0\r\n"


@pytest.fixture
def two(report, record) -> bytes:
    return report([record(count=1), record("198.51.100.7", count=2)])


def multipart(*parts: tuple[bytes, bytes, bytes], kind: bytes = b"mixed") -> bytes:
    """A mail of parts: content type, transfer encoding, body as transmitted."""
    body = b"".join(b"--b\r\nContent-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b\r\n" % part for part in parts)
    return HEAD + b"Content-Type: multipart/" + kind + b"; boundary=b\r\n\r\n" + body + b"--b--\r\n"


def attached(content: bytes, content_type: bytes = b"application/octet-stream") -> bytes:
    return multipart(
        (b"text/plain", b"7bit", b"Here is a report."), (content_type, b"base64", base64.encodebytes(content))
    )


def uuencoded(data: bytes, name: bytes) -> bytes:
    lines = [binascii.b2a_uu(data[at : at + 45]).rstrip(b"\n") for at in range(0, len(data), 45)]
    return b"\r\n".join([b"begin 644 " + name, *lines, b"`", b"end", b""])


def tnef(*files: tuple[bytes, bytes]) -> bytes:
    def attribute(level: int, name: int, value: bytes) -> bytes:
        return struct.pack("<BII", level, name, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)

    return struct.pack("<IH", 0x223E9F78, 1) + b"".join(
        attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x00018010, name + b"\0") + attribute(2, 0x0006800F, data)
        for name, data in files
    )


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x84]) + size.to_bytes(4, "big")
    return bytes([tag]) + length + content


DATA, SIGNED, ENVELOPED = (bytes.fromhex(f"06092a864886f70d0107{last}") for last in ("01", "02", "03"))


def signed(content: bytes) -> bytes:
    inner = der(0x30, DATA, der(0xA0, der(4, content)))
    return der(0x30, SIGNED, der(0xA0, der(0x30, b"\2\1\1", der(0x31), inner, der(0x31))))


def signed_in_pieces(content: bytes) -> bytes:
    """The same with lengths left open, as programs that stream write it."""
    pieces = b"".join(der(4, content[at : at + 300]) for at in range(0, len(content), 300))
    inner = b"\x30\x80" + DATA + b"\xa0\x80\x24\x80" + pieces + b"\0\0\0\0\0\0"
    return b"\x30\x80" + SIGNED + b"\xa0\x80\x30\x80\2\1\1" + der(0x31) + inner + der(0x31) + b"\0\0\0\0\0\0"


def as_part(packed: bytes) -> bytes:
    return b"Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(packed)


def zipped_with(method: int, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive, archive.open("a.xml", "w", force_zip64=True) as member:
        member.write(data)
    return out.getvalue()


WRAPPINGS = {
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zlib": zlib.compress,
    "zip64": lambda two: zipped_with(zipfile.ZIP_DEFLATED, two),
    "zip with bzip2 inside": lambda two: zipped_with(zipfile.ZIP_BZIP2, two),
    "gzip in two members": lambda two: gz(two[:700]) + gz(two[700:]),
    "blank line before gzip": lambda two: b"\r\n" + gz(two),
    "gzip declared a picture": lambda two: attached(gz(two), b"image/png; name=report.xml.gz"),
    "comment before the declaration": lambda two: b"<!-- report -->" + two,
    "as CDATA": lambda two: b'<?xml version="1.0"?><![CDATA[' + two + b"]]>",
    "escaped": lambda two: html.escape(two.decode()).encode(),
    "in a web page": lambda two: attached(b"<html><pre>" + html.escape(two.decode()).encode(), b"text/html"),
    "quoted-printable": lambda two: multipart((b"text/xml", b"quoted-printable", quopri.encodestring(two))),
    "below a greeting": lambda two: HEAD + b"\r\nHello,\r\nhere it is:\r\n\r\n" + two + b"\r\n-- \r\nPostmaster\r\n",
    "uuencoded part": lambda two: multipart((b"application/gzip", b"x-uuencode", uuencoded(gz(two), b"a.gz"))),
    "uuencoded in the text": lambda two: HEAD + b"\r\nHello,\r\n\r\n" + uuencoded(gz(two), b"a.gz") + b"\r\nBye\r\n",
    "begin-base64": lambda two: (
        HEAD + b"\r\nbegin-base64 644 a.gz\r\n" + base64.encodebytes(gz(two)).replace(b"\n", b"\r\n") + b"====\r\n"
    ),
    "winmail.dat": lambda two: attached(tnef((b"a.xml.gz", gz(two))), b"application/ms-tnef"),
    "signed, opaque": lambda two: (
        HEAD
        + b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(signed(as_part(gz(two))))
    ),
    "signed, opaque, in pieces": lambda two: attached(
        signed_in_pieces(as_part(gz(two))), b"application/x-pkcs7-mime; name=smime.p7m"
    ),
    "signed, with the signature apart": lambda two: multipart(
        (b"application/gzip", b"base64", base64.encodebytes(gz(two))),
        (b"application/pkcs7-signature", b"base64", base64.encodebytes(der(0x30, SIGNED))),
        kind=b"signed",
    ),
    "name in pieces (RFC 2231)": lambda two: attached(
        gz(two), b"application/octet-stream; name*0*=utf-8''receiver%21;\r\n name*1=example.com.xml.gz"
    ),
    "blank line before the mail": lambda two: b"\r\n" + attached(gz(two)),
    "mail with bare carriage returns": lambda two: attached(gz(two)).replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_report_is_found_in_every_wrapping(read, two, name):
    found = [one for one in read(WRAPPINGS[name](two)) if one.outcome is not Outcome.QUARANTINED]
    assert [(one.report.records, one.report.messages) for one in found] == [(2, 3)]


def test_every_file_of_a_winmail_dat_is_read(read, two, report):
    found = read(attached(tnef((b"a.gz", gz(two)), (b"b.xml", report(report_id="r2"))), b"application/ms-tnef"))
    assert [(one.member, one.report.report_id) for one in found] == [("part 1/a.gz", "r1"), ("part 1/b.xml", "r2")]


@pytest.mark.parametrize("size", [1, 7, 64, 1_000, 100_000])
@pytest.mark.parametrize("joint", [b"", b"\n\n"])
def test_reports_one_after_another_are_all_read(read, report, record, size, joint):
    many = [report([record(count=number)], report_id=f"r{number}") for number in (1, 2, 3)]
    data = joint.join(many)
    found = read([data[at : at + size] for at in range(0, len(data), size)])
    assert [(one.report.report_id, one.report.messages) for one in found] == [("r1", 1), ("r2", 2), ("r3", 3)]
    alone = [read(one.rstrip() if not number else one)[0] for number, one in enumerate(many)]
    assert found[2].content_hash == alone[2].content_hash


def test_a_broken_report_does_not_cost_the_one_behind_it(read, report, record):
    broken = report([record(count=5)]).replace(b"</row>", b"")
    found = read(gz(broken) + gz(report([record(count=2)], report_id="r2")))
    assert [one.outcome for one in found] == [Outcome.QUARANTINED, Outcome.OK]
    assert (found[1].member, found[1].report.messages) == ("#2", 2)


def test_a_file_of_too_many_reports_says_so(read, report):
    found = read(report() * 105)
    assert len(found) == 101
    assert found[-1].error.reason == "limit"


def tar(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a.xml")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    ("wrap", "reason"),
    [
        (tar, "unsupported"),
        (lambda two: zipped_with(zipfile.ZIP_LZMA, two), "unsupported"),
        (lambda two: der(0x30, ENVELOPED, der(0xA0, two)), "encrypted"),
        (lambda two: attached(der(0x30, ENVELOPED, der(0xA0, two)), b"application/pkcs7-mime"), "encrypted"),
        (lambda _: multipart((b"application/octet-stream", b"7bit", b"-----BEGIN PGP MESSAGE-----\r\n")), "encrypted"),
        (lambda two: signed(signed(two)), "limit"),
        (lambda _: signed(b""), "damaged"),
        (lambda two: bz2.compress(two)[:20], "damaged"),
        (lambda _: attached(tnef(), b"application/ms-tnef"), "empty"),
        (lambda _: bz2.compress(b"<feedback>" + b" " * 30_000_000), "limit"),
        (lambda _: lzma.compress(b"<feedback>" + b" " * 30_000_000), "limit"),
    ],
)
def test_what_cannot_be_opened_says_why(read_one, two, wrap, reason):
    found = read_one(wrap(two))
    assert (found.outcome, found.error.reason) == (Outcome.QUARANTINED, reason)


def test_a_cut_wrapping_gives_what_came_out(read_one, report, record):
    plain = report([record(f"192.0.2.{number % 250}", count=1) for number in range(4_000)])
    for packed in (lzma.compress(plain), bz2.compress(plain, 1)):
        found = read_one(packed[: len(packed) * 9 // 10])
        assert found.outcome is Outcome.RECOVERED
        assert 1_000 < found.report.records < 4_000


@settings(max_examples=300, deadline=None)
@given(choice=st.data())
def test_damaged_wrappings_raise_named_errors_only(choice):
    content = b"Content-Type: text/xml\r\n\r\n<feedback/>" * 9
    data = bytearray(choice.draw(st.sampled_from([signed(content), signed_in_pieces(content), tnef((b"a", content))])))
    for _ in range(choice.draw(st.integers(0, 6))):
        at = choice.draw(st.integers(0, len(data) - 1))
        data[at : at + choice.draw(st.integers(0, 3))] = choice.draw(st.binary(max_size=3))
    list(tnef_attachments(bytes(data)))
    list(uuencoded_files(b"begin 644 x\n" + bytes(data)))
    with suppress(ParseError):
        assert signed_content(bytes(data))


def test_hostile_nesting_of_a_signature_ends_soon():
    with pytest.raises(LimitExceeded):
        signed_content(b"\x30\x80" * 1_000_000)
    with pytest.raises((LimitExceeded, DamagedReport)):
        signed_content(b"\x30\x84\x7f\xff\xff\xff" + b"\5\0" * 2_000_000)


@pytest.mark.parametrize(
    "hostile",
    [
        b"&lt;feedback>" + b"&amp;lt;" * 3_000_000,
        HEAD + b"\r\n" + b"begin 644 a\r\nend\r\n" * 1_000_000,
        HEAD + b"\r\n" + b"begin 644 a\r\n" + b"M\r\n" * 5_000_000,
        b"\x78\x9f\x3e\x22\0\0" + b"\2\0\0\0\0\0\0\0\0\0\0" * 1_000_000,
        b"</feedback><feedback>" * 1_000_000,
    ],
    ids=["escaped twice", "many files", "many lines", "many attributes", "many documents"],
)
def test_hostile_wrappings_cost_little_time(read, hostile):
    began = time.process_time()
    assert {one.outcome for one in read(hostile)} == {Outcome.QUARANTINED}
    assert time.process_time() - began < 3  # well under a second where nothing else runs
