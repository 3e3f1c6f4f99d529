"""How fast mail may go where: limits by provider and domain, from a `shaping.toml` in KumoMTA's form. Pure.

    ["default"]
    connection_limit = 10
    [provider."google"]
    match = [{MXSuffix = ".google.com"}, {MXSuffix = ".googlemail.com"}]
    max_deliveries_per_connection = 50
    ["example.com"]
    max_message_rate = "100/min"

Later wins: default, provider, domain. A provider is matched when each mail host of a destination has one of its names
or suffixes, or the domain has its suffix. Keys of KumoMTA's that are not kept here are listed, so that nobody relies on
them unknowingly.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mta.events.address import canonical_domain
from mta.events.errors import SettingsError

__all__ = ["Limits", "Rate", "Shaping", "Throttle"]

_RATE = re.compile(r"(?:local:)?([\d,_]+)/(\d*)\s*(s|sec|second|m|min|minute|h|hr|hour|d|day)(?:,max_burst=(\d+))?")
_MOST_KNOWN = 10_000
_PERIOD = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TLS = {"Opportunistic": True, "OpportunisticInsecure": True, "Disabled": False}
_NOT_LIMITS = frozenset({"match", "replace_base", "provider_name"})


@dataclass(frozen=True, slots=True)
class Rate:
    """`quantity` in `period` seconds, of which `burst` may come at once."""

    quantity: int
    period: float
    burst: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """KumoMTA's `100/min`, `1,000/h` or `5/10s,max_burst=1`; ValueError if it is none."""
        found = _RATE.fullmatch(text.strip())
        quantity = int(found[1].replace(",", "").replace("_", "") or 0) if found else 0
        if found is None or not quantity:
            raise ValueError(f"{text!r} is no rate: write 100/min")
        return cls(quantity, _PERIOD[found[3][0]] * int(found[2] or 1), int(found[4] or quantity))


class Throttle:
    """Keeps a rate (generic cell rate algorithm). Instants are seconds of any one clock."""

    def __init__(self, rate: Rate) -> None:
        self._interval = rate.period / rate.quantity
        self._tolerance = self._interval * (rate.burst - 1)
        self._next = 0.0

    def wait(self, now: float) -> float:
        """0, and the turn is taken; or how many seconds to wait before asking again."""
        due = max(self._next, now)
        early = due - self._tolerance - now
        if early > 0:
            return early
        self._next = due + self._interval
        return 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one destination."""

    connection_limit: int
    max_deliveries_per_connection: int
    max_message_rate: Rate | None = None
    max_connection_rate: Rate | None = None
    enable_tls: bool = True


@dataclass(frozen=True, slots=True)
class _Provider:
    suffixes: tuple[str, ...]
    hosts: frozenset[str]
    domain_suffixes: tuple[str, ...]
    limits: Mapping[str, Any]

    def serves(self, domain: str, hosts: Sequence[str]) -> bool:
        if self.domain_suffixes and f".{domain}".endswith(self.domain_suffixes):
            return True
        return bool(hosts) and all(host in self.hosts or host.endswith(self.suffixes or ("\0",)) for host in hosts)


class Shaping:
    """The rules; `ignored` names the keys that are there and not kept."""

    def __init__(self, base: Limits, text: str = "", where: str = "shaping.toml") -> None:
        """Read them from TOML over the `base`. Raises `SettingsError` that names the place."""
        self._where = where
        self.ignored: list[str] = []
        self._providers: list[_Provider] = []
        self._domains: dict[str, Mapping[str, Any]] = {}
        self._known: dict[tuple[str, tuple[str, ...]], Limits] = {}
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"is no TOML: {error}", where=where) from error
        self._base = replace(base, **self._limits("default", tables.pop("default", {})))
        for name, table in tables.pop("provider", {}).items():
            self._providers.append(self._provider(f"provider.{name}", table))
        for name, table in tables.items():
            domain = canonical_domain(name)
            self._domains[domain] = {**self._domains.get(domain, {}), **self._limits(name, table)}

    def limits(self, domain: str, hosts: tuple[str, ...]) -> Limits:
        """What holds for a domain that is served by those mail hosts."""
        known = self._known.get((domain, hosts))
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[domain, hosts] = known = self._find(domain, hosts)
        return known

    def _find(self, domain: str, hosts: tuple[str, ...]) -> Limits:
        found: dict[str, Any] = {}
        for provider in self._providers:
            if provider.serves(domain, hosts):
                found |= provider.limits
        return replace(self._base, **{**found, **self._domains.get(domain, {})})

    def _provider(self, name: str, table: Mapping[str, Any]) -> _Provider:
        named: dict[str, list[str]] = {"MXSuffix": [], "HostName": [], "DomainSuffix": []}
        for rule in table.get("match", ()):
            for kind, value in rule.items():
                if kind not in named:
                    raise SettingsError(f"{kind} is no way to match", where=f"{self._where}: {name}.match")
                named[kind].append(str(value).lower())
        suffixes, domains = (tuple(named[kind]) for kind in ("MXSuffix", "DomainSuffix"))
        return _Provider(suffixes, frozenset(named["HostName"]), domains, self._limits(name, table))

    def _limits(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        kept = {field.name for field in fields(Limits)}
        self.ignored += [f"{name}.{key}" for key in table if key not in kept | _NOT_LIMITS]
        try:
            return {key: _value(key, value) for key, value in table.items() if key in kept}
        except ValueError as error:
            raise SettingsError(str(error), where=f"{self._where}: {name}") from error


def _value(key: str, value: Any) -> Any:
    if key.endswith("_rate"):
        return Rate.parse(str(value))
    if key == "enable_tls":
        if value not in _TLS:
            raise ValueError(f"enable_tls = {value!r} is not supported: one of {', '.join(_TLS)}")
        return _TLS[value]
    number = str(value).removeprefix("local:")
    if not number.isdigit() or int(number) < 1:
        raise ValueError(f"{key} = {value!r} is no number from 1")
    return int(number)
