"""What a mailbox is to the rest: mails that wait, and a way to put away what has been stored.

The order of things keeps promise 2: a mail is fetched without a mark, stored, committed, and only then moved, flagged
or deleted. Whatever dies in between, the mail is still there and comes again, and the store knows it by its hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

__all__ = ["Letter", "Mailbox"]


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail as it lies in a mailbox. `key` is the mailbox's own name for it: UID, file name, id."""

    key: str
    data: bytes


class Mailbox(Protocol):
    """An open mailbox, for one thread. Every method raises MailboxError when it cannot go on; then open it anew."""

    def letters(self) -> Iterator[Sequence[Letter]]:
        """What waits, the oldest first, in portions that fit in memory. Put a portion away before asking for more."""

    def put_away(self, letters: Sequence[Letter], *, refused: bool = False) -> None:
        """Move, flag or delete these: they are committed. `refused` ones gave no report."""

    def wait(self, seconds: float, stopping: Event) -> None:
        """Until something may have come, it is time to look again, or `stopping` is set."""

    def close(self) -> None:
        """Give the connection back; never raises."""
