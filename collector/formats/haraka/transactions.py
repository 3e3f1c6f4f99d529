"""The mails that a Haraka log has named recipients of, so that a later line that only counts them can be read.

A transaction `UUID.1` is queued once for each domain: `UUID.1.1` for the first domain among its recipients, `UUID.1.2`
for the next. Bounded: the transactions that were silent for longest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

__all__ = ["MAX_TRANSACTIONS", "Mail", "Transaction", "Transactions"]

MAX_TRANSACTIONS = 50_000
_MAX_RECIPIENTS = 10_000


@dataclass(slots=True)
class Mail:
    """One queued mail of a transaction: who still waits, whom the current attempt has deferred, and where it goes."""

    waiting: list[str]
    deferred: set[str] = field(default_factory=set)

    def taken(self, count: int) -> list[str] | None:
        """The recipients of whom `count` were accepted now; None if the log did not name them all."""
        accepted = [one for one in self.waiting if one not in self.deferred]
        if len(accepted) != count:
            accepted = self.waiting
        return list(accepted) if len(accepted) == count else None

    def ended(self, recipients: list[str]) -> None:
        """These have their outcome."""
        gone = set(recipients)
        self.waiting = [one for one in self.waiting if one not in gone]
        self.deferred -= gone


@dataclass(slots=True)
class Transaction:
    """What is known of a message that came in."""

    sender: str | None = None
    message_id: str | None = None
    size: int | None = None
    recipients: list[str] = field(default_factory=list)
    mails: dict[str, Mail] = field(default_factory=dict)


class Transactions:
    """All of them, by their id."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[str, Transaction] = OrderedDict()

    def begin(self, key: str, sender: str) -> None:
        """A client has named the sender."""
        self._known[key] = Transaction(sender)
        if len(self._known) > MAX_TRANSACTIONS:
            self._known.popitem(last=False)

    def get(self, key: str) -> Transaction | None:
        """The transaction, if it was seen."""
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def accept(self, key: str, recipient: str) -> None:
        """A recipient was accepted."""
        found = self._known.setdefault(key, Transaction())
        if len(found.recipients) < _MAX_RECIPIENTS and recipient not in found.recipients:
            found.recipients.append(recipient)

    def mail(self, key: str) -> Mail:
        """The mail `UUID.1.2`; nobody waits in one that is not known."""
        owner, _, number = key.rpartition(".")
        transaction = self.get(owner)
        if transaction is None:
            return Mail([])
        found = transaction.mails.get(key)
        if found is None:
            domains = list(dict.fromkeys(_domain(one) for one in transaction.recipients))
            at = int(number) - 1 if number.isdecimal() and len(number) < 6 else -1
            wanted = domains[at] if 0 <= at < len(domains) else None
            found = Mail([one for one in transaction.recipients if wanted is not None and _domain(one) == wanted])
            transaction.mails[key] = found
        return found


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
