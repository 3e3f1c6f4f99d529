"""A recipient as one flat row: what questions are asked of, and what sealed history keeps.

A row of `unit` holds its facts as structs, because a struct merges as a whole (analytics/lifecycle.py). Questions want
plain columns, which can be read one by one: here every field of every fact is a column, named `<fact>` or
`<fact>_<field>`, together with `injected_at`, the `profile` of what it counts as
(analytics/profile.py) and a signed weight `n`. The weight is 1 where a recipient stands and -1
where a sealed row is taken back, so counts are always `sum(n)`, never a number of rows.

The columns follow from `FACTS`; nothing is listed twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from analytics.lifecycle import FACTS, INJECTED_AT

__all__ = ["COLUMNS", "Column", "flat", "of_unit", "structured"]

_FIELDS = re.compile(r"(\w+) (\w+)")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a flat row: its type, and how a row of `unit` gives it."""

    name: str
    sql_type: str
    of_unit: str


def _fields(sql_type: str) -> list[tuple[str, str]]:
    """Names and types of a struct's fields; nothing for a plain type."""
    return _FIELDS.findall(sql_type.removeprefix("STRUCT(")) if sql_type.startswith("STRUCT(") else []


def _columns() -> tuple[Column, ...]:
    columns = [Column("unit_id", "UBIGINT", "unit_id"), Column("injected_at", "TIMESTAMP", INJECTED_AT)]
    for fact in FACTS:
        fields = _fields(fact.sql_type)
        columns += [Column(f"{fact.name}_{name}", kind, f"{fact.name}.{name}") for name, kind in fields]
        if not fields:
            columns.append(Column(fact.name, fact.sql_type, fact.name))
    return tuple(columns)


COLUMNS = _columns()
_OF_UNIT = {column.name: column.of_unit for column in COLUMNS}
_NAME = re.compile(r"\b[a-z_]+\b")


def flat(units: str, n: str = "1", profile: str = "profile") -> str:
    """SELECT of flat rows from a relation of unit rows with their profiles, each with the weight `n`."""
    columns = ", ".join(f"{column.of_unit} AS {column.name}" for column in COLUMNS)
    return f"SELECT {n}::TINYINT AS n, {profile}::UINTEGER AS profile, {columns} FROM {units}"


def of_unit(sql: str) -> str:
    """An expression over a flat row as one over a row of `unit`."""
    return _NAME.sub(lambda found: _OF_UNIT.get(found[0], found[0]), sql)


def structured(rows: str) -> str:
    """SELECT of unit rows with their profiles from a relation of flat rows: the way back."""
    values = []
    for fact in FACTS:
        fields = [name for name, _ in _fields(fact.sql_type)]
        packed = ", ".join(f"'{name}': {fact.name}_{name}" for name in fields)
        struct = f"CASE WHEN {fact.name}_moment IS NOT NULL THEN {{{packed}}} END"
        values.append(f"{struct if fields else fact.name}::{fact.sql_type} AS {fact.name}")
    return f"SELECT unit_id, profile, {', '.join(values)} FROM {rows}"
