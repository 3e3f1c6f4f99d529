"""How fast mail may go where: limits and automation rules by provider and domain, from files in KumoMTA's form. Pure.

    ["default"]
    connection_limit = 10
    [provider."google"]
    match = [{MXSuffix = ".google.com"}, {MXSuffix = ".googlemail.com"}]
    provider_connection_limit = 5
    ["example.com"]
    mx_rollup = false
    max_message_rate = "100/min"
    ["example.com".sources."ip2"]
    max_message_rate = "10/min"

Later wins: default, provider, provider and source, site, domain, site and source, domain and source; a later file goes
over an earlier one. A provider is matched when each mail host of a destination has one of its names or suffixes, or
the domain has its suffix. What is said of a domain holds for all domains on the same mail hosts, unless `mx_rollup` is
false.

An unknown key is an error with file and line; a key of KumoMTA's that does nothing here is named in `ignored`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mta.delivery.limits import KEYS, NOT_KEPT, Limits, read_value
from mta.delivery.shaping_rule import Rule, read_rule
from mta.events.address import canonical_domain
from mta.events.errors import SettingsError

__all__ = ["Shape", "Shaping", "ShapingFile"]

_MOST_KNOWN = 10_000
_HEADER = re.compile(r"\s*\[\[?(.+?)\]\]?\s*(?:#.*)?")
_OWN_KEYS = frozenset({"sources", "automation", "mx_rollup", "replace_base"})
_MATCHES = ("MXSuffix", "HostName", "DomainSuffix")


@dataclass(frozen=True, slots=True)
class ShapingFile:
    """The text of one file, and its name for complaints."""

    text: str
    name: str = "shaping.toml"


@dataclass(frozen=True, slots=True)
class Shape:
    """What holds for one way: from a source to the mail hosts of a domain.

    `scope` is the domain if it has limits of its own, else "": ways with equal source, site and scope share their
    limits.
    """

    limits: Limits
    provider: str
    scope: str
    rules: tuple[Rule, ...]


@dataclass(slots=True)
class _Section:
    """What the files say of one domain, or of all (`default`)."""

    limits: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    rolls_up: bool | None = None
    """What the files say of it, if they do; true otherwise."""

    def for_source(self, source: str) -> Mapping[str, Any]:
        return self.sources.get(source, {})

    def merge(self, later: _Section) -> None:
        self.limits |= later.limits
        for source, limits in later.sources.items():
            self.sources[source] = {**self.for_source(source), **limits}
        self.rules += later.rules
        self.rolls_up = self.rolls_up if later.rolls_up is None else later.rolls_up


@dataclass(slots=True)
class _Provider(_Section):
    """What the files say of one provider, and whom it serves."""

    named: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def serves(self, domain: str, hosts: Sequence[str]) -> bool:
        if domain.endswith(self.named.get("DomainSuffix", ())):
            return True
        names, suffixes = self.named.get("HostName", ()), self.named.get("MXSuffix", ())
        return bool(hosts) and all(host in names or host.endswith(suffixes) for host in hosts)

    def merge(self, later: _Section) -> None:
        super(_Provider, self).merge(later)
        if isinstance(later, _Provider):
            self.named = {kind: self.named.get(kind, ()) + later.named.get(kind, ()) for kind in _MATCHES}


class Shaping:
    """The rules of all files; `ignored` names the keys that are there and not kept."""

    def __init__(self, base: Limits, files: Iterable[ShapingFile] = ()) -> None:
        """Read the files over the `base`. Raises `SettingsError` that names file and line."""
        self.ignored: list[str] = []
        self._base = base
        self._default = _Section()
        self._providers: dict[str, _Provider] = {}
        self._domains: dict[str, _Section] = {}
        self._sites: dict[str, _Section] = {}
        self._rolled_up: dict[str, str] = {}
        self._known: dict[tuple[str, str, tuple[str, ...], str], Shape] = {}
        self._serving: dict[tuple[str, tuple[str, ...]], str] = {}
        for file in files:
            self._add(_Reader(file, self.ignored))
        self.ignored += [
            f"provider.{name} has no match"
            for name, provider in self._providers.items()
            if not any(provider.named.values())
        ]

    def shape(self, domain: str, site: str, hosts: tuple[str, ...], source: str = "default") -> Shape:
        """What holds for mail from a source to a domain that is served by those mail hosts, which make up that site."""
        key = (domain, site, hosts, source)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = known = self._find(*key)
        return known

    def provider(self, domain: str, hosts: tuple[str, ...]) -> str:
        """The provider that serves a domain by those mail hosts; "" if none of the files' does."""
        known = self._serving.get((domain, hosts))
        if known is None:
            if len(self._serving) >= _MOST_KNOWN:
                self._serving.clear()
            serving = (name for name, each in reversed(self._providers.items()) if each.serves(domain, hosts))
            self._serving[domain, hosts] = known = next(serving, "")
        return known

    def _find(self, domain: str, site: str, hosts: tuple[str, ...], source: str) -> Shape:
        serving = {name: each for name, each in self._providers.items() if each.serves(domain, hosts)}
        by_site = self._sites.get(site, _Section())
        by_domain = self._domains.get(domain)
        if by_domain is not None and self._rolled_up.get(domain) == site:
            by_domain = None
        own = by_domain or _Section()
        layers = [self._default, *serving.values()]
        found: dict[str, Any] = {}
        for layer in layers:
            found |= layer.limits
        for layer in layers:
            found |= layer.for_source(source)
        for said in (by_site.limits, own.limits, by_site.for_source(source), own.for_source(source)):
            found |= said
        rules = tuple(rule for layer in (*layers, by_site, own) for rule in layer.rules)
        return Shape(replace(self._base, **found), self.provider(domain, hosts), domain if by_domain else "", rules)

    # Domains that stand for all on their mail hosts

    @property
    def provider_names(self) -> list[str]:
        """The providers of all files."""
        return list(self._providers)

    @property
    def to_roll_up(self) -> list[str]:
        """The domains whose limits are to hold for everybody on the same mail hosts, once these are looked up."""
        return [domain for domain, section in self._domains.items() if section.rolls_up is not False]

    def roll_up(self, domain: str, site: str) -> None:
        """The mail hosts of that domain make up that site."""
        if self._rolled_up.get(domain) == site:
            return
        self._rolled_up[domain] = site
        self._sites = {}
        for each, where in self._rolled_up.items():
            self._sites.setdefault(where, _Section()).merge(self._domains[each])
        self._known.clear()

    @property
    def rolled_up(self) -> Mapping[str, str]:
        """The sites of the domains that were looked up."""
        return dict(self._rolled_up)

    def shares_site(self) -> list[tuple[str, list[str]]]:
        """Sites for which several domains speak, which is likely a mistake: the later in the file wins."""
        by_site: dict[str, list[str]] = {}
        for domain, site in self._rolled_up.items():
            by_site.setdefault(site, []).append(domain)
        return [(site, domains) for site, domains in by_site.items() if len(domains) > 1]

    # Reading

    def _add(self, reader: _Reader) -> None:
        tables = dict(reader.tables)
        if "default" in tables:
            self._default.merge(reader.section(("default",), tables.pop("default"), _Section()))
        providers = tables.pop("provider", {})
        for name, table in reader.table(("provider",), providers).items():
            _put(self._providers, name, reader.provider(name, table), reader.replaces(table))
        for name, table in tables.items():
            section = reader.section((name,), table, _Section())
            _put(self._domains, canonical_domain(name), section, reader.replaces(table))


