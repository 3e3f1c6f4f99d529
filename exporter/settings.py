"""Settings of the HTTP side: API, console and metrics."""

from __future__ import annotations

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
    """Bearer token for the API. Without one the API answers loopback clients only."""
    snapshot_every_s: float = Field(default=1.0, ge=0.1, le=60)
    """How often the figures behind `/metrics` are computed anew."""
