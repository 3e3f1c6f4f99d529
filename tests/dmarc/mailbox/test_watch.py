"""A watch goes on through whatever happens to its mailbox, and puts nothing away that is not committed."""

from __future__ import annotations

import random
import threading

import pytest

from dmarc.authentication.carrier_check import CarrierCheck
from dmarc.carrier import MailAuth
from dmarc.errors import MailboxError
from dmarc.mailbox.mailbox import Letter
from dmarc.mailbox.watch import Pauses, Watch
from mta.events.errors import MtascopeError


class Ingest:
    """Takes and commits into lists."""

    def __init__(self, fail: int = 0, error: Exception | None = None) -> None:
        self.staged: list[str] = []
        self.committed: list[str] = []
        self.verdicts: list[object] = []
        self._fail, self._error = fail, error

    def take(self, source: str, chunks, auth=None) -> bool:
        self.staged.append(source)
        self.verdicts.append(auth)
        return b"bad" not in b"".join(chunks)

    def commit(self) -> None:
        self._fail -= 1
        if self._fail >= 0:
            self.staged.clear()
            raise self._error
        self.committed += self.staged
        self.staged.clear()


class Box:
    """A mailbox in memory; opening and reading it fails as often as wanted."""

    def __init__(self, *mails: bytes, failures: int = 0) -> None:
        self.waiting = {str(number): mail for number, mail in enumerate(mails)}
        self.away: list[tuple[str, bool]] = []
        self.failures = failures
        self.opened = 0
        self.ingest: Ingest | None = None
        self.watch: Watch | None = None

    def open(self) -> Box:
        self.opened += 1
        if self.failures:
            self.failures -= 1
            raise MailboxError("down", where="here")
        return self

    def letters(self):
        if self.waiting:
            yield [Letter(key, data) for key, data in self.waiting.items()]

    def put_away(self, letters, *, refused: bool = False) -> None:
        for letter in letters:
            assert f"box/{letter.key}" in self.ingest.committed, "put away before the commit"
            del self.waiting[letter.key]
            self.away.append((letter.key, refused))

    def wait(self, seconds: float, stopping: threading.Event) -> None:
        self.watch.stop()

    def close(self) -> None:
        pass


def run(box: Box, ingest: Ingest, carriers=None) -> Watch:
    box.ingest = ingest
    pauses = Pauses(0.001, 0.002)
    box.watch = Watch("box", box.open, ingest, rescan=1, clock=lambda: 7, pauses=pauses, carriers=carriers)
    box.watch.run()
    return box.watch


def test_mails_are_committed_and_then_put_away_refused_ones_apart():
    box = Box(b"good", b"bad", b"good")
    watch = run(box, Ingest())
    assert box.away == [("0", False), ("2", False), ("1", True)]
    assert (watch.health.mails, watch.health.last_mail, watch.health.looked) == (3, 7, 7)


def test_a_mailbox_that_is_down_is_opened_again():
    box = Box(b"good", failures=3)
    watch = run(box, Ingest())
    assert (box.opened, watch.health.failures, len(box.away)) == (4, 3, 1)
    assert watch.health.last_error == "here: down"


def test_a_store_that_is_full_moves_nothing_and_is_tried_again():
    full = MtascopeError("full")
    full.temporary = True
    box = Box(b"good")
    ingest = Ingest(fail=2, error=full)
    run(box, ingest)
    assert (ingest.committed, box.away) == (["box/0"], [("0", False)])


def test_a_store_that_refuses_for_good_ends_the_watch():
    box = Box(b"good")
    with pytest.raises(MtascopeError, match="broken"):
        run(box, Ingest(fail=1, error=MtascopeError("broken")))
    assert box.away == []


def test_pauses_grow_to_a_limit_and_begin_anew_after_success():
    pauses = Pauses(1.0, 60.0, random.Random(1))
    waited = [pauses.next() for _ in range(12)]
    assert all(2 / 3 <= pause / min(2**number, 60) <= 4 / 3 for number, pause in enumerate(waited))
    pauses.succeeded()
    assert pauses.next() < 2


def test_each_mail_is_stored_with_the_verdict_on_it(zone):
    ingest = Ingest()
    run(Box(b"From: a@x.example\r\n\r\n", b"bad"), ingest, CarrierCheck(zone()))
    assert ingest.verdicts == [MailAuth.NONE, MailAuth.FAIL]
