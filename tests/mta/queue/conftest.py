"""Envelopes, messages and spools to try things on."""

import os
from itertools import count

import orjson
import pytest

from mta.queue.message import Envelope, Message
from mta.queue.spool import Spool

_numbers = count(1)


def make_messages(recipients=1, size=20, sender="a@example.org"):
    envelope = Envelope(sender, received_at=1_000_000, size=size, message_id="<m@example.org>", meta={"tenant": "t"})
    return envelope, [
        Message(f"{next(_numbers):032x}", f"r{n}@example.com", "example.com", "t@example.com", envelope, due=1_000_000)
        for n in range(recipients)
    ]


def a_record(kind="Reception", **fields):
    return {"type": kind, "meta": {}, **fields}


class Outbox(list):
    """Collects what the spool hands to the log."""

    def __call__(self, seq, line):
        self.append((seq, orjson.loads(line)))

    @property
    def seqs(self):
        return [seq for seq, _ in self]


@pytest.fixture
def tools():
    """The three things above, for tests that cannot import them."""

    class Tools:
        messages = staticmethod(make_messages)
        record = staticmethod(a_record)
        outbox = Outbox

    return Tools


@pytest.fixture
def open_spool(tmp_path):
    """Opens spools over folders, remembers and closes them."""
    opened = []

    def make(folder=None, logged=0, **options):
        outbox = Outbox()
        spool = Spool(folder or tmp_path / "spool", outbox=outbox, **options)
        spool.recovery = spool.recover(logged)
        spool.sent = outbox
        opened.append(spool)
        return spool

    yield make
    for spool in opened:
        if spool._lock is not None:
            os.close(spool._lock)
