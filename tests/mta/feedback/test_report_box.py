"""Mails to report addresses: whole, durable, with who sent them above."""

from __future__ import annotations

import pytest

from mta.errors import SpoolFull
from mta.feedback.report_box import ReportBox

TRACE = b"Received: from mx.r.example ([192.0.2.7])\r\n\tby ours with ESMTP id 1;\r\n\tnow\r\n"


def test_a_mail_lies_in_the_maildir_with_its_envelope_above_it(tmp_path):
    ReportBox(tmp_path).keep("0a1b", "bounce@r.example", TRACE, b"From: a@r.example\r\n\r\nx\r\n")
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == "0a1b"
    assert path.read_bytes() == b"Return-Path: <bounce@r.example>\r\n" + TRACE + b"From: a@r.example\r\n\r\nx\r\n"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_sender_cannot_write_header_fields(tmp_path):
    ReportBox(tmp_path).keep("1", "a\r\nX-Evil: 1", TRACE, b"\r\n")
    assert b"\r\nX-Evil" not in (tmp_path / "new" / "1").read_bytes()


def test_a_disk_that_refuses_is_a_named_temporary_error(tmp_path):
    box = ReportBox(tmp_path)
    (tmp_path / "new").rename(tmp_path / "gone")
    with pytest.raises(SpoolFull) as caught:
        box.keep("1", "", TRACE, b"\r\n")
    assert caught.value.temporary
    assert list((tmp_path / "tmp").iterdir()) == []
