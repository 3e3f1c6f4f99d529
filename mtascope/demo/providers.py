"""The simulated mailbox providers as data, and the rule by which one judges a mail.

`data/providers.toml` holds their words and habits; here is what these mean. A judgement is pure, a function of seed,
mail, attempt and what the scenario lays over it: a run can be repeated and a test can foretell it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mta.events.errors import SettingsError
from mtascope.demo.chance import draw

__all__ = ["GONE", "Behaviour", "Profile", "Share", "judge", "load_profiles", "read_profiles", "routes"]

GONE = "gone."
"""Local parts that begin so belong to mailboxes that no longer exist, at every provider."""

Share = Annotated[float, Field(ge=0, le=1)]
_REPLY_LINE = re.compile(r"([245]\d\d)([ -]).*")


class Behaviour(BaseModel):
    """One way in which a provider does not simply take a mail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    share: Share
    reply: str
    phase: Literal["rcpt", "dot"] = "rcpt"
    per: Literal["mail", "mailbox"] = "mail"
    attempts: int = Field(default=1, ge=1)
    """How many attempts a 4yz lasts; a 5yz lasts for ever."""

    @field_validator("reply")
    @classmethod
    def _is_an_smtp_reply(cls, reply: str) -> str:
        """Every line bears the same code, and only the last one a blank after it (RFC 5321 section 4.2.1)."""
        lines = reply.strip("\n").split("\n")
        found = [_REPLY_LINE.fullmatch(line) for line in lines]
        marks = "".join(match[2] if match else "?" for match in found)
        if marks != "-" * (len(lines) - 1) + " " or len({match[1] for match in found if match}) != 1:
            raise ValueError(f"no SMTP reply: {reply!r}")
        return "\r\n".join(lines)

    @property
    def code(self) -> int:
        """The reply code."""
        return int(self.reply[:3])


class Profile(BaseModel):
    """One provider. The fields are explained at the head of `data/providers.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    weight: float = Field(gt=0)
    banner: str
    accepted: str
    busy: str
    domains: Mapping[str, str] = Field(min_length=1)
    latency_ms: tuple[float, float] = (0, 0)
    connections: int = Field(default=50, ge=1)
    starttls: Literal["offered", "absent", "flaky"] = "offered"
    complaint_share: Share = 0.0
    """Of the mails it takes, those that a feedback loop reports; 0 where it runs none."""
    late_bounce_share: Share = 0.0
    """Of the mails it takes, those that it returns by mail later (RFC 3464)."""
    behaviours: tuple[Behaviour, ...] = Field(alias="behaviour")

    @model_validator(mode="after")
    def _adds_up(self) -> Profile:
        for per in ("mail", "mailbox"):
            if sum(each.share for each in self.behaviours if each.per == per) > 1:
                raise ValueError(f"{self.name}: the shares per {per} add up to more than 1")
        if not any(each.name == "unknown-mailbox" for each in self.behaviours):
            raise ValueError(f"{self.name}: says nothing about unknown mailboxes")
        return self

    @cached_property
    def unknown_mailbox(self) -> Behaviour:
        """What it says about a mailbox that does not exist."""
        return next(each for each in self.behaviours if each.name == "unknown-mailbox")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    provider: tuple[Profile, ...] = Field(min_length=1)


def judge(
    profile: Profile,
    seed: int,
    sender: str,
    recipient: str,
    *,
    attempt: int = 1,
    overlay: Sequence[Behaviour] = (),
) -> Behaviour | None:
    """What strikes this mail at this attempt (counted from 1); None when the provider takes it.

    `overlay` comes first and is drawn anew at each attempt: that is the scenario.
    """
    for each in overlay:
        if draw(seed, profile.name, each.name, sender, recipient, attempt) < each.share:
            return each
    fate = _fate(profile, seed, sender, recipient)
    if fate is not None and fate.code < 500 and attempt > fate.attempts:
        return None
    return fate


def _fate(profile: Profile, seed: int, sender: str, recipient: str) -> Behaviour | None:
    if recipient.startswith(GONE):
        return profile.unknown_mailbox
    mailbox = _struck(profile.behaviours, "mailbox", draw(seed, profile.name, recipient.lower()))
    return mailbox or _struck(profile.behaviours, "mail", draw(seed, profile.name, sender, recipient.lower()))


def _struck(behaviours: Iterable[Behaviour], per: str, where: float) -> Behaviour | None:
    edge = 0.0
    for each in behaviours:
        if each.per == per:
            edge += each.share
            if where < edge:
                return each
    return None


def routes(
    profiles: Iterable[Profile], ports: Mapping[str, int], address: str = "127.0.0.1"
) -> list[dict[str, object]]:
    """Where an MTA must deliver each domain: `domain`, MX `host`, and the `address` and `port` that stand in for it."""
    return [
        {"domain": domain, "host": host, "address": address, "port": ports[profile.name]}
        for profile in profiles
        for domain, host in profile.domains.items()
    ]


def read_profiles(text: str) -> tuple[Profile, ...]:
    """Profiles from TOML text; SettingsError names the entry that is wrong."""
    try:
        return _File.model_validate(tomllib.loads(text)).provider
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(str(error), where="providers") from error


def load_profiles() -> tuple[Profile, ...]:
    """The providers that the demo brings."""
    return read_profiles((files("mtascope.demo") / "data" / "providers.toml").read_text("utf-8"))
