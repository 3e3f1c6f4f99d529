"""What can be set about reports: table `[dmarc]` of the settings file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DmarcSettings"]


class DmarcSettings(BaseModel):
    """Reading and storing of reports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domains: tuple[str, ...] = ()
    """Our domains; reports about others are quarantined. Subdomains are included. Empty: every report is taken."""
    trusted_authserv_ids: tuple[str, ...] = ()
    """Hosts whose Authentication-Results we believe about the mails that carry reports (RFC 8601 section 2.5)."""
    commit_every: int = Field(default=500, ge=1, le=10_000)
    """Mails or files that are stored in one transaction."""
    commit_records: int = Field(default=50_000, ge=1, le=1_000_000)
    """... or records, whichever comes first."""
