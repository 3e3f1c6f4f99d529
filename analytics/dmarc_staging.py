"""Rows of reports on their way into the store: files beside it, a JSON object with a list for each column a line.

A file is closed when it has two megabytes and another begun, so that a large report can be taken up in slices. The
store has one owner, so whatever another process has left here is nobody's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

__all__ = ["StagedRows"]

_FILE_SIZE = 2 * 1024 * 1024
_LINE_SIZE = 2 * 1024 * 1024
"""Bytes of a line at most (`dmarc/staging.py` writes shorter ones); DuckDB sets aside twice as much."""


class StagedRows:
    """What is staged by one user. `columns` gives each table's columns with their SQL types."""

    def __init__(self, beside: Path, columns: Mapping[str, Mapping[str, str]]) -> None:
        self._columns = columns
        self._folder = _own_folder(beside)
        self._open: dict[str, BinaryIO] = {}
        self._paths: defaultdict[str, list[Path]] = defaultdict(list)

    def add(self, table: str, columns: bytes, first_id: int) -> None:
        """Rows whose report ids count from `first_id`."""
        file = self._open.get(table)
        if file is None or file.tell() > _FILE_SIZE:
            file = self._next_file(table)
        file.write(b'{"first_id":%d,%b\n' % (first_id, columns[1:]))

    def flush(self) -> None:
        """Let others see everything."""
        for file in self._open.values():
            file.flush()

    def selects(self, table: str) -> list[str]:
        """A SELECT for each slice of a table's rows; none where nothing is staged.

        Ids are staged from 0; the highest of a report that is stored is added.
        """
        columns = self._columns[table]
        types = ", ".join(f"{name}: '{_carried(sql_type)}[]'" for name, sql_type in columns.items())
        values = ", ".join(_value(name, sql_type) for name, sql_type in columns.items())
        return [
            f"SELECT {values} FROM read_json('{_quoted(path)}', format = 'newline_delimited', "
            f"maximum_object_size = {_LINE_SIZE}, columns = {{first_id: 'BIGINT', {types}}})"
            for path in self._paths[table]
        ]

    def select(self, table: str) -> str:
        """A SELECT of all of a table's rows."""
        nothing = ", ".join(f"NULL::{sql_type} AS {name}" for name, sql_type in self._columns[table].items())
        return " UNION ALL ".join(self.selects(table)) or f"SELECT {nothing} LIMIT 0"

    def clear(self) -> None:
        """Forget everything."""
        for file in self._open.values():
            file.close()
        for paths in self._paths.values():
            for path in paths:
                path.unlink(missing_ok=True)
        self._open.clear()
        self._paths.clear()

    def close(self) -> None:
        """Forget everything for good."""
        self.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _next_file(self, table: str) -> BinaryIO:
        if table in self._open:
            self._open[table].close()
        path = self._folder / f"{table}-{len(self._paths[table])}.ndjson"
        self._paths[table].append(path)
        file = self._open[table] = path.open("wb")
        return file


def _carried(sql_type: str) -> str:
    return "VARCHAR" if sql_type == "BLOB" else sql_type


def _value(name: str, sql_type: str) -> str:
    if name == "report_id":
        return "(SELECT coalesce(max(report_id), 0) + 1 FROM dmarc.report) + first_id + unnest(report_id) AS report_id"
    return f"from_base64(unnest({name})) AS {name}" if sql_type == "BLOB" else f"unnest({name}) AS {name}"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _own_folder(beside: Path) -> Path:
    root = beside / "staging"
    root.mkdir(mode=0o700, exist_ok=True)
    mine = f"{os.getpid()}-"
    for left in root.iterdir():
        if not left.name.startswith(mine):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=mine, dir=root))
