"""Who sends what to whom in the demo: the n-th mail of a seed, composed without looking at any other.

Mails are small but whole: two alternatives, list headers, and those that tell the MTA tenant, campaign and pool.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mta.events.errors import SettingsError
from mtascope.demo.chance import Wheel, draw, token
from mtascope.demo.providers import GONE, Profile

__all__ = ["BOUNCES_DOMAIN", "Campaign", "Campaigns", "Composer", "Mail", "load_campaigns", "read_campaigns"]

BOUNCES_DOMAIN = "bounces.mtascope.test"
"""Domain of the envelope sender; its local part carries the mail's id (VERP), so that late bounces find their mail."""

_MAILBOXES = 50_000
_SEVERAL_RECIPIENTS = 0.02
_NEXT_DOMAIN = 0.25
_FIRST = (
    "anna",
    "ben",
    "chloe",
    "david",
    "elif",
    "farid",
    "grace",
    "hugo",
    "ines",
    "jonas",
    "kaya",
    "liam",
    "mara",
    "noah",
)
_LAST = (
    "adler",
    "bauer",
    "costa",
    "dubois",
    "evans",
    "fischer",
    "garcia",
    "haas",
    "ivanov",
    "jansen",
    "kim",
    "lopez",
    "meyer",
)
_FILLER = (
    "You are reading this because you asked for it; the link at the end lets you change your mind at any time. "
    "Images are optional, and so is the rest."
)


class Campaign(BaseModel):
    """One stream of mail of one tenant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    tenant: str
    sender: str
    pool: str
    weight: float = Field(gt=0)
    subject: str
    text: str


class Campaigns(BaseModel):
    """All that is sent in the demo, and the address that each pool stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pools: Mapping[str, str]
    campaigns: tuple[Campaign, ...] = Field(alias="campaign", min_length=1)

    @model_validator(mode="after")
    def _names_known_pools(self) -> Campaigns:
        for each in self.campaigns:
            if each.pool not in self.pools:
                raise ValueError(f"{each.name}: no pool is called {each.pool!r}")
        return self


def read_campaigns(text: str) -> Campaigns:
    """Campaigns from TOML text; SettingsError names what is wrong."""
    try:
        return Campaigns.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(str(error), where="campaigns") from error


def load_campaigns() -> Campaigns:
    """The campaigns that the demo brings."""
    return read_campaigns((files("mtascope.demo") / "data" / "campaigns.toml").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail, ready to be sent."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    tenant: str
    campaign: str
    pool: str


class Composer:
    """Composes the n-th mail of a seed. `gone` says which share of a campaign's recipients no longer exists now."""

    def __init__(
        self, profiles: Sequence[Profile], campaigns: Campaigns, seed: int, gone: Callable[[str], float] = lambda _: 0.0
    ) -> None:
        self._seed = seed
        self._gone = gone
        self._campaigns = Wheel((each, each.weight) for each in campaigns.campaigns)
        self._domains = Wheel(pair for profile in profiles for pair in _weighted_domains(profile))

    def compose(self, number: int, now: float) -> Mail:
        """Mail `number`, dated `now` (seconds since the epoch)."""
        campaign = self._campaigns.at(draw(self._seed, number, "campaign"))
        identity = f"{token(self._seed, number, 'id')}-{number}"
        recipients = tuple(self._recipient(number, turn, campaign) for turn in range(self._how_many(number)))
        return Mail(
            id=identity,
            sender=f"bounce+{identity}@{BOUNCES_DOMAIN}",
            recipients=recipients,
            content=_content(campaign, identity, number, recipients, now),
            tenant=campaign.tenant,
            campaign=campaign.name,
            pool=campaign.pool,
        )

    def _how_many(self, number: int) -> int:
        where = draw(self._seed, number, "recipients")
        return 1 if where >= _SEVERAL_RECIPIENTS else 2 if where >= _SEVERAL_RECIPIENTS / 3 else 3

    def _recipient(self, number: int, turn: int, campaign: Campaign) -> str:
        domain = self._domains.at(draw(self._seed, number, turn, "domain"))
        mailbox = int(draw(self._seed, number, turn, "mailbox") * _MAILBOXES)
        first, last = _FIRST[mailbox % len(_FIRST)], _LAST[mailbox % len(_LAST)]
        share = self._gone(campaign.name)
        prefix = GONE if share and draw(self._seed, number, turn, "gone") < share else ""
        return f"{prefix}{first}.{last}{mailbox}@{domain}"


def _weighted_domains(profile: Profile) -> list[tuple[str, float]]:
    """The provider's weight, shared out among its domains: each has a quarter of the mail of the one before."""
    parts = [_NEXT_DOMAIN**rank for rank in range(len(profile.domains))]
    return [(domain, profile.weight * part / sum(parts)) for domain, part in zip(profile.domains, parts, strict=True)]


def _content(campaign: Campaign, identity: str, number: int, recipients: tuple[str, ...], now: float) -> bytes:
    domain = campaign.sender.rpartition("@")[2].rstrip(">")
    boundary = f"part-{identity}"
    text = campaign.text.format(number=number)
    paragraphs = (_FILLER + "\r\n") * (1 + number % 4)
    return (
        f"From: {campaign.sender}\r\n"
        f"To: {', '.join(recipients)}\r\n"
        f"Subject: {campaign.subject.format(number=number)}\r\n"
        f"Date: {formatdate(now)}\r\n"
        f"Message-ID: <{identity}@{domain}>\r\n"
        f"X-Tenant: {campaign.tenant}\r\n"
        f"X-Campaign: {campaign.name}\r\n"
        f"X-Pool: {campaign.pool}\r\n"
        f"X-Mtascope-Demo-Id: {identity}\r\n"
        f"X-Mtascope-Demo-Pool: {campaign.pool}\r\n"
        f"List-Unsubscribe: <https://{domain}/unsubscribe/{identity}>\r\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n'
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "\r\n"
        f"{text}\r\n\r\n{paragraphs}"
        f"--{boundary}\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        "\r\n"
        f"<p>{text}</p>\r\n<p>{paragraphs}</p>\r\n"
        f"--{boundary}--\r\n"
    ).encode()
