"""What can go wrong with a report.

ParseError
├── NotAReport         nothing in the input is a report of a kind we know
├── ForbiddenMarkup    a document type, entity or nesting that no honest report has
├── DamagedReport      a report so damaged that nothing whole is left
└── LimitExceeded      (mta.events) a size, count or ratio is passed

`reason` is the short stable word for quarantine and counters.
"""

from __future__ import annotations

from mta.events.errors import MtascopeError, ParseError

__all__ = ["DamagedReport", "ForbiddenMarkup", "LookupFailed", "MailboxError", "NotAReport", "ReaderFailed"]


class NotAReport(ParseError):
    """The input holds no report: `reason` says what it is instead (empty, no-report, encrypted, unsupported)."""


class ForbiddenMarkup(ParseError):
    """Markup that only an attack needs: refused before it can have an effect."""


class DamagedReport(ParseError):
    """It was a report once; nothing whole is left of it."""


class MailboxError(MtascopeError):
    """A mailbox cannot be read now; the next round tries again."""

    temporary = True


class ReaderFailed(MtascopeError):
    """A process that reads reports is gone; what it had not handed over is not stored."""


class LookupFailed(MtascopeError):
    """DNS gave no answer: neither that there is something nor that there is nothing."""

    temporary = True
