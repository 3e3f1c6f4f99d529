"""Settings of the collector: what it follows, and the roads on which others may send."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr, field_validator, model_validator

from collector.formats.stamps import zone_named
from collector.framing.compression import MAX_WINDOW_BYTES
from collector.framing.lines import MAX_LINE_BYTES
from collector.quarantine import KEPT_BYTES

__all__ = [
    "CollectorSettings",
    "ElasticsearchSettings",
    "HttpIntakeSettings",
    "ListenerSettings",
    "LumberjackSettings",
    "OtlpSettings",
    "RedisSettings",
    "SyslogSettings",
    "TlsSettings",
]


class TlsSettings(BaseModel):
    """PEM files. With `client_ca`, clients must show a certificate of it unless `client_certificate` is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_certificate: Literal["required", "optional"] = "required"


class ListenerSettings(BaseModel):
    """What all roads have in common. A road is closed until its table is in the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    """0 takes a free port."""
    tls: TlsSettings | None = None
    networks: tuple[IPvAnyNetwork, ...] = ()
    """Who may connect; everybody if empty."""
    max_connections: int = Field(default=256, ge=1, le=10_000)
    idle_s: float = Field(default=600, ge=0.05)
    """A connection that is silent for so long between two deliveries is closed."""
    stall_s: float = Field(default=30, ge=0.05)
    """One that stops in the middle of a delivery is closed after this."""
    memory_bytes: int = Field(default=128 << 20, ge=1 << 20)
    """What all connections of the road together may hold before it is on disk."""
    landing_bytes: int = Field(default=2 << 30, ge=1 << 20)
    """What the road may keep on disk while the store does not take it; beyond that it pushes back."""

    @property
    def asks_for_tokens(self) -> bool:
        """A sender must know a secret."""
        return False

    @property
    def is_open_to_all(self) -> bool:
        """Anybody who reaches the port may send."""
        tls = self.tls
        certified = tls is not None and tls.client_ca is not None and tls.client_certificate == "required"
        return not (self.networks or certified or self.asks_for_tokens)

    @model_validator(mode="after")
    def _closed_by_default(self) -> Self:
        if self.is_open_to_all and not _is_loopback(self.host):
            raise ValueError(
                f"{self.host} is reachable from outside: name the networks that may send"
                " (networks = [...]), ask for client certificates (tls.client_ca) or, over HTTP, for tokens"
            )
        return self


class LumberjackSettings(ListenerSettings):
    """`[collector.lumberjack]`: Filebeat's and Logstash's `output.logstash`."""

    port: int = Field(default=5044, ge=0, le=65_535)
    max_window_events: int = Field(default=1_000_000, ge=1)
    max_frame_bytes: int = Field(default=64 << 20, ge=1024)
    """A longer frame, compressed or not, ends the connection."""
    keepalive_s: float = Field(default=3, ge=0.01, le=25)
    """How often a sender that waits is told that we are alive; Beats give up after 30 s of silence."""


class HttpIntakeSettings(ListenerSettings):
    """`[collector.http]`: records and webhooks by POST."""

    port: int = Field(default=8081, ge=0, le=65_535)
    tokens: tuple[SecretStr, ...] = ()
    """Any one of these is asked for, as a bearer token; two at once let you change them without a gap."""
    max_body_bytes: int = Field(default=16 << 20, ge=1024)
    """Of a body once it is inflated."""

    @property
    def asks_for_tokens(self) -> bool:
        """A sender must know a secret."""
        return bool(self.tokens)


class ElasticsearchSettings(HttpIntakeSettings):
    """`[collector.elasticsearch]`: whatever speaks to Elasticsearch's `_bulk`."""

    port: int = Field(default=9200, ge=0, le=65_535)
    max_body_bytes: int = Field(default=100 << 20, ge=1024)
    memory_bytes: int = Field(default=256 << 20, ge=1 << 20)
    version: str = "9.9.0"
    """What we say we are; some shippers refuse to speak to anything older than themselves."""


class OtlpSettings(HttpIntakeSettings):
    """`[collector.otlp]`: OpenTelemetry logs over HTTP."""

    port: int = Field(default=4318, ge=0, le=65_535)


class SyslogSettings(ListenerSettings):
    """`[collector.syslog]`: RFC 5424 and 3164 over TCP, or TLS if it is set, and over UDP if asked for."""

    port: int = Field(default=1514, ge=0, le=65_535)
    udp: bool = False
    """UDP on the same port. It cannot push back and cannot be acknowledged: what does not fit is lost, and counted."""


class RedisSettings(BaseModel):
    """`[collector.redis]`: a list that shippers push to. Redis 6.2 or newer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=6379, ge=1, le=65_535)
    key: str = Field(default="filebeat", min_length=1, max_length=512)
    """The list. What is being landed stands in another one, `<key>:mtascope`, meanwhile."""
    database: int = Field(default=0, ge=0)
    user: str | None = None
    password: SecretStr | None = None
    ca: Path | None = None
    """PEM file of whom to trust; TLS is spoken if it is set."""
    stall_s: float = Field(default=30, ge=2)
    landing_bytes: int = Field(default=2 << 30, ge=1 << 20)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class CollectorSettings(BaseModel):
    """`[collector]` in the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = ()
    """Folders (with everything below them), files or glob patterns to follow."""
    format: str = "auto"
    """The dialect of those logs, as `--format` takes it."""
    node: str = Field(default_factory=socket.gethostname, max_length=255)
    """Names the node of records that do not name theirs."""
    timezone: str = ""
    """The zone of time stamps that do not tell theirs (`Europe/Berlin`, `UTC`); empty: that of this machine."""
    year: int | None = Field(default=None, ge=1970, le=9000)
    """The year in which logs begin whose time stamps have none; else the latest year that is not in the future."""
    poll_interval_s: float = Field(default=0.5, ge=0.01, le=60)
    """How often followed folders are looked at."""
    idle_close_s: float = Field(default=60, ge=1)
    """A file that has not grown for this long is closed, and opened again when it grows."""
    max_open_files: int = Field(default=64, ge=1, le=4096)
    """Files read side by side; each open zstd segment holds a window of some MiB in memory."""
    batch_records: int = Field(default=10_000, ge=1, le=1_000_000)
    batch_bytes: int = Field(default=32 << 20, ge=1024)
    """Bytes of records as they came."""
    batch_age_s: float = Field(default=1.0, ge=0.01, le=60)
    """The oldest record of a batch waits no longer than this."""
    max_line_bytes: int = Field(default=MAX_LINE_BYTES, ge=1024, le=64 << 20)
    """A longer line is quarantined."""
    quarantine_bytes: int = Field(default=KEPT_BYTES, ge=0, le=1 << 20)
    """How much of a refused record is kept."""
    max_window_bytes: int = Field(default=MAX_WINDOW_BYTES, ge=1024, le=1 << 27)
    """A zstd frame that needs a larger window is refused; levels above 19 need up to 128 MiB."""
    max_retry_s: float = Field(default=30, ge=0.1)
    """The longest wait between two attempts to hand a batch to a store that refuses for the moment."""
    landing_free_bytes: int = Field(default=256 << 20, ge=0)
    """What the roads leave free on the disk."""
    http: HttpIntakeSettings | None = None
    lumberjack: LumberjackSettings | None = None
    elasticsearch: ElasticsearchSettings | None = None
    syslog: SyslogSettings | None = None
    otlp: OtlpSettings | None = None
    redis: RedisSettings | None = None

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zone_named(name)
        return name
