"""What changes while the demo runs: a scenario is a list of phases, each laying something over the ordinary day.

Phases are given in shares of the run, so that a scenario tells the same story in thirty seconds and in ten minutes. A
run without an end repeats it every `CYCLE` seconds.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mta.events.errors import SettingsError
from mtascope.demo.providers import Behaviour, Share

__all__ = ["CYCLE", "Phase", "Scenario", "load_scenario", "read_scenarios", "scenario_names"]

CYCLE = 600.0
"""Seconds after which a run without an end begins its scenario again."""


class Phase(BaseModel):
    """From `since` until `until` of the run, providers behave otherwise, people complain, or a list is bad."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: Share
    until: Share
    providers: tuple[str, ...] = ()
    pool: str | None = None
    behaviour: Behaviour | None = None
    campaign: str | None = None
    gone: Share = 0.0
    """Share of the campaign's recipients that no longer exist."""
    complaint_share: Share = 0.0
    """Of the mails that these providers take, those that are complained about, where that is more than usual."""

    @model_validator(mode="after")
    def _can_be_known(self) -> Phase:
        if self.since >= self.until:
            raise ValueError("a phase must end after it begins")
        if self.pool and self.behaviour and self.behaviour.phase != "dot":
            raise ValueError("the pool of a mail is known only after its final dot")
        return self

    def concerns(self, provider: str, pool: str | None) -> bool:
        """Whether it is about mail of `pool` (None: not known yet) at this provider."""
        return (not self.providers or provider in self.providers) and self.pool in (None, pool)


class Scenario(BaseModel):
    """A named time line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    phases: tuple[Phase, ...] = Field(default=(), alias="phase")

    def active(self, elapsed: float, run: float | None) -> tuple[Phase, ...]:
        """The phases that hold `elapsed` seconds after the start of a run of `run` seconds (None: without an end)."""
        share = elapsed / run if run else elapsed % CYCLE / CYCLE
        return tuple(phase for phase in self.phases if phase.since <= share < phase.until)

    def overlay(self, provider: str, stage: str, pool: str | None, now: tuple[Phase, ...]) -> list[Behaviour]:
        """Of the phases `now` active, what one provider does to a mail of `pool` at `stage` (rcpt or dot)."""
        return [
            phase.behaviour
            for phase in now
            if phase.behaviour is not None and phase.behaviour.phase == stage and phase.concerns(provider, pool)
        ]

    def complaint_share(self, provider: str, pool: str | None, now: tuple[Phase, ...]) -> float:
        """Of the phases `now` active, the largest share of complaints about mail of `pool` at one provider."""
        return max((phase.complaint_share for phase in now if phase.concerns(provider, pool)), default=0.0)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scenario: tuple[Scenario, ...] = Field(min_length=1)


def read_scenarios(text: str) -> dict[str, Scenario]:
    """Scenarios by name from TOML text; SettingsError names what is wrong."""
    try:
        found = _File.model_validate(tomllib.loads(text)).scenario
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(str(error), where="scenarios") from error
    return {each.name: each for each in found}


def _brought() -> dict[str, Scenario]:
    return read_scenarios((files("mtascope.demo") / "data" / "scenarios.toml").read_text("utf-8"))


def scenario_names() -> tuple[str, ...]:
    """The scenarios that the demo brings."""
    return tuple(_brought())


def load_scenario(name: str) -> Scenario:
    """One of them; SettingsError lists them when there is none of that name."""
    known = _brought()
    if name not in known:
        raise SettingsError(f"no scenario is called {name!r}", remedy=f"choose one of {', '.join(known)}")
    return known[name]
