"""The owner of the store as a process: it loads what is collected, answers questions and shows metrics.

Threads: the collector's follower loads batches; a timer computes the figures behind `/metrics`; HTTP requests run in a
pool. The store serialises the writers among them. The event loop only moves bytes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from prometheus_client.metrics_core import Metric as Family

from analytics.care import back_up, erase
from analytics.snapshot import Snapshot, take_snapshot
from analytics.store import Store
from analytics.suppression import publish
from collector.drain import Drain
from collector.follower import Follower
from collector.ingest import ingest_paths
from collector.roads import Roads, landing_folders
from collector.sources.http_server import EmbeddedServer
from dmarc.settings import ImapSettings
from exporter.api import Backend, create_api, create_metrics_app
from exporter.host import HostCollector
from exporter.prometheus import (
    MetricsPage,
    collector_families,
    mailbox_families,
    relayed,
    report_families,
    road_families,
    store_families,
)
from exporter.report import report_answer
from mta.events.errors import MtascopeError, SettingsError
from mta.events.instants import format_instant
from mta.events.intake import Receipt
from mtascope import __version__
from mtascope.client import ask_socket
from mtascope.console import hand_out
from mtascope.dmarc_figures import report_values
from mtascope.dmarc_reports import advice_answer, posture_answer
from mtascope.opened_store import open_store
from mtascope.report_ingest import ingest_reports
from mtascope.report_mailboxes import ReportMailboxes, https_folder
from mtascope.resources import bounce_groups, provider_map, taxonomy
from mtascope.settings import Settings
from mtascope.upkeep import Upkeep
from mtascope.watching import Watching

__all__ = ["Owner", "open_store"]

_log = logging.getLogger(__name__)


class Owner:
    """Runs until told to stop. `urls` is complete once `started` is set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = open_store(settings)
        self._latest: Snapshot | None = None
        self._stopping = threading.Event()
        self._workers = MtaPages(settings.folder.run)
        follow = (*settings.collector.paths, str(settings.folder.mta_log))
        self._follower = Follower(settings.collector.model_copy(update={"paths": follow}), self._store)
        self._roads = Roads(settings.collector, settings.folder.landing)
        self._drain = Drain(
            landing_folders(settings.folder.landing), self._store, settings.collector, health=self._follower.health
        )
        self._mailboxes = ReportMailboxes(settings, self._store, report_values)
        self._watching = Watching(settings, self._store)
        providers = settings.providers
        self._upkeep = Upkeep(self._store, provider_map(providers.names, providers.groups), providers)
        self._page = MetricsPage(
            {
                "store": store_families(lambda: self._latest, __version__),
                "incidents": self._watching.families,
                "collector": collector_families(self._follower.health, self._store.clock),
                "roads": road_families(self._roads.health),
                "dmarc": mailbox_families(self._mailboxes.health),
                "reports": report_families(self._mailboxes.values),
                "mta": self._workers.families,
            }
        )
        self._host_page = MetricsPage({"host": HostCollector().collect})
        self._failure: MtascopeError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_event = asyncio.Event()
        self.urls: dict[str, str] = {}
        self.started = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`; raises what made the follower give up."""
        self._loop = asyncio.get_running_loop()
        servers = self._servers()
        await self._roads.start()
        self.urls |= {road: f"{host}:{port}" for road, (host, port) in self._roads.addresses.items()}
        mailboxes = (partial(self._until_it_fails, work) for work in self._mailboxes.works)
        works: tuple[Callable[[], None], ...] = (
            self._follow,
            self._drain_roads,
            self._tick,
            *mailboxes,
            *self._watching.works,
            self._upkeep.run,
        )
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        serving = [asyncio.create_task(server.serve(sockets=[sock])) for server, sock in servers]
        for thread in threads:
            thread.start()
        self.started.set()
        await self._stop_event.wait()
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        await self._roads.stop()
        self._stopping.set()
        self._follower.stop()
        self._drain.stop()
        self._mailboxes.stop()
        self._upkeep.stop()
        self._watching.stop()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        self._mailboxes.close()
        self._watching.close()
        self._store.close()
        self._settings.folder.owner_socket.unlink(missing_ok=True)
        self._settings.folder.console_token.unlink(missing_ok=True)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ask `run` to end; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop_event.set)

    def _follow(self) -> None:
        self._until_it_fails(self._follower.run)

    def _drain_roads(self) -> None:
        self._until_it_fails(self._drain.run)

    def _until_it_fails(self, run: Callable[[], None]) -> None:
        try:
            run()
        except MtascopeError as error:
            self._failure = error
            self.stop()

    def _tick(self) -> None:
        """Compute the figures anew, on time or as fast as they can be computed."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._latest = take_snapshot(self._store, self._latest)
            except MtascopeError:
                _log.exception("the figures of /metrics could not be computed")
            self._publish_suppression()
            self._workers.refresh()
            self._stopping.wait(max(0.05, self._settings.http.snapshot_every_s - (time.monotonic() - began)))

    def _publish_suppression(self) -> None:
        """Hand the suppression list to the MTA workers, if it has changed."""
        try:
            publish(self._store, self._settings.folder.suppression)
        except (MtascopeError, OSError):
            _log.exception("the suppression list could not be published; the workers keep the one they have")

    def _servers(self) -> list[tuple[uvicorn.Server, socket.socket]]:
        http = self._settings.http
        backend = Backend(
            self._store,
            self._page,
            self._status,
            self._ingest,
            back_up=lambda path: backup_answer(self._store, path, self._settings),
            erase=lambda recipient: asdict(erase(self._store, recipient)),
            report=lambda since, until: report_answer(self._store, since, until, taxonomy()),
            dmarc_ingest=lambda paths, imap: ingest_reports(
                self._store, self._settings, paths, imap=ImapSettings.model_validate(imap) if imap else None
            ),
            dmarc_advice=lambda domain, days, until, dns: advice_answer(
                self._store, self._settings, domain, days, until, dns=dns
            ),
            dmarc_posture=lambda domain, selectors: posture_answer(self._store, self._settings, domain, selectors),
            incidents=self._settings.incidents,
            bounce_groups=bounce_groups(),
        )
        secret = hand_out(self._settings.folder)
        api = create_api(backend, self._settings.http_with_tokens, __version__, console_secret=secret)
        at_api, at_metrics = _listen(http.host, http.port), _listen(http.metrics_host, http.metrics_port)
        page = f"http://{_netloc(at_api)}"
        self.urls = {"page": f"{page}/", "api": f"{page}/v1", "metrics": f"http://{_netloc(at_metrics)}/metrics"}
        return [
            (_server(api), at_api),
            (_server(create_metrics_app(self._page, self._host_page)), at_metrics),
            (_server(api), _listen_unix(self._settings.folder.owner_socket)),
            *self._report_receiver(),
        ]

    def _report_receiver(self) -> list[tuple[uvicorn.Server, socket.socket]]:
        """What takes TLS reports over HTTPS, where the settings want it."""
        wanted = self._settings.dmarc.https
        if wanted is None:
            return []
        from dmarc.receiver import create_receiver

        sock = _listen(wanted.host, wanted.port)
        self.urls["reports"] = f"{'https' if wanted.certificate else 'http'}://{_netloc(sock)}/"
        app = create_receiver(wanted, https_folder(self._settings))
        return [(_server(app, wanted.certificate, wanted.key), sock)]

    def _road(self, name: str) -> dict[str, Any]:
        health = self._roads.health[name]
        return {
            "address": self.urls[name],
            "connections": health.connections,
            "landed": health.records,
            "landing_bytes": health.landing_bytes,
            "refused": {reason: count for reason, count in health.refusals.items() if count},
            "last_refusal": health.last_refusal or None,
        }

    def _ingest(self, paths: list[str], format_name: str) -> dict[str, Any]:
        began = time.monotonic()
        settings = self._settings.collector.model_copy(update={"format": format_name})
        receipt, files = ingest_paths(paths, self._store, settings)
        return ingest_answer(receipt, files, time.monotonic() - began)

    def _status(self) -> dict[str, Any]:
        snapshot, health = self._latest, self._follower.health
        now = self._store.clock()
        store: dict[str, Any] = {"path": str(self._store.path), "bytes": self._store.size(), "loads": self._store.loads}
        if snapshot is not None:
            identity = snapshot.identity
            store |= {
                "events": snapshot.store_events,
                "identity_holds": identity.holds,
                "recipients": dict(identity.recipients),
                "figures": dict(identity.figures),
                "quarantined": dict(snapshot.quarantined),
                "watermarks": {node: format_instant(int(at * 1e6)) for node, (at, _) in snapshot.watermarks.items()},
                "taken_at": format_instant(snapshot.taken_at),
            }
        return {
            "version": __version__,
            "urls": self.urls,
            "store": store,
            "collector": {
                "receipt": asdict(self._follower.receipt + self._drain.receipt),
                "lag_s": health.lag(now),
                "files_open": health.files_open,
                "files_finished": health.files_finished,
                "backlog_bytes": health.backlog_bytes,
                "last_error": health.last_error_text or None,
                "roads": {road: self._road(road) for road in self._roads.addresses},
            },
            "mailboxes": self._mailboxes.status(),
            "incidents": self._watching.status(),
            "mta": self._workers.status(),
        }


def ingest_answer(receipt: Receipt, files: int, seconds: float) -> dict[str, Any]:
    """What `mtascope ingest --json` prints."""
    return {
        "files": files,
        "received": receipt.received,
        "stored": receipt.stored,
        "duplicates": receipt.duplicates,
        "quarantined": receipt.quarantined,
        "ignored": receipt.ignored,
        "events_stored": receipt.events_stored,
        "seconds": round(seconds, 3),
    }


def backup_answer(store: Store, path: str, settings: Settings) -> dict[str, Any]:
    """Write a backup, and what `mtascope backup --json` prints of it."""
    return asdict(back_up(store, Path(path), {"keys.json": settings.folder.keys}))


class MtaPages:
    """The live metrics of the MTA workers on this machine, fetched from their control sockets on a timer."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._texts: dict[str, str] = {}

    def refresh(self) -> None:
        """Ask every worker whose socket is there; one that does not answer is simply absent from the page."""
        texts: dict[str, str] = {}
        for path in sorted(self._run.glob("mta-*.sock")):
            with suppress(httpx.HTTPError):
                texts[path.stem] = ask_socket(path, "/metrics").text
        self._texts = texts

    def families(self) -> Iterator[Family]:
        """Each worker's families, with its name as `node`."""
        for name, text in self._texts.items():
            yield from relayed(text, name)

    def status(self) -> dict[str, Any]:
        """Each worker's own words about its state."""
        answers: dict[str, Any] = {}
        for path in sorted(self._run.glob("mta-*.sock")):
            try:
                answers[path.stem] = ask_socket(path, "/api/live").json()
            except (httpx.HTTPError, ValueError) as error:
                answers[path.stem] = {"error": str(error)}
        return answers


def _server(app: FastAPI, certificate: Path | None = None, key: Path | None = None) -> uvicorn.Server:
    return EmbeddedServer(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"cannot listen: {error.strerror}", where=f"{host}:{port}", remedy="choose another port in [http]"
        ) from error


def _listen_unix(path: Path) -> socket.socket:
    """A socket for this user only. A leftover of a killed owner is removed: holding the store open is the real lock."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    path.chmod(0o600)
    sock.listen(64)
    return sock


def _netloc(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
