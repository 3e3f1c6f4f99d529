"""Settings of the store."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator

__all__ = ["StoreSettings", "SuppressionRule", "SuppressionSettings"]


class SuppressionRule(BaseModel):
    """Which failures put a recipient on the suppression list, how many of them, for how long, and for whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...] = Field(min_length=1)
    """Bounce classes; `complaint` is one."""
    times: int = Field(default=1, ge=1, le=100)
    """Failed mails that it takes; a delivery in between starts the count anew."""
    within_days: float = Field(default=30, gt=0, le=3650)
    expires_days: float | None = Field(default=None, gt=0, le=36_500)
    """How long after the failure the entry ends; None: never."""
    scope: Literal["global", "tenant"] = "global"
    """Whether the whole fleet stops sending to the recipient, or only the tenant whose mail failed."""


_RULES = (
    SuppressionRule(classes=("bad_mailbox", "inactive_mailbox", "mailbox_moved", "bad_domain"), expires_days=365),
    SuppressionRule(classes=("complaint", "unsubscribe_request"), scope="tenant"),
    SuppressionRule(
        classes=("mailbox_full", "recipient_refused", "relay_denied", "routing_error", "message_expired", "unknown"),
        times=3,
        expires_days=30,
    ),
)


class SuppressionSettings(BaseModel):
    """`[store.suppression]` in the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[SuppressionRule, ...] = _RULES
    """The first rule that names a class holds for it; no rules: only people put anybody on the list."""
    complaint_types: tuple[str, ...] = ("abuse", "opt-out", "opt-out-list", "fraud", "other", "")
    """Feedback types that suppress; `not-spam` is the opposite of one."""
    reports_matched_by: tuple[Literal["token", "message_id", "recipient"], ...] = ("token", "message_id", "recipient")
    """How a late bounce or complaint must have found its send before it counts; only `token` cannot be forged."""
    keep_addresses: bool = False
    """Keep the addresses of entries that people add in clear, so that an export can name them."""


class StoreSettings(BaseModel):
    """`[store]` in the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_limit: str = Field(default="1GB", pattern=r"^\d+(\.\d+)?\s?(MB|GB|MiB|GiB)$")
    """What DuckDB may use for queries before it spills to disk."""
    threads: int = Field(default=2, ge=1, le=64)
    checkpoint_megabytes: int = Field(default=1024, ge=16, le=65_536)
    """Size of the write-ahead log that forces a checkpoint; DuckDB's own default of 16 stalls loads for seconds."""
    checkpoint_every_s: int = Field(default=300, ge=1)
    """A quiet store is checkpointed this often, so that the log stays short and a restart quick."""
    restate_days: int = Field(default=14, ge=1, le=90)
    """How long a late bounce or complaint may still change the figures of its send (METRICS.md rule 2)."""
    queue_lifetime_days: float = Field(default=7, gt=0, le=60)
    """How long your servers keep trying: mail that is older and has not ended is not expected to end any more."""
    seal_after_hours: float = Field(default=48, ge=0, le=24 * 30)
    """Mail that has ended and was silent for so long leaves the tables for compressed files."""
    seal_recipients: int = Field(default=200_000, ge=1, le=5_000_000)
    """How many leave in one go: it bounds memory and how long a load may have to wait."""
    suppression: SuppressionSettings = SuppressionSettings()
    keep_texts_days: int = Field(default=30, ge=1)
    """How long what was particular to a failure's reply is kept; its template, code and class stay with the mail."""
    keep_mails_days: int = Field(default=400, ge=30)
    """How long every single mail is kept, its events included."""
    keep_figures_days: int = Field(default=1200, ge=30)
    """How long counts by provider are kept; not shorter than mails."""
    keep_quarantine_days: int = Field(default=30, ge=1)
    """How long records that could not be read are kept."""
    own_networks: tuple[IPvAnyNetwork, ...] = ()
    """Where your own relays, filters and nodes are: mail handed to them is on its way, not delivered. A filter on the
    same machine is known without this."""

    @model_validator(mode="after")
    def _figures_outlast_mails(self) -> Self:
        if self.keep_figures_days < self.keep_mails_days:
            raise ValueError("keep_figures_days is shorter than keep_mails_days")
        return self
