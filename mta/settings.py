"""What an operator can set about the bundled MTA; every default works on one machine.

Durations are seconds, as a number or as text with a unit ("20m"). A wrong value or an unknown key is an error that
names the field. The defaults of the retry schedule are KumoMTA's.
"""

from __future__ import annotations

import re
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from mta.delivery.limits import Rate
from mta.delivery.settings import EgressPool, EgressSource, ListHeaders, Route, WarmUp
from mta.events.address import canonical_address, canonical_domain

__all__ = ["DkimKey", "Endpoint", "MtaSettings", "ReturnPath", "Route", "parse_endpoint", "seconds"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhd]?)")
_UNIT = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Endpoint = tuple[str, int]
"""Host and port; port 0 asks the system for a free one."""


def seconds(value: Any) -> Any:
    """Seconds from a number or a text such as `20m`; ValueError if it is neither."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if not found:
        raise ValueError(f"{value!r} is no duration: write seconds, or 30s, 5m, 2h, 7d")
    return float(found[1]) * _UNIT[found[2]]


def parse_endpoint(value: Any) -> Any:
    """`127.0.0.1:2525` or `[::1]:2525` as host and port."""
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is no address to listen on: write 127.0.0.1:2525 or [::1]:2525")
    return host.strip("[]"), int(port)


def _rate(value: str) -> str:
    Rate.parse(value)
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
RateText = Annotated[str, AfterValidator(_rate)]
Listen = Annotated[Endpoint, BeforeValidator(parse_endpoint)]


class DkimKey(BaseModel):
    """One key that signs; name several with one domain to sign twice (RSA and Ed25519) or while keys are rotated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    """Signs mail whose author (`From:`) is in this domain or below it, as `d=`."""
    selector: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
    key: Path
    """PEM file with an RSA or Ed25519 private key."""
    headers: tuple[Annotated[str, Field(pattern=r"^[!-9;-~]{1,64}$")], ...] = ()
    """Fields to sign where they are present; none means the usual ones. `From` is always signed."""
    expiration: Seconds | None = None
    """How long the signature is good."""
    canonicalization: Literal["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] = (
        "relaxed/relaxed"
    )
    """Of header and body: what on the way changes blanks breaks a simple one."""
    over_sign: bool = True
    """Name fields that decide what a reader sees once more than they occur, so that nobody can add one."""
    not_before: AwareDatetime | None = None
    """From when this key signs ..."""
    not_after: AwareDatetime | None = None
    """... and until when: keys follow each other by these two; publish the new one before, keep the old for a week."""
    always: bool = False
    """Sign mail of every author, beside the keys of their domains: for a service that sends for others."""

    @field_validator("domain")
    @classmethod
    def _canonical(cls, value: str) -> str:
        return canonical_domain(value)

    @field_validator("headers")
    @classmethod
    def _with_author(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """RFC 6376 section 5.4 wants From."""
        return value if not value or "from" in {name.lower() for name in value} else ("From", *value)


class ReturnPath(BaseModel):
    """A domain of ours that bounces come back to, and whose mail goes out under a signed address of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    """Needs an MX that leads to this MTA, and an SPF record that names its addresses."""
    tenants: tuple[str, ...] = ()
    """Tenants whose mail it carries; none means all."""
    senders: tuple[str, ...] = ()
    """Domains of the envelope senders that it replaces; none means all."""

    @field_validator("domain")
    @classmethod
    def _canonical(cls, value: str) -> str:
        return canonical_domain(value)

    @field_validator("senders")
    @classmethod
    def _canonical_senders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical_domain(domain) for domain in value)


class MtaSettings(BaseModel):
    """Everything about one MTA worker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Who we are
    hostname: str = Field(default="localhost", pattern=r"^[A-Za-z0-9._-]{1,255}$")
    """Our name in the greeting, in EHLO and in trace headers."""
    node_id: str | None = None
    """UUID of this node in log records; None makes one and keeps it in the data directory."""

    # Mail in
    listen: tuple[Listen, ...] = (("127.0.0.1", 2525),)
    listen_submission: tuple[Listen, ...] = ()
    """Submission with STARTTLS (port 587): no mail without a login."""
    listen_tls: tuple[Listen, ...] = ()
    """Submission with TLS from the first byte (port 465): no mail without a login."""
    users: Path | None = None
    """File of names and scrypt hashes; whoever logs in may send to anywhere."""
    max_failed_logins: Count = 10
    """Of one client address in ten minutes; five times as many for one name."""
    reuse_port: bool = False
    """Let several workers share the ports."""
    relay_networks: tuple[IPv4Network | IPv6Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    """Clients that may send to anywhere; everybody else is answered 550 5.7.1."""
    relay_domains: tuple[str, ...] = ()
    """Domains to which every client may send, as for a backup MX; `*.example.com` means all below it."""
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Load balancers, whose every connection begins with a PROXY header (versions 1 and 2) that names the client."""
    return_paths: tuple[ReturnPath, ...] = ()
    """Signed return paths, by tenant or sender domain; the first that fits is taken. None: senders stay as they are."""
    return_path_days: Count = 30
    """How long after its sending a signed return path is believed."""
    feedback_domains: tuple[str, ...] = ()
    """Domains of ours to which bounces and complaints come back; open to every client, never queued."""
    report_addresses: tuple[str, ...] = ()
    """Addresses of ours for DMARC and TLS reports; open to every client, kept for the reader of reports."""
    max_message_bytes: Count = 20 * 1024 * 1024
    max_recipients: Count = 1024
    max_connections: Count = 1000
    max_connections_per_ip: Count = 10
    """For clients outside `relay_networks`."""
    max_connections_per_relay_ip: Count = 500
    connection_rate_per_ip: RateText | None = None
    """How often a client outside `relay_networks` may connect, such as "60/min"."""
    message_rate_per_client: RateText | None = None
    """How often one user, or one address that did not log in, may begin a message."""
    max_messages_per_connection: Count = 10_000
    max_errors: Count = 100
    """Refusals after which a client outside `relay_networks` is sent away."""
    greeting_delay: float = Field(default=0.0, ge=0, le=60)
    """Seconds before we greet; who talks before that is no mail server and is sent away."""
    greeting_timeout: Seconds = 30.0
    """How long a client may take to say EHLO."""
    max_line_bytes: int = Field(default=1000, ge=78, le=65536)
    """Longest line of a message, CRLF included (RFC 5321 section 4.5.3.1.6)."""
    max_hops: Count = 50
    """`Received:` headers after which a message is taken to be in a loop."""
    max_header_bytes: Count = 256 * 1024
    max_header_fields: Count = 1000
    command_timeout: Seconds = 60.0
    data_timeout: Seconds = 300.0
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    # The spool
    min_free_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """Below this much free disk new mail is refused with 452 4.3.1; delivery goes on."""
    journal_segment_bytes: int = Field(default=64 * 1024 * 1024, ge=4096)
    dead_letter_messages: Count = 1000
    dead_letter_bytes: Count = 256 * 1024 * 1024

    notify_senders: bool = False
    """Tell senders of what bounced or expired (RFC 3464). Off, as in KumoMTA: who sends in bulk reads the log."""

    delay_notice: Seconds = 4 * 3600.0
    """How long a message may be delayed before a sender who asked for that (NOTIFY=DELAY) is told."""

    # Signing
    dkim: tuple[DkimKey, ...] = ()
    list_headers: tuple[ListHeaders, ...] = ()
    """What bulk mail gets before it is signed: the first that names its sender and tenant."""

    # When to try again
    retry_interval: Seconds = 20 * 60.0
    max_retry_interval: Seconds = 4 * 3600.0
    max_age: Seconds = 7 * 86400.0

    # Mail out
    routes: tuple[Route, ...] = ()
    nameservers: tuple[IPv4Address | IPv6Address, ...] = ()
    """Resolvers to ask; none means the system's."""
    nameserver_port: int = Field(default=53, ge=1, le=65535)
    dns_timeout: Seconds = 10.0
    smtp_port: int = Field(default=25, ge=1, le=65535)
    """Port of the hosts that MX records name."""
    prohibited_networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
        ip_network(text) for text in ("127.0.0.0/8", "0.0.0.0/8", "169.254.0.0/16", "::1/128", "::/128", "fe80::/10")
    )
    """Addresses that an MX or A record may not send us to (a route may)."""
    egress_source: str = "default"
    egress_pool: str = "default"
    """The pool of mail that names none; without `sources` and `pools` both are only names in the log."""
    sources: tuple[EgressSource, ...] = ()
    pools: tuple[EgressPool, ...] = ()
    warm_up: tuple[WarmUp, ...] = ()
    shaping: tuple[Path, ...] = ()
    """Files of limits by provider and domain, in KumoMTA's form; what stands below holds where they say nothing."""
    shaping_defaults: bool = True
    """Begin with our own file of limits for large providers."""
    connection_limit: Count = 10
    """Connections to one destination at a time."""
    max_deliveries_per_connection: Count = 100
    idle_timeout: Seconds = 5.0
    connect_timeout: Seconds = 60.0
    reply_timeout: Seconds = 300.0
    starttls: bool = True
    """Encrypt where the peer offers it. Opportunistic: the certificate is not checked."""
    mta_sts: bool = False
    """Look up and keep the MTA-STS policies of recipient domains (RFC 8461); this asks web servers of theirs."""
    mta_sts_port: int = Field(default=443, ge=1, le=65535)
    """Where those web servers listen."""
    dnssec: bool = False
    """The name servers check DNSSEC and the way to them is safe (this machine): DANE is kept (RFC 7672)."""
    tls_authorities: Path | None = None
    """PEM file of the authorities that may vouch for mail hosts; None means the system's."""
    remember_broken_tls: Seconds = 3600.0
    """How long a host whose TLS handshake failed is sent to in clear at once."""
    drain_timeout: Seconds = 10.0
    """How long a stopping worker waits for transactions under way."""

    # The log
    log_format: Literal["zstd", "plain"] = "zstd"
    log_segment_bytes: Count = 256 * 1024 * 1024
    """Size before compression at which a log segment is closed."""
    log_segment_duration: Seconds = 60.0
    log_flush_interval: Seconds = 0.5
    log_retention: Seconds | None = None
    """Age at which a closed log segment is deleted; none are unless told: load or archive them first."""
    log_retention_bytes: Count | None = None
    """Size of all closed log segments above which the oldest are deleted."""
    log_backlog: Count = 200_000
    """Records that may wait for the log's disk before new mail is refused."""

    # The control API
    control_listen: Listen | None = None
    """TCP address of the control API, beside its unix socket."""
    http_token: Path | None = None
    """File with the token that injection and administration over TCP need; without it TCP offers neither."""

    @cached_property
    def own_domains(self) -> frozenset[str]:
        """Domains of ours whose mail is taken from everybody: those of feedback and of return paths."""
        return frozenset((*self.feedback_domains, *(path.domain for path in self.return_paths)))

    @field_validator("shaping", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (str, Path)) else value or ()

    @field_validator("report_addresses")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := next((address for address in value if "@" not in address), None):
            raise ValueError(f"{wrong!r} is no address")
        return tuple(canonical_address(address) for address in value)

    @field_validator("feedback_domains", "relay_domains")
    @classmethod
    def _canonical(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical_domain(domain) for domain in value)

    @model_validator(mode="after")
    def _certificate_with_key(self) -> MtaSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: set both or none")
        if (self.listen_submission or self.listen_tls) and not (self.tls_certificate and self.users):
            raise ValueError("listen_submission and listen_tls need tls_certificate, tls_key and users")
        return self
