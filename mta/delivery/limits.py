"""What may hold for the way to one site, by KumoMTA's names, and how its values are read. Pure.

Every field of `Limits` is a key of a shaping file. A value that cannot be understood is an error that says what would
do; keys that KumoMTA knows and we do not keep are in `NOT_KEPT`, so that a file of its loads and nobody relies on them
unknowingly.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

__all__ = ["KEYS", "NOT_KEPT", "Limits", "Rate", "TlsMode", "duration", "read_value"]

_PERIOD = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(
    r"(?:local:)?([\d,_]+)\s*/\s*(\d*)\s*(s|sec|second|m|min|minute|h|hr|hour|d|day)(?:\s*,\s*max_burst\s*=\s*(\d+))?"
)
_DURATION_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(ms|millis|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)(?![a-zA-Z])\s*"
)
_DURATION_UNIT = {**_PERIOD, "w": 7 * 86400.0}
_BURST_SHARE = 20
_MARGIN = 1.02
"""Rates are kept 2 % below what is allowed: what leaves evenly arrives unevenly, and the peer counts arrivals."""


class TlsMode(Enum):
    """What TLS to a site must be. `Required` checks the certificate's chain and name; `...Insecure` checks nothing.

    Opportunistic TLS (RFC 7435) uses what is offered, checks nothing and goes on in clear where the handshake breaks.
    """

    OPPORTUNISTIC = "Opportunistic"
    OPPORTUNISTIC_INSECURE = "OpportunisticInsecure"
    REQUIRED = "Required"
    REQUIRED_INSECURE = "RequiredInsecure"
    DISABLED = "Disabled"

    @property
    def is_required(self) -> bool:
        """Whether nothing goes in clear."""
        return self in {TlsMode.REQUIRED, TlsMode.REQUIRED_INSECURE}


@dataclass(frozen=True, slots=True)
class Rate:
    """`quantity` in `period` seconds, of which `burst` may come at once."""

    quantity: int
    period: float
    burst: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """KumoMTA's `100/min`, `1,000/h` or `5/10s,max_burst=1`; ValueError if it is none.

        Without `max_burst` a twentieth may come at once, so that no period ever sees more than 5 % over the quantity.
        """
        found = _RATE.fullmatch(text.strip())
        quantity = int(found[1].replace(",", "").replace("_", "") or 0) if found else 0
        if found is None or not quantity:
            raise ValueError(f"{text!r} is no rate: write 100/min")
        period = _PERIOD[found[3][0]] * int(found[2] or 1)
        return cls(quantity, period, int(found[4] or 0) or max(1, quantity // _BURST_SHARE))

    @property
    def interval(self) -> float:
        """Seconds between two turns."""
        return self.period / self.quantity * _MARGIN

    @property
    def tolerance(self) -> float:
        """How many seconds early a turn may be, because of the burst."""
        return self.interval * (self.burst - 1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for the way from one source to one site. Durations are seconds.

    `connection_limit` and the rates are for one source and site; those named `provider_...` for one source and all
    sites of a provider. All are for the machine, whatever the number of its workers.
    """

    connection_limit: int
    max_deliveries_per_connection: int
    max_message_rate: Rate | None = None
    max_connection_rate: Rate | None = None
    provider_connection_limit: int | None = None
    provider_max_message_rate: Rate | None = None
    max_ready: int | None = None
    """How many messages may be ready for the site at a time; None means any number."""
    consecutive_connection_failures_before_delay: int = 1
    enable_tls: TlsMode = TlsMode.OPPORTUNISTIC
    enable_mta_sts: bool = True
    enable_dane: bool = False
    enable_pipelining: bool = True
    remember_broken_tls: float = 3600.0
    """How long a site whose opportunistic handshake failed is sent to in clear at once."""
    smtp_port: int | None = None
    ehlo_domain: str | None = None
    connect_timeout: float = 60.0
    banner_timeout: float = 60.0
    ehlo_timeout: float = 300.0
    starttls_timeout: float = 30.0
    auth_timeout: float = 60.0
    mail_from_timeout: float = 300.0
    rcpt_to_timeout: float = 300.0
    data_timeout: float = 300.0
    data_dot_timeout: float = 300.0
    idle_timeout: float = 5.0


KEYS = frozenset(field.name for field in fields(Limits))
"""The keys that are kept."""

NOT_KEPT = frozenset(
    (
        *("additional_connection_limits", "additional_message_rate_throttles", "aggressive_connection_opening"),
        *("allow_smtp_auth_plain_without_tls", "dispatcher_wakeup_strategy", "ignore_8bit_checks", "max_message_size"),
        *("max_recipients_per_batch", "maintainer_wakeup_strategy", "no_memory_reduction_policy"),
        *("low_memory_reduction_policy", "openssl_cipher_list", "openssl_cipher_suites", "openssl_options"),
        *("opportunistic_tls_reconnect_on_failed_handshake", "prohibited_hosts", "provider_name"),
        *("provider_source_selection_rate", "readyq_pool_name", "reconnect_strategy", "refresh_interval"),
        *("refresh_strategy", "rset_timeout", "rustls_cipher_suites", "skip_hosts", "smtp_auth_plain_password"),
        *("smtp_auth_plain_username", "source_selection_rate", "additional_source_selection_rates"),
        *(
            "system_shutdown_timeout",
            "tls_certificate",
            "tls_prefer_openssl",
            "tls_private_key",
            "tls_required_client_ca",
        ),
        *("try_next_host_on_transport_error", "use_lmtp", "xclient"),
    )
)
"""Keys that KumoMTA knows and that do nothing here."""


def duration(value: Any) -> float:
    """Seconds, from a number or from text such as `90s`, `1 hour` or `1h 30m`; ValueError if it is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"{value!r} is no duration: write 90s, 30 minutes or 1h 30m")
    return sum(float(p[1]) * (0.001 if p[2] in {"ms", "millis"} else _DURATION_UNIT[p[2][0]]) for p in parts)


def read_value(key: str, value: Any) -> Any:
    """The value of one of `KEYS`. Raises ValueError that says what is wrong with it."""
    try:
        return _READERS[key](value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _number(value: Any) -> int:
    text = str(value).removeprefix("local:")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{value!r} is no number from 1")
    return int(text)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - all readers raise ValueError
    return value


def _tls(value: Any) -> TlsMode:
    try:
        return TlsMode(value)
    except ValueError:
        names = ", ".join(mode.value for mode in TlsMode)
        raise ValueError(f"{value!r} is none of {names}") from None


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._\[\]:-]{1,255}", value):
        raise ValueError(f"{value!r} is no host name")
    return value


_BY_TYPE: dict[str, Callable[[Any], Any]] = {
    "int": _number,
    "int | None": _number,
    "Rate | None": lambda value: Rate.parse(str(value)),
    "TlsMode": _tls,
    "bool": _truth,
    "float": duration,
    "str | None": _name,
}
_READERS = {field.name: _BY_TYPE[str(field.type)] for field in fields(Limits)}