def _put(kept: dict[str, Any], name: str, section: _Section, replaces: bool) -> None:  # noqa: FBT001 - private
    if replaces or name not in kept:
        kept[name] = section
    else:
        kept[name].merge(section)


class _Reader:
    """Turns the tables of one file into sections; every complaint says where."""

    def __init__(self, file: ShapingFile, ignored: list[str]) -> None:
        self._file = file
        self._ignored = ignored
        try:
            self.tables = tomllib.loads(file.text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"is no TOML: {error}", where=file.name) from error

    def table(self, path: tuple[str, ...], said: Any) -> Mapping[str, Any]:
        if not isinstance(said, Mapping):
            raise self._complaint(path, "is no table", remedy='write names of domains in quotes: ["example.com"]')
        return said

    @staticmethod
    def replaces(table: Mapping[str, Any]) -> bool:
        return bool(table.get("replace_base", False))

    def provider(self, name: str, said: Any) -> _Provider:
        path = ("provider", name)
        provider = _Provider()
        table = dict(self.table(path, said))
        for rule in table.pop("match", ()):
            for kind, value in self.table((*path, "match"), rule).items():
                if kind not in _MATCHES:
                    raise self._complaint((*path, "match"), f"{kind} is no way to match: one of {', '.join(_MATCHES)}")
                provider.named[kind] = (*provider.named.get(kind, ()), str(value).lower())
        self.section(path, table, provider)
        return provider

    def section(self, path: tuple[str, ...], said: Any, into: _Section) -> _Section:
        table = self.table(path, said)
        into.limits = self._limits(path, {key: value for key, value in table.items() if key not in _OWN_KEYS})
        into.rolls_up = bool(table["mx_rollup"]) if "mx_rollup" in table else None
        for source, limits in self.table((*path, "sources"), table.get("sources", {})).items():
            where = (*path, "sources", source)
            into.sources[source] = self._limits(where, self.table(where, limits))
        for number, rule in enumerate(table.get("automation", ()), 1):
            where = (*path, "automation")
            try:
                into.rules.append(read_rule(rule, f"{'.'.join(where)} {number}", self._ignored))
            except ValueError as error:
                raise self._complaint(where, str(error), number=number) from error
        return into

    def _limits(self, path: tuple[str, ...], table: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for key, value in table.items():
            if key in NOT_KEPT:
                self._ignored.append(f"{'.'.join(path)}.{key}")
            elif key not in KEYS:
                raise self._complaint(path, f"unknown key {key}", key)
            else:
                try:
                    found[key] = read_value(key, value)
                except ValueError as error:
                    raise self._complaint(path, str(error), key) from error
        return found

    def _complaint(
        self, path: tuple[str, ...], what: str, key: str = "", *, number: int = 1, remedy: str | None = None
    ) -> SettingsError:
        line = _line_of(self._file.text, path, key, number)
        where = f"{self._file.name}{f' line {line}' if line else ''}: {'.'.join(path)}"
        return SettingsError(what, where=where, remedy=remedy)


def _line_of(text: str, path: tuple[str, ...], key: str, number: int) -> int | None:
    """The line (from 1) where a key stands in the `number`-th table of that name, or where the table begins.

    The parser does not tell. A header is recognised by reading it alone; texts of many lines that look like one deceive
    this, which costs a wrong line number and nothing else.
    """
    wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""") if key else None
    inside, begins = False, None
    for line_number, line in enumerate(text.split("\n"), 1):
        if _HEADER.fullmatch(line):
            is_named = _header_path(line) == path
            number -= is_named
            inside = is_named and number == 0
            begins = line_number if inside else begins
        elif inside and wanted and wanted.match(line):
            return line_number
    return begins


def _header_path(line: str) -> tuple[str, ...]:
    try:
        table: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while table:
        table = table[0] if isinstance(table, list) else table
        if not table:
            break
        ((name, table),) = table.items()
        path.append(name)
    return tuple(path)
