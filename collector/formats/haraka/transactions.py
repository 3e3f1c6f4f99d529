"""The mails that a Haraka log has named recipients of, so that a later line that only counts them can be read.

A transaction `UUID.1` is queued once for each domain: `UUID.1.1` for the first domain among its recipients, `UUID.1.2`
for the next; with `always_split` once for each recipient. The log never says which, so it is learned: from a recipient
or a domain that a mail should not have, or a number that no mail should have. Bounded: the transactions that were
silent for longest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from mta.events.reply import SmtpReply

__all__ = ["MAX_TRANSACTIONS", "Mail", "Transaction", "Transactions"]

MAX_TRANSACTIONS = 50_000
_MAX_RECIPIENTS = 10_000


@dataclass(slots=True)
class Mail:
    """One queued mail of a transaction: who still waits, whom the current attempt has deferred, who was told what."""

    waiting: list[str]
    deferred: set[str] = field(default_factory=set)
    told: dict[str, SmtpReply] = field(default_factory=dict)
    """What the peer said last to those whom it deferred one by one."""

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
        for one in recipients:
            self.told.pop(one, None)


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

    __slots__ = ("_known", "_split")

    def __init__(self) -> None:
        self._known: OrderedDict[str, Transaction] = OrderedDict()
        self._split = False  # one mail for each recipient, as far as is known

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

    def mail(self, key: str, recipient: str = "", domain: str = "") -> Mail:
        """The mail `UUID.1.2`; nobody waits in one that is not known. It goes to `recipient` or `domain`, if told."""
        transaction = self.get(key.rpartition(".")[0])
        if transaction is None:
            return Mail([])
        mail = transaction.mails.get(key)
        if mail is None or (mail.waiting and not _fits(mail, recipient, domain)):
            mail = self._queued(key, transaction)
            if len(transaction.recipients) > 1 and not _fits(mail, recipient, domain):
                mail = self._doubted(key, transaction, recipient, domain) or mail
            transaction.mails[key] = mail
        return mail

    def _doubted(self, key: str, transaction: Transaction, recipient: str, domain: str) -> Mail | None:
        """The mail if the server cuts transactions in the other way; None if that is no better."""
        self._split = not self._split
        mail = self._queued(key, transaction)
        if not _fits(mail, recipient, domain):
            self._split = not self._split
            return None
        transaction.mails.clear()  # they were cut in the wrong way
        return mail

    def _queued(self, key: str, transaction: Transaction) -> Mail:
        number = key.rpartition(".")[2]
        at = int(number) - 1 if number.isdecimal() and len(number) < 6 else -1
        groups = [[one] for one in transaction.recipients] if self._split else _by_domain(transaction.recipients)
        return Mail(list(groups[at]) if 0 <= at < len(groups) else [])


def _fits(mail: Mail, recipient: str, domain: str) -> bool:
    """The mail may be the one that goes there; nothing told, nothing doubted, but somebody must wait in it."""
    if recipient:
        return recipient in mail.waiting
    return bool(mail.waiting) and (not domain or _domain(mail.waiting[0]) == domain.lower())


def _by_domain(recipients: list[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for one in recipients:
        groups.setdefault(_domain(one), []).append(one)
    return list(groups.values())


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
