"""The store of a data directory, opened with what this installation knows: keys, provider map, bounce rules.

Apart from the owner's process, so that a command that opens the file itself loads no web server.
"""

from __future__ import annotations

from typing import Any

from analytics.enrich import Enricher, ReplyJudge, Verdict
from analytics.store import Store
from mta.events.reply import SmtpReply
from mtascope.keys import load_keyring
from mtascope.resources import classifier_of, provider_map, reply_classifier, taxonomy
from mtascope.settings import Settings

__all__ = ["open_store"]


def open_store(settings: Settings) -> Store:
    """The store of a data directory, with this installation's keys and the shipped maps and rules."""
    folder = settings.folder
    folder.create()
    enricher = Enricher(
        load_keyring(folder.keys),
        provider_map(settings.providers.names, settings.providers.groups),
        taxonomy(),
        _judge(settings),
        own_networks=settings.store.own_networks,
    )
    return Store(folder.store, enricher, settings.store, settings.clock)


def _judge(settings: Settings) -> ReplyJudge:
    """An operator's rules are compiled at once, so that a wrong one is told now."""
    return classifier_of(settings.classify) if settings.classify.rules else _ShippedRules()


class _ShippedRules:
    """The shipped rules, compiled when the first reply is to be judged: most commands judge none."""

    def classify(self, reply: SmtpReply, **about: Any) -> Verdict:
        return reply_classifier().classify(reply, **about)
