"""The root of the exception tree.

    MtascopeError
    ├── ParseError            bytes from outside that cannot be read           permanent
    │   └── LimitExceeded     ... because they pass a limit                    permanent
    ├── SettingsError         a setting, rule file or argument is wrong        permanent
    ├── StoreError            (analytics) the database refuses                 temporary or permanent
    ├── SpoolError            (mta) the spool refuses                          temporary or permanent
    └── SourceError           (collector) a file or socket cannot be read      temporary or permanent

Each part hangs its own errors under one of these, in its own `errors.py`.
"""

from __future__ import annotations

__all__ = ["LimitExceeded", "MtascopeError", "ParseError", "SettingsError"]


class MtascopeError(Exception):
    """Something went wrong that mtascope can name.

    `what` says what was wrong, `where` the file, line, offset or field, `remedy` what the reader can do about it.
    `temporary` tells whether the same call may succeed later without anybody changing anything.
    """

    temporary = False

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        """One line: where, what, what to do."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.remedy})" if self.remedy else text


class ParseError(MtascopeError):
    """Bytes from outside cannot be read; `reason` is a short stable word for counters and quarantine."""

    def __init__(
        self, what: str, *, reason: str = "malformed", where: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.reason = reason


class LimitExceeded(ParseError):
    """Input passes a limit (ARCHITECTURE promise 7); refused before it costs memory."""

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, reason="limit", where=where, remedy=remedy)


class SettingsError(MtascopeError):
    """A setting, rule file or command argument is wrong."""
