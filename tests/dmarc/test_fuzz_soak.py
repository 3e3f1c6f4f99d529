"""A long search for inputs that the reader cannot take: seeded mutations of every kind of input, in every wrapping.

`MTASCOPE_FUZZ_SECONDS` sets how long it searches (an hour before a release; a minute or so in CI). A finding prints the
seed and the round, which make it again.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import gzip
import html
import lzma
import os
import random
import struct
import sys
import time
from pathlib import Path

import pytest

from dmarc.limits import Limits
from dmarc.reading import Reading, read_reports
from dmarc.reports import AggregateReport, Outcome
from dmarc.staging import Staging, Trust
from mta.events.pseudonym import Keyring

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

_TOKENS = (
    b"<", b">", b"&", b"]]>", b"<![CDATA[", b"<record>", b"</record>", b"\0", b"<!DOCTYPE x>", b"<?xml?>", b"&#0;",
    b"<a:b xmlns:a='u'>", b"--b\r\n", b"--b--", b"\r\n\r\n", b"\nFrom x\n", b"\x1f\x8b\x08\x00", b"PK\x01\x02",
    b"PK\x05\x06", b"\xff\xfe", b"\xef\xbb\xbf", b"9" * 30, b"-1", b"1e309", b"{", b"[" * 500, b"null", b'"',
    b"\\ud800", b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"Feedback-Type: auth-failure\r\n", b"(" * 300,
    b"<count>", b"2025-13-45T99:99:99Z", b"::ffff:0.0.0.0", b"999.1.1.1", b"xn--\xc3\xa9", b"=\r\n", b"=?utf-8?b?",
)  # fmt: skip
KEYRING = Keyring(b"i" * 32, {1: b"r" * 32})
NOW = 1_767_225_600_000_000
_SLOWEST = 5.0
"""Seconds that one input may take; generous, because machines that test are busy."""


class Mutations:
    """Inputs without end, each a function of the seed and its number."""

    def __init__(self, samples: list[bytes], mailed, zipped) -> None:
        self._samples = samples
        self._wrappings = (
            lambda data, _: data,
            lambda data, _: gzip.compress(data, 1, mtime=0),
            lambda data, _: zipped(("a.xml", data)),
            lambda data, rng: zipped(("a.xml", data), ("../../b", rng.choice(samples))),
            lambda data, _: base64.encodebytes(data),
            lambda data, _: mailed(("application/gzip", "a.gz", data)),
            lambda data, rng: mailed(("text/xml", "x", data), ("application/zip", "y", rng.choice(samples))),
            lambda data, _: mailed(("message/rfc822", "m", data)),
            lambda data, _: b"From a\n" + data + b"\n\nFrom b\n" + data,
            lambda data, _: bz2.compress(data, 1),
            lambda data, _: lzma.compress(data, preset=0),
            lambda data, _: html.escape(data.decode("latin-1")).encode("latin-1"),
            lambda data, _: b"Subject: x\n\nbegin 644 a\n" + uuencoded(data) + b"`\nend\n",
            lambda data, _: tnef(data),
            lambda data, _: signed(b"Content-Type: text/xml\r\n\r\n" + data),
        )

    def make(self, rng: random.Random) -> bytes:
        data = rng.choice(self._samples)
        if rng.random() < 0.6:
            data = self._damaged(rng, data)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            data = rng.choice(self._wrappings)(data, rng)
            if rng.random() < 0.1:
                data = self._damaged(rng, data)
        return data

    def _damaged(self, rng: random.Random, original: bytes) -> bytes:
        data = bytearray(original)
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at = rng.randrange(len(data) + 1)
            length = rng.choice((1, 4, 30, 200, 2_000))
            match rng.randrange(7):
                case 0:
                    del data[at : at + length]
                case 1:
                    data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
                case 2:
                    data[at : at + 1] = bytes((rng.randrange(256),))
                case 3:
                    data[at:at] = rng.choice(_TOKENS)
                case 4:
                    del data[at:]
                case 5:
                    other = rng.choice(self._samples)
                    start = rng.randrange(len(other) + 1)
                    data[at : at + length] = other[start : start + length]
                case _:
                    data[at : at + length] = rng.randbytes(min(length, 40))
        return bytes(data[:500_000])


def uuencoded(data: bytes) -> bytes:
    return b"".join(binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))


def tnef(data: bytes) -> bytes:
    """One attachment in Outlook's wrapping."""
    head = struct.pack("<IH", 0x223E9F78, 1) + struct.pack("<BII", 2, 0x00069002, 14) + bytes(16)
    return head + struct.pack("<BII", 2, 0x0006800F, len(data)) + data + b"\0\0"


def signed(data: bytes) -> bytes:
    """Signed data of S/MIME, lengths left open but the content's."""
    content = b"\x04\x84" + len(data).to_bytes(4, "big") + data
    start = bytes.fromhex("308006092a864886f70d010702a080308002010131003080" + "06092a864886f70d010701a080")
    return start + content + bytes(4) + b"\x31\x00" + bytes(6)


def fixtures() -> list[bytes]:
    """Real mails that the repository holds."""
    folder = Path(__file__).parents[1] / "data" / "mail"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [file.read_bytes()[:60_000] for file in files[:60]]


def check(data: bytes) -> Outcome | None:
    """Every promise about one input; the last outcome."""
    emitted: list[bytes] = []
    staging = Staging(KEYRING, Trust(), Limits(), lambda _table, columns: emitted.append(columns))
    staging.take("fuzz", [data], NOW)
    staging.flush()
    assert b"internal-error" not in b"".join(emitted)
    records = messages = 0
    last: Reading | None = None
    for item in read_reports([data]):
        if not isinstance(item, Reading):
            records += len(item)
            messages += sum(record.messages for record in item)
            continue
        last = item
        if item.outcome is Outcome.QUARANTINED:
            assert item.error is not None
            assert item.error.reason
        elif isinstance(item.report, AggregateReport):
            assert (item.report.records, item.report.messages) == (records, messages)
        records = messages = 0
    assert last is not None, "silence"
    return last.outcome


def test_nothing_but_named_errors_comes_of_any_input(samples, mail_of, zip_of, record_property):
    seconds = float(os.environ.get("MTASCOPE_FUZZ_SECONDS", "60"))
    seed = int(os.environ.get("MTASCOPE_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    mutations = Mutations([*samples, *fixtures()], mail_of, zip_of)
    outcomes: dict[Outcome | None, int] = {}
    slowest = number = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
        data = mutations.make(random.Random(seed * 1_000_003 + number))
        began = time.process_time()
        try:
            outcome = check(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            pytest.fail(f"MTASCOPE_FUZZ_SEED={seed}, input {number} ({len(data)} bytes): {error!r}")
        took = time.process_time() - began
        assert took < _SLOWEST, f"MTASCOPE_FUZZ_SEED={seed}, input {number}: {took:.1f} s of CPU"
        slowest = max(slowest, took)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    told = f"{number} inputs in {seconds:g} s, seed {seed}, slowest {slowest:.2f} s, {outcomes}"
    record_property("fuzz", told)
    sys.stderr.write(told + "\n")
    assert len(outcomes) == len(Outcome), "the search met every outcome, so it reached all of the reader"
