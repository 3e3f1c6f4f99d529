"""A store with a little mail in it, and the API over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from analytics.enrich import Enricher
from analytics.snapshot import take_snapshot
from analytics.store import Store
from exporter.api import Backend, create_api
from exporter.prometheus import MetricsPage, store_families
from exporter.settings import HttpSettings
from mta.events.event import Event, EventType
from mta.events.intake import Batch
from mta.events.pseudonym import Keyring
from mta.events.reply import SmtpReply
from mtascope.resources import provider_map, reply_classifier, taxonomy

START = 1_780_000_000_000_000


def mail(number: int, domain: str, tenant: str = "red") -> tuple[Event, ...]:
    """Received, then delivered, or bounced every fifth."""
    common: dict[str, Any] = {
        "node": "node-a",
        "mta": "kumomta",
        "queue_id": f"{domain}-{number}",
        "recipient": f"u{number}@{domain}",
        "created": START + number,
        "tenant": tenant,
    }
    ended = (EventType.BOUNCE, 550, "5.1.1 no such user") if number % 5 == 0 else (EventType.DELIVERY, 250, "ok")
    return (
        Event(type=EventType.RECEPTION, time=START + number, **common),
        Event(
            type=ended[0], time=START + number + 900_000, attempt=1, reply=SmtpReply(ended[1], None, ended[2]), **common
        ),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    keyring = Keyring(b"i" * 32, {1: b"r" * 32})
    enricher = Enricher(keyring, provider_map(), taxonomy(), reply_classifier())
    with Store(tmp_path / "store.duckdb", enricher, clock=lambda: START + 60_000_000) as opened:
        opened.load(Batch("test", [mail(n, domain) for n in range(50) for domain in ("gmail.com", "yahoo.com")]))
        yield opened


@pytest.fixture
def page(store: Store) -> MetricsPage:
    snapshot = take_snapshot(store)
    return MetricsPage({"store": store_families(lambda: snapshot, "0")})


@pytest.fixture
def backend(store: Store, page: MetricsPage) -> Backend:
    return Backend(
        store,
        page,
        lambda: {"store": {}},
        lambda paths, _format: {"paths": paths},
        back_up=lambda path: {"path": path},
        erase=lambda recipient: {"recipient": recipient},
        report=lambda since, until: {"since": since, "until": until},
        dmarc_ingest=lambda paths, imap: {"paths": paths, "imap": imap},
        dmarc_advice=lambda domain, days, until, dns: {"domain": domain, "days": days, "until": until, "dns": dns},
        dmarc_posture=lambda domain, selectors: {"domain": domain, "selectors": selectors},
    )


@pytest.fixture
def api(backend: Backend) -> FastAPI:
    return create_api(backend, HttpSettings(open_to_loopback=True), "0")
