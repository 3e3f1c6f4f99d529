"""Mail taken apart: forms that are right, forms that are wrong, and mails made to hurt."""

from __future__ import annotations

import base64
import time
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.errors import LimitExceeded
from mta.events.mail.message import MailLimits, read_fields, read_head, read_message


def test_fields_are_unfolded_and_found_without_case() -> None:
    fields = read_fields(b"Subject: one\r\n two\r\nX-A: 1\r\nx-a: 2\r\nno field\r\n")
    assert fields.first("subject") == "one two"
    assert fields.all("X-A") == ("1", "2")
    assert fields.first("missing") is None


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_a_multipart_is_split_at_its_boundary(line_end: str) -> None:
    lines = [
        'Content-Type: multipart/mixed; boundary="a b"',
        "",
        "preamble",
        "--a b",
        "",
        "first",
        "--a b  ",
        "Content-Type: text/html; charset=utf-8",
        "",
        "second --a b",
        "--a bc",
        "--a b--",
        "epilogue",
    ]
    mail = read_message(line_end.join(lines).encode())
    assert [part.body.decode() for part in mail.parts] == ["first", f"second --a b{line_end}--a bc"]
    assert mail.parts[1].content_type == "text/html"
    assert mail.parts[1].parameters == {"charset": "utf-8"}


def test_a_multipart_without_its_last_boundary_keeps_its_last_part() -> None:
    mail = read_message(b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\n\ntwo, cut off")
    assert [part.body for part in mail.parts] == [b"one", b"two, cut off"]


def test_multiparts_nest_and_are_walked_in_order() -> None:
    mail = EmailMessage()
    mail["Subject"] = "Grüße"
    mail.set_content("plain")
    mail.add_alternative("<p>html</p>", subtype="html")
    mail.add_attachment(b"\x00\x01binary", maintype="application", subtype="octet-stream", filename="a.bin")
    read = read_message(mail.as_bytes(policy=SMTP))
    assert [part.content_type for part in read.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/octet-stream",
    ]
    assert [part.content() for part in read.walk()][-1] == b"\x00\x01binary"


@given(st.binary(max_size=500))
def test_base64_and_quoted_printable_are_undone(data: bytes) -> None:
    encoded = base64.encodebytes(data)
    assert read_message(b"Content-Transfer-Encoding: BASE64\r\n\r\n" + encoded).content() == data
    quoted = b"".join(b"=%02X" % octet for octet in data)
    assert read_message(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted).content() == data


def test_damaged_base64_yields_what_can_be_read() -> None:
    assert read_message(b"Content-Transfer-Encoding: base64\n\naGVsb G8*gd29\ny").content().startswith(b"hello wo")


def test_an_enclosed_mail_is_a_leaf_that_can_be_read_in_turn() -> None:
    outer = read_message(b"Content-Type: message/rfc822\n\nSubject: inner\n\nbody")
    assert outer.parts == ()
    assert read_message(outer.content()).fields.first("Subject") == "inner"
    assert read_head(outer.content()).first("Subject") == "inner"


@given(st.binary(max_size=2_000) | st.text(alphabet="-=;:\r\n \t\"'xb/mult", max_size=2_000).map(str.encode))
def test_any_bytes_are_read_or_refused_by_a_limit(data: bytes) -> None:
    for prefix in (b"", b"Content-Type: multipart/x; boundary=b\n\n"):
        try:
            parts = list(read_message(prefix + data, MailLimits(parts=20, depth=3, fields=50)).walk())
        except LimitExceeded:
            continue
        assert sum(len(part.content()) for part in parts) <= len(prefix + data)


def _nested(depth: int) -> bytes:
    heads = (b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return b"".join(heads) + b"\nend"


@pytest.mark.parametrize(
    ("mail", "limits"),
    [
        (b"x" * 101, MailLimits(size=100)),
        (b"A: 1\n" * 51 + b"\n", MailLimits(fields=50)),
        (b"A: " + b"x" * 100 + b"\n\n", MailLimits(head=100)),
        (b"Content-Type: multipart/x; boundary=b\n\n" + b"--b\n\nx\n" * 30, MailLimits(parts=20)),
        (_nested(11), MailLimits()),
    ],
    ids=["size", "fields", "head", "parts", "depth"],
)
def test_each_limit_is_kept(mail: bytes, limits: MailLimits) -> None:
    with pytest.raises(LimitExceeded, match=r"limit|more than"):
        read_message(mail, limits)


@pytest.mark.parametrize(
    "mail",
    [
        b"Content-Type: multipart/x; boundary=b\n\n" + b"\n--" * 300_000,
        b"Content-Type: multipart/x; boundary=b\n\n" + b"--b \t" * 200_000,
        b'Content-Type: multipart/x; boundary="' + b"b" * 200_000 + b'"\n\n' + b"--bbbb\n" * 100_000,
        b"Content-Type: " + b';a="' * 60_000 + b"\n\nx",
        b"Content-Type: text/x" + b"; " * 100_000 + b"\n\nx",
        b"\r" * 1_000_000,
        b"Content-Transfer-Encoding: base64\n\n" + b"=*" * 500_000,
        _nested(10) + b"\n--b9" * 150,
    ],
    ids=["dashes", "no-boundary", "long-boundary", "quotes", "parameters", "returns", "base64", "nested"],
)
def test_a_mail_made_to_hurt_costs_little_time(mail: bytes) -> None:
    start = time.process_time()
    try:
        for part in read_message(mail).walk():
            part.content()
    except LimitExceeded:
        pass
    assert time.process_time() - start < 1.0
