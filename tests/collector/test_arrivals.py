"""Lines that are shipped twice are read once, also where a dialect counts equal lines."""

from __future__ import annotations

import pytest

from collector.drain import Drain
from collector.framing.parcels import Parcel, Shape
from collector.landing import Landing, LandingLimits
from collector.settings import CollectorSettings

LINE = b"2026-01-01T10:00:00+00:00 mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from c.example[192.0.2.9]: 550 5.7.1 \
<u@mailbox.example>: Recipient address rejected: no; from=<a@s.example> to=<u@mailbox.example> proto=ESMTP helo=<c>"


@pytest.fixture
def landing(tmp_path):
    one = Landing(tmp_path / "http", LandingLimits(free_bytes=0))
    one.open()
    yield one
    one.close()


def drained(landing, store):
    drain = Drain({"http": landing.folder}, store, CollectorSettings(format="postfix", node="mx1"))
    while drain.step():
        pass
    drain.flush()
    drain.close()
    return store.receipt


async def test_two_equal_lines_of_one_second_are_two_facts_however_often_they_are_sent(landing, store):
    for _ in range(3):
        await landing.land(Parcel([LINE, LINE], Shape.LINE, "mx1", "/var/log/mail.log", 500))
    receipt = drained(landing, store)
    assert (receipt.received, receipt.stored, receipt.duplicates) == (6, 2, 4)


async def test_equal_lines_of_two_logs_are_told_apart_by_their_hosts(landing, store):
    for host in ("mx1", "mx2"):
        line = LINE.replace(b"mx1", host.encode())
        await landing.land(Parcel([line], Shape.LINE, host, "/var/log/mail.log", 500))
    assert drained(landing, store).stored == 2


async def test_another_line_at_the_same_place_is_another_line(landing, store):
    for user in (b"u@", b"v@"):
        await landing.land(Parcel([LINE.replace(b"u@", user)], Shape.LINE, "mx1", "/var/log/mail.log", 0))
    assert drained(landing, store).stored == 2
