"""What an operator can set about the way out: smarthosts, sources, pools and how a new source is warmed up."""

from __future__ import annotations

from datetime import date
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mta.events.address import canonical_domain

__all__ = ["EgressPool", "EgressSource", "ListHeaders", "PoolMember", "Route", "WarmUp"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,255}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Route(BaseModel):
    """Where mail for a domain goes instead of to its MX: a smarthost, or any other host.

    `host` is the name that the log shows and that a certificate must have. Without `address` it is looked up.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    """A recipient domain, or `*` for all that no other route names."""
    host: str
    address: IPv4Address | IPv6Address | None = None
    port: Port = 25
    tls: Literal["shaping", "required", "implicit"] = "shaping"
    """As the shaping file says; by STARTTLS with a checked certificate; or so from the first byte (port 465)."""
    user: str | None = None
    password: Path | None = None
    """File with the password. It is sent only over TLS whose certificate is checked."""

    @field_validator("domain")
    @classmethod
    def _canonical(cls, value: str) -> str:
        return canonical_domain(value)

    @model_validator(mode="after")
    def _secret_is_safe(self) -> Route:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password: set both or none")
        if self.user is not None and self.tls == "shaping":
            raise ValueError('a password is sent only over checked TLS: set tls = "required" or "implicit"')
        return self


class EgressSource(BaseModel):
    """An address of ours to send from, by KumoMTA's names. With a proxy the addresses are those that it binds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    source_address: IPv4Address | None = None
    source_address_v6: IPv6Address | None = None
    """Address for hosts reached by IPv6; a source with only one of the two reaches only hosts of its kind."""
    ehlo_domain: HostName | None = None
    """What we call ourselves there; None means `hostname`."""
    ha_proxy_server: str | None = Field(default=None, pattern=r"^.+:\d{1,5}$")
    """`host:port` of a proxy that speaks version 2 of HAProxy's PROXY protocol and connects from these addresses."""

    @model_validator(mode="after")
    def _proxy_knows_from_where(self) -> EgressSource:
        if self.ha_proxy_server and not (self.source_address or self.source_address_v6):
            raise ValueError("ha_proxy_server needs source_address or source_address_v6")
        return self


class PoolMember(BaseModel):
    """A source in a pool, and how much of the pool's mail it carries against the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    weight: int = Field(default=1, ge=0, le=1_000_000)


class EgressPool(BaseModel):
    """Sources that share mail: what a message names (`X-Pool`), else its campaign, else its tenant picks the pool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    entries: tuple[PoolMember, ...] = Field(min_length=1)
    tenants: tuple[Name, ...] = ()
    campaigns: tuple[Name, ...] = ()


class WarmUp(BaseModel):
    """How much a new source may send to a provider a day (UTC): a plan day by day, after which nothing is counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Name
    provider: str = "*"
    """A provider of the shaping files, or `*` for each that no other plan of the source names, and all other mail."""
    begins: date
    per_day: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Messages on the first day, the second and so on."""
    growth: float = Field(default=1.5, gt=1.0, le=10.0)
    """After `per_day` each day allows so many times the day before, ..."""
    until: int = Field(default=100_000, ge=1)
    """... until a day would allow more than this: then the source is warm."""

    @field_validator("per_day")
    @classmethod
    def _starts(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return value or (50,)


class ListHeaders(BaseModel):
    """Fields for bulk mail: put before a message that names a campaign and has one recipient, and then signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    senders: tuple[str, ...] = ()
    """Domains of envelope senders whose mail gets them; none means all."""
    tenants: tuple[Name, ...] = ()
    """Tenants whose mail gets them; none means all."""
    unsubscribe_url: str = Field(pattern=r"^https://[!-;=?-~]*\{token\}[!-;=?-~]*$", max_length=500)
    """Takes the POST of a click (RFC 8058); `{token}` is replaced by a token that only we can make and read."""
    unsubscribe_mailto: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$")
    """An address that takes the token as its subject."""
    feedback_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{5,15}$")
    """Who we are to Gmail's feedback loop: the last part of `Feedback-ID: campaign:tenant:ID`."""

    @field_validator("senders")
    @classmethod
    def _canonical(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical_domain(domain) for domain in value)
