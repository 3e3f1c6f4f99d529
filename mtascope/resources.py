"""The tables and rules that ship with the suite, read once from the package and turned into what the language offers.

`mta.events` is pure and takes bytes; this is where the bytes come from.
"""

from __future__ import annotations

import logging
from codecs import BOM_UTF8
from functools import cache
from importlib.resources import files
from pathlib import Path

from mta.events.classifier import ReplyClassifier
from mta.events.errors import SettingsError
from mta.events.mail.bounce_phrases import BouncePhrases
from mta.events.provider import ProviderMap
from mta.events.taxonomy import Taxonomy
from mtascope.settings import ClassifySettings

__all__ = [
    "bounce_groups",
    "bounce_phrases",
    "classifier_of",
    "provider_map",
    "reply_classifier",
    "reply_rule_files",
    "taxonomy",
]

_LOG = logging.getLogger(__name__)
_DATA = files("mta.events") / "data"


@cache
def provider_map(names: Path | None = None, groups: Path | None = None) -> ProviderMap:
    """The shipped map of mailbox providers, with an operator's rows behind it. SettingsError names a wrong one."""
    return ProviderMap.from_csv(_with("providers.csv", names), _with("provider_groups.csv", groups))


def _with(shipped: str, own: Path | None) -> bytes:
    """A shipped table and an operator's behind it: of rows for the same name the last one wins."""
    table = (_DATA / shipped).read_bytes()
    if own is None:
        return table
    try:
        return table + b"\n" + own.read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", where=str(own)) from error


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


def classifier_of(settings: ClassifySettings) -> ReplyClassifier:
    """The shipped rules, and an operator's behind them, ours or KumoMTA's. SettingsError names a wrong one."""
    return _classifier(settings.rules, tuple(settings.classes.items()))


@cache
def _classifier(rules: tuple[Path, ...], classes: tuple[tuple[str, str], ...]) -> ReplyClassifier:
    if not rules:
        return reply_classifier()
    from mta.events.pattern_rules import PatternRules, is_pattern_file

    files = [_operators_file(path) for path in rules]
    patterns = PatternRules([data for data in files if is_pattern_file(data)], taxonomy(), dict(classes))
    for name in patterns.unmapped:
        _LOG.warning("the class %s of a rule file means nothing here: name its meaning in [classify.classes]", name)
    own = [data for data in files if not is_pattern_file(data)]
    return ReplyClassifier.from_toml(taxonomy(), *reply_rule_files().values(), *own, patterns=patterns)


def _operators_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", where=f"classify.rules {path}") from error


@cache
def bounce_phrases() -> BouncePhrases:
    """The shipped words by which bounce mails are known."""
    return BouncePhrases.from_toml((_DATA / "bounce_mail" / "phrases.toml").read_bytes())


def bounce_groups() -> dict[str, str]:
    """The group of each bounce class."""
    return {name: one.group for name, one in taxonomy().items()}
