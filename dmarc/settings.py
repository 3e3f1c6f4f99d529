"""What can be set about reports: table `[dmarc]` of the settings file."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dmarc.errors import MailboxError

__all__ = [
    "DmarcSettings",
    "FolderSettings",
    "GmailSettings",
    "GraphSettings",
    "ImapSettings",
    "MailboxSettings",
    "OAuthSettings",
    "ReceiverSettings",
]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OAuthSettings(_Model):
    """How a mailbox's access token is had: `token_file`, or a grant at `token_url`. Secrets stand in files."""

    token_file: Path | None = None
    """Holds an access token that another program keeps fresh."""
    token_url: str | None = Field(default=None, pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]")
    scope: str = ""
    client_id: str | None = None
    client_secret_file: Path | None = None
    refresh_token_file: Path | None = None
    """With it the grant is a refresh token, without it client credentials."""
    service_account_file: Path | None = None
    """Google's JSON key file; the grant is a signed assertion then."""
    subject: str | None = None
    """The mailbox for which the service account acts."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.token_file is None) == (self.token_url is None):
            raise ValueError("set token_file or token_url")
        if self.token_url is not None and self.client_id is None and self.service_account_file is None:
            raise ValueError("token_url needs client_id or service_account_file")
        return self


class _Mailbox(_Model):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Names it in metrics, in the status and in the source of reports."""
    rescan_s: float = Field(default=300, gt=0, le=3600)
    """It is looked into this often without being told that something came."""


class FolderSettings(_Mailbox):
    """A Maildir, or a folder into which something drops files: mails, or bare reports."""

    type: Literal["maildir", "folder"]
    path: Path
    after: Literal["move", "delete"] = "move"
    """What is done with a file whose reports are stored: moved (Maildir: to its folder `.Processed`), or deleted."""
    rescan_s: float = Field(default=5, gt=0, le=3600)


class ImapSettings(_Mailbox):
    """A folder of an IMAP server."""

    type: Literal["imap"] = "imap"
    host: str
    port: int | None = Field(default=None, ge=1, le=65_535)
    """993, or 143 without implicit TLS."""
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    """`none` on loopback only."""
    ca_file: Path | None = None
    """Authorities to trust instead of the system's."""
    username: str
    password_file: Path | None = None
    oauth: OAuthSettings | None = None
    folder: str = "INBOX"
    after: Literal["move", "flag", "delete"] = "move"
    """What is done with a mail whose reports are stored. `flag` sets the keyword $MtascopeStored."""
    processed: str = "Processed"
    refused: str | None = None
    """Folder for mails in which something could not be read; else they go with the others, but are never deleted."""
    timeout_s: float = Field(default=60, gt=0, le=600)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.password_file is None) == (self.oauth is None):
            raise ValueError("set password_file or oauth")
        if self.tls == "none" and self.host not in _LOOPBACK:
            raise ValueError("a password does not go over the network in clear: tls = none is for loopback")
        return self

    def password(self) -> str:
        """What the file holds. Raises MailboxError."""
        path = self.password_file or Path()
        try:
            return path.read_text("utf8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise MailboxError("the password cannot be read", where=str(path)) from error


class GraphSettings(_Mailbox):
    """A mailbox of Microsoft 365, by Microsoft Graph."""

    type: Literal["graph"]
    mailbox: str
    """Its address."""
    oauth: OAuthSettings
    folder: str = "inbox"
    processed: str = "Processed"
    """A folder beside the others, made if absent."""
    base_url: str = "https://graph.microsoft.com/v1.0"
    """National clouds have others."""


class GmailSettings(_Mailbox):
    """A mailbox of Gmail or Google Workspace, by the Gmail API."""

    type: Literal["gmail"]
    oauth: OAuthSettings
    label: str = "INBOX"
    """Mails that have it wait; it is taken off when they are stored."""
    processed: str = "Processed"
    """The label that they get instead, made if absent."""
    base_url: str = "https://gmail.googleapis.com/gmail/v1/users/me"


MailboxSettings = Annotated[ImapSettings | FolderSettings | GraphSettings | GmailSettings, Field(discriminator="type")]


class ReceiverSettings(_Model):
    """Taking TLS reports over HTTPS: for `rua=https://...` in `_smtp._tls`."""

    host: str = "127.0.0.1"
    port: int = Field(default=8460, ge=0, le=65_535)
    certificate: Path | None = None
    key: Path | None = None
    max_bytes: int = Field(default=5 * 1024 * 1024, ge=1_024, le=64 * 1024 * 1024)
    posts_per_minute: int = Field(default=30, ge=1)
    """Of one client."""
    max_waiting: int = Field(default=10_000, ge=1)
    """Reports that may wait to be stored."""

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: set both or none")
        if self.certificate is None and self.host not in _LOOPBACK:
            raise ValueError("beyond loopback, reports are taken over TLS only: set certificate and key")
        return self


class DmarcSettings(_Model):
    """Reading and storing of reports."""

    domains: tuple[str, ...] = ()
    """Our domains; reports about others are quarantined. Subdomains are included. Empty: every report is taken."""
    trusted_authserv_ids: tuple[str, ...] = ()
    """Hosts whose Authentication-Results we believe about the mails that carry reports (RFC 8601 section 2.5)."""
    check_mails: bool = True
    """Check who sent a report mail (SPF, DKIM, DMARC) where none of `trusted_authserv_ids` has; asks DNS."""
    nameservers: tuple[IPv4Address | IPv6Address, ...] = ()
    """Resolvers to ask; none means the system's."""
    nameserver_port: int = Field(default=53, ge=1, le=65_535)
    network_database: Path | None = None
    """A MaxMind database file that names networks and countries of addresses (needs the extra `geo`)."""
    mailboxes: tuple[MailboxSettings, ...] = ()
    """Where reports arrive; `mtascope up` and `serve` watch them all."""
    https: ReceiverSettings | None = None
    """Takes TLS reports over HTTPS, where set."""
    quarantine_days: int = Field(default=90, ge=1, le=3650)
    """How long the beginnings of inputs that could not be read are kept for a look."""
    commit_every: int = Field(default=5_000, ge=1, le=100_000)
    """Mails or files that are stored in one transaction."""
    commit_records: int = Field(default=200_000, ge=1, le=1_000_000)
    """... or records, whichever comes first."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [mailbox.name for mailbox in self.mailboxes]
        if len(names) != len(set(names)):
            raise ValueError("two mailboxes have one name")
        return self
