"""What this part needs of a store. `analytics` satisfies it; `mtascope` joins the two.

Rows travel as text, a list for each column, because the two parts share no nouns and reading may happen in processes of
its own; `dmarc/rows.py` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["ReportReceipt", "ReportStore", "Row"]

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ReportReceipt:
    """What became of inputs, after the commit. `mails` counts inputs: mails or files.

    Of the reports found in them, `reports` were stored (`revisions` of them as another version of one that was there),
    `duplicates` were there already, `quarantined` could not be taken. `records` and `messages` are of the stored ones.
    """

    mails: int = 0
    reports: int = 0
    duplicates: int = 0
    revisions: int = 0
    quarantined: int = 0
    records: int = 0
    messages: int = 0

    def __add__(self, other: ReportReceipt) -> ReportReceipt:
        """Both together."""
        return ReportReceipt(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class ReportStore(Protocol):
    """One transaction at a time: stage what belongs together, then commit it or nothing."""

    def stage(self, table: str, columns: bytes, first_id: int) -> None:
        """Rows of a table of schema `dmarc`, as `dmarc.rows.encoded` writes them, to be stored at the next commit.

        Report ids are counted from `first_id`; they mean something until the commit only, which gives the real ones.
        Rows of a report that has no row in `report` are dropped.
        """

    def commit_reports(self) -> dict[str, int]:
        """Store what is staged; after the commit, the counts of ReportReceipt by name."""
