"""What TLS to a mail host must be, and what it came to.

Of all that has something to say the first that does decides: the route; DANE (RFC 7672), which needs records that
DNSSEC vouches for; an MTA-STS policy that is enforced (RFC 8461); the shaping file. Without a demand TLS is
opportunistic (RFC 7435), and whether the certificate would have held is noted all the same, so that reports can say so.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509

from mta.delivery import dane
from mta.delivery.certificate import chain_of, failure, trust_store
from mta.delivery.limits import Limits, TlsMode
from mta.delivery.mta_sts import StsMode, StsPolicy
from mta.delivery.routing import Destination, Host
from mta.events.instants import HOUR

__all__ = ["Demand", "TlsOutcome", "TlsPolicy", "TlsReport", "TrustRoots", "failure_of", "tls_policy"]


class Demand(Enum):
    """How much TLS is asked for, from nothing to a certificate that somebody vouches for."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    ENCRYPTED = "encrypted"
    VERIFIED = "verified"
    DANE = "dane"

    @property
    def is_strict(self) -> bool:
        """Whether mail rather waits than goes without."""
        return self in {Demand.ENCRYPTED, Demand.VERIFIED, Demand.DANE}


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What is asked of one host. `origin` is who asks: "" (nobody), shaping, route, sts, sts-testing or dane."""

    demand: Demand
    origin: str = ""
    implicit: bool = False
    """TLS begins with the first byte, without STARTTLS."""
    tlsa: tuple[dane.TlsaRecord, ...] = ()
    names: tuple[str, ...] = ()
    misplaced: bool = False
    """A policy that is only tested does not name this host."""


@dataclass(frozen=True, slots=True)
class TlsOutcome:
    """What it came to: `result` is ok, failed or not_offered; `failure` says why a demand was not met, by RFC 8460.

    `verified` tells whether the certificate holds, by whoever was asked to vouch for it; None without a certificate.
    """

    result: str
    version: str = ""
    failure: str = ""
    verified: bool | None = None


TlsReport = Callable[[TlsPolicy, TlsOutcome], None]
"""Told what TLS came to on a connection."""


def tls_policy(limits: Limits, destination: Destination, host: Host, domain: str) -> TlsPolicy:
    """What is asked of that host for mail to the domain."""
    route, sts = destination.route, destination.sts
    if route is not None and route.tls != "shaping":
        return TlsPolicy(Demand.VERIFIED, "route", implicit=route.tls == "implicit")
    if limits.enable_dane and host.tlsa is not None:
        records = dane.usable(host.tlsa)
        return TlsPolicy(Demand.DANE if records else Demand.ENCRYPTED, "dane", tlsa=records, names=(host.name, domain))
    if limits.enable_mta_sts and sts is not None and sts.mode is StsMode.ENFORCE:
        return TlsPolicy(Demand.VERIFIED, "sts")
    demand = _DEMANDS[limits.enable_tls]
    if demand.is_strict:
        return TlsPolicy(demand, "shaping")
    return _tested(demand, host, sts if limits.enable_mta_sts else None)


def _tested(demand: Demand, host: Host, sts: StsPolicy | None) -> TlsPolicy:
    if sts is None or demand is Demand.NONE:
        return TlsPolicy(demand)
    return TlsPolicy(demand, "sts-testing", misplaced=not sts.allows(host.name))


_DEMANDS = {
    TlsMode.OPPORTUNISTIC: Demand.OPPORTUNISTIC,
    TlsMode.OPPORTUNISTIC_INSECURE: Demand.OPPORTUNISTIC,
    TlsMode.REQUIRED: Demand.VERIFIED,
    TlsMode.REQUIRED_INSECURE: Demand.ENCRYPTED,
    TlsMode.DISABLED: Demand.NONE,
}


class TrustRoots:
    """Whom to believe about certificates: the authorities in a PEM file, or the system's. Contexts are made once."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._unchecked = _unchecked_context()
        self._checked: ssl.SSLContext | None = None

    def context(self, policy: TlsPolicy) -> ssl.SSLContext:
        """For a handshake: OpenSSL checks chain and name where the certificate must hold; DANE is judged afterwards."""
        return self.checked if policy.demand is Demand.VERIFIED else self._unchecked

    @property
    def checked(self) -> ssl.SSLContext:
        """Believes the authorities and nobody else. Loading them takes a while: done when it is first needed."""
        if self._checked is None:
            self._checked = ssl.create_default_context(cafile=str(self._file) if self._file else None)
        return self._checked

    def judge(self, connection: Any, policy: TlsPolicy, host: str, now: int) -> TlsOutcome:
        """What a handshake that succeeded came to."""
        version = connection.version() or ""
        if policy.demand is Demand.VERIFIED:
            return TlsOutcome("ok", version, verified=True)
        chain = chain_of(connection)
        if policy.demand is Demand.DANE:
            held = dane.matches(policy.tlsa, chain, policy.names)
            return TlsOutcome("ok", version, "" if held else "validation-failure", held)
        why = _failure(tuple(chain), host, self._file, now // HOUR)
        failed = "" if policy.origin != "sts-testing" else "validation-failure" if policy.misplaced else why or ""
        return TlsOutcome("ok", version, failed, why is None)


@lru_cache(maxsize=4096)
def _failure(chain: Sequence[x509.Certificate], host: str, roots: Path | None, hour: int) -> str | None:
    """The same for an hour: hosts are met again and again."""
    return failure(chain, host, trust_store(roots), hour * HOUR)


def failure_of(error: BaseException) -> str:
    """Why a handshake failed, in the words of RFC 8460 section 4.3."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _BY_CODE.get(cause.verify_code, "certificate-not-trusted")
        cause = cause.__cause__ or cause.__context__
    return "validation-failure"


_BY_CODE = {10: "certificate-expired", 9: "certificate-expired", 62: "certificate-host-mismatch"}
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, ..._NOT_YET_VALID and ..._HOSTNAME_MISMATCH."""


def _unchecked_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
