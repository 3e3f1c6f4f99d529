"""The store of a data directory, opened with what this installation knows: keys, provider map, bounce rules.

Apart from the owner's process, so that a command that opens the file itself loads no web server.
"""

from __future__ import annotations

from analytics.enrich import Enricher
from analytics.store import Store
from mtascope.keys import load_keyring
from mtascope.resources import classifier_of, provider_map, taxonomy
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
        classifier_of(settings.classify),
        own_networks=settings.store.own_networks,
    )
    return Store(folder.store, enricher, settings.store, settings.clock)
