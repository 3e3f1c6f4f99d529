"""What this part needs of a store. `analytics` satisfies it; `mtascope` joins the two.

Rows travel as plain tuples in the order of the columns, because the two parts share no nouns; `dmarc/rows.py` makes
them.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def next_report_id(self) -> int:
        """An id that no other report has or will have."""

    def stage(self, table: str, rows: Sequence[Row]) -> None:
        """Rows of a table of schema `dmarc`, to be stored at the next commit unless their report turns out known."""

    def drop(self, report_id: int) -> None:
        """Forget what was staged of a report."""

    def commit_reports(self) -> dict[str, int]:
        """Store what is staged; after the commit, the counts of ReportReceipt by name."""
