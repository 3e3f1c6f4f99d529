"""The bounce classes: what went wrong, whose fault it is, what to do, and what other products call it.

The table is data (`data/bounce_classes.csv`, explained in `docs/bounce-classes.md`); its names are the vocabulary of
every rule, rate and metric that speaks of causes (METRICS.md section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from mta.events.errors import SettingsError
from mta.events.tables import read_table

__all__ = ["BounceClass", "Taxonomy"]

_ALLOWED = {
    "severity": {"hard", "soft", "block", "admin", "none", "complaint"},
    "suppress": {"now", "after_repeats", "never"},
    "retry": {"never", "backoff", "after_fix"},
}
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BounceClass:
    """One cause of failure.

    `severity` (hard, soft, block, admin, none, complaint) says which rate counts it; `group` is the kind of problem.
    `suppress` (now, after_repeats, never) says when the address should not be mailed again, `retry` (never, backoff,
    after_fix) whether the message should be tried again. `enhanced` lists the RFC 3463 codes that mean it, without
    class digit (`X.1.1`). The remaining fields are what other products call it.
    """

    name: str
    meaning: str
    severity: str
    group: str
    suppress: str
    retry: str
    fault: str
    enhanced: str
    sisimai: str
    kumomta: str
    powermta: str
    sparkpost: str
    postmark: str
    ses: str
    sendgrid: str
    zonemta: str
    postalsys: str


class Taxonomy(Mapping[str, BounceClass]):
    """The bounce classes by name, in the order of the table. Always holds `unknown`."""

    def __init__(self, classes: Mapping[str, BounceClass]) -> None:
        if UNKNOWN not in classes:
            raise SettingsError(f"the taxonomy needs a class {UNKNOWN!r}", where="bounce classes")
        self._classes = dict(classes)

    @classmethod
    def from_csv(cls, data: bytes) -> Taxonomy:
        """Read the table; SettingsError names the line whose cell is outside its vocabulary."""
        columns = tuple(field.name for field in fields(BounceClass))
        classes: dict[str, BounceClass] = {}
        for line, row in read_table(data, columns, where="bounce classes"):
            for column, allowed in _ALLOWED.items():
                if row[column] not in allowed:
                    raise SettingsError(
                        f"{column} {row[column]!r} is none of {', '.join(sorted(allowed))}",
                        where=f"bounce classes line {line}",
                    )
            classes[row["name"]] = BounceClass(**{column: row[column] for column in columns})
        return cls(classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Every class, in the order of the table."""
        return tuple(self._classes)

    def __getitem__(self, name: str) -> BounceClass:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)
