"""Reading the CSV tables that ship with the language, or that an operator appends: strict, and naming the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from mta.events.errors import SettingsError

__all__ = ["read_table"]

_LIMIT = 4 * 1024 * 1024


def read_table(data: bytes, columns: tuple[str, ...], *, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column name; every one of `columns` is present and trimmed, others come along.

    Blank lines, lines that begin with `#` and repeated header lines are skipped, so that tables can be concatenated.
    SettingsError names `where` when a column is missing, the bytes are no UTF-8 or the table is over 4 MiB.
    """
    if len(data) > _LIMIT:
        raise SettingsError(f"the table has {len(data)} bytes, the limit is {_LIMIT}", where=where)
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SettingsError(f"not UTF-8 at byte {error.start}", where=where, remedy="save it as UTF-8") from error
    header: list[str] | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in next(csv.reader([line]))]
        if header is None:
            header = cells
            if missing := [name for name in columns if name not in header]:
                raise SettingsError(f"no column {', '.join(missing)}", where=where, remedy="see docs/providers.md")
        elif cells != header:
            yield number, _row(header, cells, f"{where} line {number}")


def _row(header: list[str], cells: list[str], where: str) -> dict[str, str]:
    if len(cells) != len(header):
        raise SettingsError(f"{len(cells)} cells where the header names {len(header)}", where=where)
    return dict(zip(header, cells, strict=True))
