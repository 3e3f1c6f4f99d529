"""What rules did and still holds, in one small file: workers share it, restarts do not end it, people can read it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from mta.delivery.limits import read_value
from mta.delivery.shaping_rule import ActionKind
from mta.delivery.shared_file import exclusively, replace_file
from mta.queue.message import Clock, Message

__all__ = ["Effect", "EffectFile"]

_LOG = logging.getLogger(__name__)
_MOST = 10_000

_BOUNCES = frozenset({ActionKind.BOUNCE, ActionKind.BOUNCE_TENANT, ActionKind.BOUNCE_CAMPAIGN})


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule did. `path` is the way out that it is about; instants are microseconds.

    `tenant` and `campaign` narrow it; `name` and `value` are what is set, as the file says it.
    """

    id: str
    kind: ActionKind
    path: str
    since: int
    expires: int
    rule: str
    reason: str
    domain: str = ""
    tenant: str = ""
    campaign: str = ""
    name: str = ""
    value: Any = None

    @property
    def about(self) -> tuple[str, ...]:
        """Equal for effects of which the later one replaces the earlier."""
        return self.kind.value, self.path, self.domain, self.tenant, self.campaign, self.name

    @property
    def bounces(self) -> bool:
        """Whether it gives mail up; if it neither does nor sets a limit, it holds mail back."""
        return self.kind in _BOUNCES

    def concerns(self, message: Message) -> bool:
        """Whether a message on that way is held back or given up by it."""
        if self.name:
            return False
        meta = message.envelope.meta
        return (not self.tenant or meta.get("tenant") == self.tenant) and (
            not self.campaign or meta.get("campaign") == self.campaign
        )


class EffectFile:
    """The effects of all workers of a data directory. The file is replaced under a lock."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    @property
    def stamp(self) -> int:
        """Another number when the file was changed; 0 while there is none."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0

    def read(self) -> list[Effect]:
        """The effects that have not ended. A file that cannot be read holds none: mail goes on."""
        now = self._clock()
        try:
            return [effect for effect in map(_effect, orjson.loads(self._path.read_bytes())) if effect.expires > now]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            _LOG.error("%s cannot be read, its effects end: %s", self._path, error)
            return []

    def change(self, change: Callable[[list[Effect]], list[Effect]]) -> list[Effect]:
        """Replace the effects by what `change` makes of them; later ones about the same win. Raises OSError."""
        with exclusively(self._path.with_suffix(".lock")):
            latest = {effect.about: effect for effect in change(self.read())}
            effects = list(latest.values())[-_MOST:]
            replace_file(self._path, orjson.dumps(list(map(_written, effects)), option=orjson.OPT_INDENT_2))
        return effects

    def cancel(self, effect_id: str) -> bool:
        """End an effect; False if there is none of that id. Raises OSError."""
        known = any(effect.id == effect_id for effect in self.read())
        if known:
            self.change(lambda kept: [each for each in kept if each.id != effect_id])
        return known


def _written(effect: Effect) -> dict[str, Any]:
    return {**asdict(effect), "kind": effect.kind.value}


def _effect(said: Mapping[str, Any]) -> Effect:
    effect = Effect(**{**said, "kind": ActionKind(said["kind"])})
    if effect.name:
        read_value(effect.name, effect.value)
    return effect
