"""The words by which a bounce mail is known, in many languages; data, read from TOML that is passed in.

Matching is plain search for strings in folded text: no pattern, so nothing that can step back.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mta.events.errors import SettingsError

__all__ = ["BouncePhrases", "fold", "says"]

_LISTS = {
    "systems": ("origin", "systems"),
    "offices": ("origin", "offices"),
    "names": ("origin", "names"),
    "mailers": ("origin", "mailers"),
    "subject_bounce": ("subject", "bounce"),
    "subject_delayed": ("subject", "delayed"),
    "subject_auto_reply": ("subject", "auto_reply"),
    "subject_absence": ("subject", "absence"),
    "body_bounce": ("body", "bounce"),
    "body_delayed": ("body", "delayed"),
    "body_final": ("body", "final"),
    "body_challenge": ("body", "challenge"),
    "body_auto_reply": ("body", "auto_reply"),
    "markers": ("original", "markers"),
    "announces": ("reason", "announces"),
    "contacts": ("reason", "contacts"),
    "expired": ("reason", "expired"),
    "complaint_subjects": ("complaint", "subjects"),
    "complaint_texts": ("complaint", "texts"),
}


@dataclass(frozen=True, slots=True)
class BouncePhrases:
    """The tables of `data/bounce_mail/phrases.toml`, folded; the file says what each is for."""

    systems: tuple[str, ...]
    offices: tuple[str, ...]
    names: tuple[str, ...]
    mailers: tuple[str, ...]
    subject_bounce: tuple[str, ...]
    subject_delayed: tuple[str, ...]
    subject_auto_reply: tuple[str, ...]
    subject_absence: tuple[str, ...]
    body_bounce: tuple[str, ...]
    body_delayed: tuple[str, ...]
    body_final: tuple[str, ...]
    body_challenge: tuple[str, ...]
    body_auto_reply: tuple[str, ...]
    markers: tuple[str, ...]
    announces: tuple[str, ...]
    contacts: tuple[str, ...]
    expired: tuple[str, ...]
    complaint_subjects: tuple[str, ...]
    complaint_texts: tuple[str, ...]

    @classmethod
    def from_toml(cls, data: bytes) -> BouncePhrases:
        """Read the file. SettingsError names a table that is missing or holds anything but strings."""
        try:
            tables = tomllib.loads(data.decode("utf-8"))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"bounce phrases cannot be read: {error}") from error
        return cls(**{field: _strings(tables, *path) for field, path in _LISTS.items()})


def says(text: str, phrases: Iterable[str]) -> bool:
    """Whether the folded text holds one of the phrases."""
    return any(phrase in text for phrase in phrases)


@lru_cache(maxsize=512)
def fold(text: str) -> str:
    """Lower case, without accents, blanks collapsed, straight quotes: the form in which phrases are compared."""
    if not text.isascii():
        text = text.replace("\u2019", "'").replace("\u2018", "'")
        decomposed = unicodedata.normalize("NFD", text)
        kept = (char for char in decomposed if not "\u0300" <= char <= "\u036f")
        text = unicodedata.normalize("NFC", "".join(kept))
    return " ".join(text.lower().split())


def _strings(tables: dict[str, object], section: str, name: str) -> tuple[str, ...]:
    table = tables.get(section)
    found = table.get(name) if isinstance(table, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise SettingsError("a list of strings is needed", where=f"bounce phrases, [{section}] {name}")
    return tuple(fold(each) for each in found)
