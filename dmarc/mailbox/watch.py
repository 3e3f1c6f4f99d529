"""Emptying a mailbox for as long as the process runs: fetch, judge, store, commit, put away, wait, and begin again.

One watch is one thread with a store connection of its own, so a mailbox that is down holds up nobody. After a failure
it opens the mailbox anew, each time after a longer pause with some chance in it: servers ban those who hammer.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from threading import Event

from dmarc.authentication.carrier_check import CarrierCheck
from dmarc.carrier import MailAuth
from dmarc.ingest import ReportIngest
from dmarc.mailbox.mailbox import Letter, Mailbox
from dmarc.metrics import MailboxHealth
from mta.events.errors import MtascopeError

__all__ = ["Pauses", "Watch"]

_log = logging.getLogger(__name__)


class Pauses:
    """How long to wait after each failure in a row: twice as long as before, give or take a third."""

    def __init__(self, first: float = 1.0, longest: float = 300.0, chance: random.Random | None = None) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance or random.Random()  # noqa: S311 - no secret
        self._failures = 0

    def succeeded(self) -> None:
        """The next failure is the first one again."""
        self._failures = 0

    def next(self) -> float:
        """Seconds."""
        pause = min(self._first * 2.0 ** min(self._failures, 30), self._longest)
        self._failures += 1
        return pause * self._chance.uniform(2 / 3, 4 / 3)


class Watch:
    """Empties one mailbox in the calling thread until `stop`; `health` may be read at any time.

    `open_mailbox` makes a new connection; `carriers` judges mails that nobody has judged. Raises what the store raises
    if it refuses for good.
    """

    def __init__(
        self,
        name: str,
        open_mailbox: Callable[[], Mailbox],
        ingest: ReportIngest,
        *,
        rescan: float,
        clock: Callable[[], int],
        pauses: Pauses | None = None,
        carriers: CarrierCheck | None = None,
    ) -> None:
        self.name = name
        self.health = MailboxHealth()
        self._open = open_mailbox
        self._ingest = ingest
        self._rescan = rescan
        self._clock = clock
        self._pauses = pauses or Pauses()
        self._carriers = carriers
        self._stopping = Event()

    def run(self) -> None:
        """Work until stopped."""
        while not self._stopping.is_set():
            try:
                with closing(self._open()) as mailbox:
                    self._serve(mailbox)
            except MtascopeError as error:
                self.health.failed(str(error), self._clock())
                if not error.temporary:
                    raise
                _log.warning("mailbox %s: %s", self.name, error)
                self._stopping.wait(self._pauses.next())

    def stop(self) -> None:
        """Ask `run` to end soon; from any thread."""
        self._stopping.set()

    def empty(self, mailbox: Mailbox) -> None:
        """Store and put away what waits now."""
        for portion in mailbox.letters():
            taken = [(letter, self._take(letter, auth)) for letter, auth in self._judged(portion)]
            self._ingest.commit()
            _put_away(mailbox, taken)
            self.health.took(len(portion), self._clock())
            self._pauses.succeeded()
            if self._stopping.is_set():
                return

    def _serve(self, mailbox: Mailbox) -> None:
        self.health.connected = True
        while not self._stopping.is_set():
            self.empty(mailbox)
            self.health.looked = self._clock()
            self._pauses.succeeded()
            mailbox.wait(self._rescan, self._stopping)

    def _judged(self, letters: Sequence[Letter]) -> Iterator[tuple[Letter, MailAuth | None]]:
        """Each with the verdict on it, unless a host whom we trust will have written one into it."""
        if self._carriers is None:
            yield from ((letter, None) for letter in letters)
        else:
            yield from zip(
                letters, self._carriers.judge([letter.data for letter in letters], self._clock()), strict=True
            )

    def _take(self, letter: Letter, auth: MailAuth | None) -> bool:
        return self._ingest.take(f"{self.name}/{letter.key}", [letter.data], auth)


def _put_away(mailbox: Mailbox, taken: Sequence[tuple[Letter, bool]]) -> None:
    for refused in (False, True):
        letters = [letter for letter, whole in taken if whole is not refused]
        if letters:
            mailbox.put_away(letters, refused=refused)
