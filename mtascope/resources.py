"""The tables and rules that ship with the suite, read once from the package and turned into what the language offers.

`mta.events` is pure and takes bytes; this is where the bytes come from.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from mta.events.classifier import ReplyClassifier
from mta.events.mail.bounce_phrases import BouncePhrases
from mta.events.provider import ProviderMap
from mta.events.taxonomy import Taxonomy

__all__ = ["bounce_groups", "bounce_phrases", "provider_map", "reply_classifier", "reply_rule_files", "taxonomy"]

_DATA = files("mta.events") / "data"


@cache
def provider_map() -> ProviderMap:
    """The shipped map of mailbox providers."""
    return ProviderMap.from_csv((_DATA / "providers.csv").read_bytes(), (_DATA / "provider_groups.csv").read_bytes())


@cache
def taxonomy() -> Taxonomy:
    """The shipped bounce classes."""
    return Taxonomy.from_csv((_DATA / "bounce_classes.csv").read_bytes())


def reply_rule_files() -> dict[str, bytes]:
    """The shipped rule files by name, in the order in which they are read."""
    found = [entry for entry in (_DATA / "reply_rules").iterdir() if entry.name.endswith(".toml")]
    return {entry.name: entry.read_bytes() for entry in sorted(found, key=lambda entry: entry.name)}


@cache
def reply_classifier() -> ReplyClassifier:
    """The shipped rules, compiled; takes a moment the first time."""
    return ReplyClassifier.from_toml(taxonomy(), *reply_rule_files().values())


@cache
def bounce_phrases() -> BouncePhrases:
    """The shipped words by which bounce mails are known."""
    return BouncePhrases.from_toml((_DATA / "bounce_mail" / "phrases.toml").read_bytes())


def bounce_groups() -> dict[str, str]:
    """The group of each bounce class."""
    return {name: one.group for name, one in taxonomy().items()}
