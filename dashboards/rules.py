"""Recording and alert rules as values, and the YAML that Prometheus reads.

Names of recorded series follow `level:metric:operation`; every one keeps `job` and `instance`, so two suites behind one
Prometheus stay apart. An alert carries what its reader needs to begin: numbers, the board to open, the page to follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Alert", "Group", "Links", "Record", "as_yaml"]


@dataclass(frozen=True, slots=True)
class Links:
    """Where annotations lead: prefixes of the runbook pages and of Grafana.

    The defaults are relative, right within a checkout and within Grafana; an operator who wants to click in a mail
    gives the full addresses.
    """

    runbooks: str = "docs/runbooks"
    grafana: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded series; `str()` selects it."""

    name: str
    expr: str

    def where(self, **labels: str) -> str:
        """A selector for it."""
        pairs = ",".join(f'{label}="{value}"' for label, value in labels.items())
        return f"{self.name}{{{pairs}}}"

    def __str__(self) -> str:
        return self.name

    def as_rule(self, _: Links) -> dict[str, Any]:
        """The rule as Prometheus spells it."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that somebody must know of. Its runbook page has its name.

    `severity` is `critical` (wake somebody), `warning` (today) or `info`. `board` is a path below Grafana's root.
    `scope` says what it is about (`mail`, `suite`, `machine`) and `matter` which others tell the same story.
    """

    name: str
    expr: str
    severity: str
    summary: str
    description: str
    board: str
    lasting: str = "5m"
    keep: str = ""
    scope: str = "mail"
    matter: str = ""

    def as_rule(self, links: Links) -> dict[str, Any]:
        """The rule as Prometheus spells it."""
        timing = {"for": self.lasting} | ({"keep_firing_for": self.keep} if self.keep else {})
        return {
            "alert": self.name,
            "expr": self.expr,
            **timing,
            "labels": {"severity": self.severity, "scope": self.scope, "matter": self.matter},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{links.runbooks.rstrip('/')}/{self.name}.md",
                "dashboard": links.grafana.rstrip("/") + self.board,
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules evaluated one after the other, so an alert sees what the records above it just wrote."""

    name: str
    rules: tuple[Record | Alert, ...]
    interval: str = "30s"

    def as_group(self, links: Links) -> dict[str, Any]:
        """The group as Prometheus spells it."""
        return {"name": self.name, "interval": self.interval, "rules": [rule.as_rule(links) for rule in self.rules]}


class _Readable(yaml.SafeDumper):
    """Writes an expression of several lines as a block, as a person would."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Readable.add_representer(str, _text)


def as_yaml(groups: Iterable[Group], links: Links | None = None) -> str:
    """A rule file, the same text on every call."""
    document: Mapping[str, Any] = {"groups": [group.as_group(links or Links()) for group in groups]}
    text: str = yaml.dump(document, Dumper=_Readable, sort_keys=False, width=4096, allow_unicode=True)
    return "# Made by `mtascope rules build`; change the code, not this file.\n" + text
