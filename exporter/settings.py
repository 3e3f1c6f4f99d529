"""Settings of the HTTP side: API, console and metrics."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = ["HttpSettings"]


class HttpSettings(BaseModel):
    """`[http]` in the settings file. Everything binds loopback unless told otherwise (promise 8)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    """API and console; 0 takes a free port."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=2000, ge=0, le=65_535)
    token: SecretStr | None = None
    """A bearer token that may read everything; `mtascope token` makes more, with other scopes."""
    tokens_file: Path | None = None
    """Where the hashes of those are kept; by default `tokens.json` in the data directory."""
    open_to_loopback: bool = False
    """Whoever is on this machine may read everything without a token: for demonstrations and tests."""
    requests_per_second: float = Field(default=20, gt=0, le=100_000)
    """What one token, or one address without a token, may ask in the long run; more is answered with 429."""
    burst: int = Field(default=200, ge=1, le=1_000_000)
    """And at once."""
    snapshot_every_s: float = Field(default=1.0, ge=0.1, le=60)
    """How often the figures behind `/metrics` are computed anew."""
