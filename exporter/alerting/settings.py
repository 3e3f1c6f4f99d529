"""Settings of who is told of incidents. Secrets are read from files, never written here."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AlertingSettings", "MailSettings", "WebhookSettings"]

_URL = r"^https?://[^\s@]+$"


class WebhookSettings(BaseModel):
    """A POST of the incident as JSON, signed where there is a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern=_URL)
    secret_file: Path | None = None
    """File with the key of the signature (HMAC-SHA256)."""


class MailSettings(BaseModel):
    """A mail for each change, through any MTA that takes it: the bundled one, or a smarthost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=25, ge=1, le=65_535)
    sender: str = Field(pattern=r"^[^\s@<>]+@[^\s@<>]+$")
    recipients: tuple[str, ...] = Field(min_length=1)
    starttls: bool = False
    user: str | None = None
    password_file: Path | None = None


class AlertingSettings(BaseModel):
    """`[alerting]` in the settings file. Nobody is told unless something is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alertmanager: tuple[str, ...] = ()
    """Base URLs; each is sent every alert, as Alertmanager wants it for a cluster."""
    webhook: tuple[WebhookSettings, ...] = ()
    mail: MailSettings | None = None
    page: str = ""
    """Where people reach the console, for links."""
    timeout_s: float = Field(default=10.0, gt=0, le=120)
