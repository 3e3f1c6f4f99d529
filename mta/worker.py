"""One MTA worker: all parts wired together, started in the order in which they need each other, stopped in reverse."""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import prometheus_client
from fastapi import FastAPI

from mta.control.admin_api import admin_router
from mta.control.api import ControlServer, control_app
from mta.control.idempotency import Answers
from mta.control.log_retention import remove_old_segments
from mta.control.log_segment import find_leftovers
from mta.control.log_writer import LogWriter
from mta.control.record import Hop, Recorder
from mta.delivery.automation import Automation, Classify
from mta.delivery.dispatcher import Dispatcher, ProviderLabel
from mta.delivery.dkim import Signer, Signers
from mta.delivery.effects import EffectFile
from mta.delivery.ground_rules import read_credentials, read_egress, read_shaping
from mta.delivery.identity import Identity
from mta.delivery.limit_table import LimitTable
from mta.delivery.list_headers import HeaderMaker
from mta.delivery.mta_sts import StsPolicies
from mta.delivery.resolver import DnsResolver
from mta.delivery.return_address import ReturnAddress, SignedReturns, own_sender
from mta.delivery.returns import Returns
from mta.delivery.routing import Resolver, Router
from mta.delivery.suppression import Suppression
from mta.delivery.tls import TrustRoots
from mta.delivery.warm_up import WarmUps
from mta.errors import SpoolError, SpoolFull
from mta.events.errors import MtascopeError, SettingsError
from mta.events.instants import SECOND
from mta.events.pseudonym import Keyring
from mta.events.return_path import ReturnPaths
from mta.events.unsubscribe import UnsubscribeTokens
from mta.feedback.report_box import ReportBox
from mta.metrics import LiveState, MtaMetrics
from mta.networks import Networks
from mta.queue.dead_letters import DeadLetters
from mta.queue.entries import LogRecord
from mta.queue.message import Clock, SpoolIds
from mta.queue.orders import Orders
from mta.queue.spool import Recovery, Spool
from mta.settings import Endpoint, MtaSettings
from mta.smtp.access import RelayDomains
from mta.smtp.listener import Door, Listener, server_context
from mta.smtp.login import Login
from mta.smtp.rate import client_rate
from mta.smtp.reception import Feedback, Reception
from mta.smtp.users import FailureLimit, Users

__all__ = ["Worker", "WorkerPaths", "run", "system_clock"]

_LOG = logging.getLogger(__name__)
_TOP_DOMAINS = 50
_HOUSEKEEPING = 1.0
_RETENTION = 60.0
_NEED_RESTART = (
    *("listen", "listen_submission", "listen_tls", "reuse_port", "proxy_networks", "control_listen", "http_token"),
    *("journal_segment_bytes", "log_format", "log_segment_bytes", "log_segment_duration", "nameservers", "warm_up"),
    *("retry_interval", "max_retry_interval", "max_age", "delay_notice", "return_paths"),
)
"""What is fixed when a worker starts."""
_MIN_TOKEN = 16


def system_clock() -> int:
    """The present instant."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class WorkerPaths:
    """Where one worker keeps its files."""

    spool: Path
    log: Path
    control: Path
    node: Path
    """File that holds the node's id, shared by the workers of a data directory."""

    @property
    def reports(self) -> Path:
        """The Maildir for mails to report addresses."""
        return self.node.parent / "reports"

    @property
    def orders(self) -> Path:
        """What operators ordered about waiting mail."""
        return self.shared / "orders.json"

    @property
    def effects(self) -> Path:
        """What shaping rules did."""
        return self.shared / "automation.json"

    @property
    def shared(self) -> Path:
        """What all workers of a data directory keep together."""
        return self.node.parent / "shared"

    @classmethod
    def under(cls, data: Path, worker: int = 0) -> WorkerPaths:
        """The places that the data directory has for worker number `worker`."""
        mta = data / "mta"
        return cls(
            spool=mta / "spool" / str(worker),
            log=mta / "log" / str(worker),
            control=data / "run" / f"mta-{worker}.sock",
            node=mta / "node-id",
        )


class Worker:
    """`start` it, let it run, `stop` it. `recovery` says what the spool held at the start."""

    recovery: Recovery

    def __init__(  # noqa: PLR0913 - the world is passed in, and each piece of it has a default
        self,
        settings: MtaSettings,
        paths: WorkerPaths,
        *,
        feedback: Feedback | None = None,
        provider_label: ProviderLabel = lambda _domain, _mx: "",
        keyring: Keyring | None = None,
        suppression: Suppression | None = None,
        resolver: Resolver | None = None,
        clock: Clock = system_clock,
        source: random.Random | None = None,
        classify: Classify | None = None,
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._clock = clock
        self._suppression = suppression
        source = source or random.Random()  # noqa: S311 - jitter and load spreading, no secret
        recorder = Recorder(_node_id(settings, paths.node), settings.egress_source, settings.egress_pool)
        self.metrics = MtaMetrics(clock() / SECOND)
        self.spool = Spool(
            paths.spool, outbox=self._outbox, segment_bytes=settings.journal_segment_bytes, on_sync=self.metrics.synced
        )
        self._log = self._log_writer()
        self._dead_letters = DeadLetters(
            paths.spool / "dead", max_messages=settings.dead_letter_messages, max_bytes=settings.dead_letter_bytes
        )
        self._ids, self._recorder, self._source = SpoolIds(clock, source), recorder, source
        self._resolver = resolver or _dns(settings)
        self._feedback, self._keyring = feedback, keyring
        most = settings.max_failed_logins
        self._failures = FailureLimit(clock, most=most), FailureLimit(clock, most=5 * most)
        signers = Signers(map(Signer.load, settings.dkim))
        self._limit_table = LimitTable(paths.shared / "limits")
        self._automation = Automation(EffectFile(paths.effects, clock), self._limit_table, clock, classify)
        self._dispatcher = Dispatcher(
            settings,
            spool=self.spool,
            router=self._router(settings),
            recorder=recorder,
            metrics=self.metrics,
            returns=self._returns(settings, signers),
            shaping=read_shaping(settings),
            egress=read_egress(settings),
            warm_ups=self._warm_ups(settings),
            limit_table=self._limit_table,
            automation=self._automation,
            orders=Orders(paths.orders),
            clock=clock,
            source=source,
            provider_label=provider_label,
            return_address=_return_address(settings, keyring, recorder.node_id),
            suppression=suppression,
        )
        self._reception = self._new_reception(settings, signers)
        self._listener = Listener(settings, self._reception, recorder, self.metrics, clock, self._refused)
        self._answers = Answers(paths.shared / "answers.ndjson", clock)
        self.control = self._control_server()
        self._housekeeping: asyncio.Task[None] | None = None
        self._stopping = False

    def reload(self, settings: MtaSettings) -> None:
        """Take up new settings, certificates, users and shaping files. Open connections go on as they began.

        Raises `SettingsError`, and then everything stays as it was. Sockets, spool and log keep what they began with.
        """
        signers, shaping, egress = (
            Signers(map(Signer.load, settings.dkim)),
            read_shaping(settings),
            read_egress(settings),
        )
        reception, router = self._new_reception(settings, signers), self._router(settings)
        credentials = read_credentials(settings)
        server_context(settings)
        fixed = [name for name in _NEED_RESTART if getattr(settings, name) != getattr(self._settings, name)]
        if fixed:
            _LOG.warning("these settings hold after a restart: %s", ", ".join(fixed))
        self._settings, self._reception = settings, reception
        self._dispatcher.reload(
            settings,
            router=router,
            shaping=shaping,
            egress=egress,
            warm_ups=self._warm_ups(settings),
            credentials=credentials,
            returns=self._returns(settings, signers),
        )
        self._listener.reload(settings, reception)

    def _warm_ups(self, settings: MtaSettings) -> WarmUps:
        return WarmUps(settings.warm_up, self._paths.shared / "warm-up")

    def _returns(self, settings: MtaSettings, signers: Signers) -> Returns:
        return Returns(
            *(self.spool, self._dead_letters, self._recorder, self.metrics, self._ids, signers, self._clock),
            *(settings.hostname, settings.notify_senders),
        )

    def _router(self, settings: MtaSettings) -> Router:
        resolver, source = self._resolver, self._source
        if not settings.mta_sts:
            return Router(settings, resolver, self._clock, source)
        from mta.delivery.policy_fetch import PolicyFetcher

        trust, prohibited = TrustRoots(settings.tls_authorities).checked, Networks(settings.prohibited_networks)
        fetch = PolicyFetcher(resolver.addresses, prohibited, trust, settings.mta_sts_port)
        policies = StsPolicies(resolver.texts, fetch, self._paths.shared / "mta-sts", self._clock)
        return Router(settings, resolver, self._clock, source, policies.policy)

    def _log_writer(self) -> LogWriter:
        return LogWriter(
            self._paths.log,
            self._clock,
            self.spool.logged,
            form=self._settings.log_format,
            segment_bytes=self._settings.log_segment_bytes,
            segment_duration=self._settings.log_segment_duration,
            flush_interval=self._settings.log_flush_interval,
        )

    def _control_server(self) -> ControlServer:
        settings = self._settings
        token = _token(settings.http_token)

        def app(*, over_tcp: bool) -> FastAPI:
            limit = settings.max_message_bytes
            wanted = token if over_tcp else None
            router = admin_router(
                *(self._inject, self._dispatcher, self.spool, self._clock),
                answers=self._answers,
                body_limit=limit,
                token=wanted,
            )
            return control_app(self.metrics, self.live, self.trouble, None if over_tcp and token is None else router)

        return ControlServer(
            app(over_tcp=False), self._paths.control, settings.control_listen, tcp_app=app(over_tcp=True)
        )

    def _new_reception(self, settings: MtaSettings, signers: Signers) -> Reception:
        login = Login(Users.load(settings.users), *self._failures) if settings.users is not None else None
        identity = Identity(signers, _list_headers(settings, self._keyring))
        report_box = ReportBox(self._paths.reports) if settings.report_addresses else None
        return Reception(
            *(settings, self.spool, self._recorder, self.metrics, self._ids, self._clock, identity),
            *(self._feedback, login, report_box),
            relay_domains=RelayDomains(settings.relay_domains),
            message_rate=client_rate(settings.message_rate_per_client),
        )

    async def _inject(self, sender: str, recipient: str, content: bytes, client: Hop, request: str = "") -> str:
        return await self._reception.inject(sender, recipient, content, client, request)

    def _refused(self, record: LogRecord) -> None:
        self.spool.record_soon([record])

    @property
    def vital(self) -> list[asyncio.Future[Any]]:
        """What a running worker cannot live without; if one of these is done, the process must end."""
        tasks = (self._dispatcher.task, self._log.task)
        return [self.spool.failed, *(task for task in tasks if task is not None)]

    @property
    def addresses(self) -> list[Endpoint]:
        """Where SMTP is spoken."""
        return self._listener.addresses

    @property
    def doors(self) -> dict[Door, list[Endpoint]]:
        """All sockets, by what they are for."""
        return self._listener.doors

    async def start(self) -> Recovery:
        """Recover, then deliver, then listen."""
        await self._recover()
        self._log.start()
        self.metrics.watch(self.live)
        self.spool.on_accepted = self._dispatcher.add
        self._dispatcher.add_rows(self.spool.index.rows())
        self._dispatcher.start()
        self._housekeeping = asyncio.get_running_loop().create_task(self._keep_house())
        await self.control.start()
        await self._listener.start()
        return self.recovery

    async def _recover(self) -> None:
        leftovers = find_leftovers(self._paths.log)
        self.recovery = self.spool.recover(leftovers.last_seq)
        try:
            await self.spool.logged(leftovers.last_seq)
        except SpoolFull as error:  # they stay unmarked and will be read again at the next start
            _LOG.warning("log segments stay open: %s", error)
        else:
            leftovers.mark_done()

    async def stop(self) -> None:
        """Take no more mail, end attempts under way within `drain_timeout`, close the log and the spool."""
        self._stopping = True
        grace = self._settings.drain_timeout
        await self._listener.stop(grace)
        await self._dispatcher.stop(grace)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._housekeeping
        await self._log.close(grace)
        await self.control.stop()
        await self.spool.close()
        self._limit_table.close()

    async def _keep_house(self) -> None:
        looked = -_RETENTION
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            if time.monotonic() - looked >= _RETENTION:
                looked = time.monotonic()
                await asyncio.to_thread(self._forget_old_log)
            if self._suppression is not None:
                self._suppression.refresh()
            try:
                await self.spool.reclaim()
            except (SpoolError, OSError) as error:
                _LOG.error("cannot give spool space back: %s", error)

    def _forget_old_log(self) -> None:
        settings = self._settings
        age, size = settings.log_retention, settings.log_retention_bytes
        try:
            remove_old_segments(self._paths.log, time.time(), max_age=age, max_bytes=size)
        except OSError as error:
            _LOG.error("cannot delete old log segments: %s", error)

    def _outbox(self, seq: int, line: bytes) -> None:
        self._log.put(seq, line)
        self.metrics.logged(_type_of(line))

    # What the control API shows

    def live(self) -> LiveState:
        """The worker at this moment."""
        index = self.spool.index
        age = 0 if index.oldest is None else self._clock() - index.oldest
        return LiveState(
            fresh=index.waiting - index.retrying,
            retrying=index.retrying,
            domains=_fullest(self.spool.domains),
            oldest_age=max(0, age) / SECOND,
            dead_letters=self._dead_letters.by_reason,
            inbound=self._listener.connections,
            outbound=self._dispatcher.connections,
            spool_bytes=self.spool.size,
            free_bytes=self.spool.free,
            suppressed=self._suppression.entries if self._suppression is not None else 0,
        )

    def trouble(self) -> str | None:
        """Why mail cannot be taken now; the words are KumoMTA's."""
        if self._stopping:
            return "shutting down"
        if self.spool.failed.done():
            return str(self.spool.failed.result())
        if self.spool.free < self._settings.min_free_bytes:
            return "storage is too full"
        return None


async def run(  # noqa: PLR0913 - what the front door hands in
    settings: MtaSettings,
    paths: WorkerPaths,
    *,
    ready: Callable[[Worker], None] = lambda _: None,
    feedback: Feedback | None = None,
    provider_label: ProviderLabel = lambda _domain, _mx: "",
    keyring: Keyring | None = None,
    suppression: Suppression | None = None,
    classify: Classify | None = None,
    clock: Clock = system_clock,
    reread: Callable[[], MtaSettings] | None = None,
) -> None:
    """Run a worker until SIGTERM or SIGINT, then stop it in order. Raises `SpoolError` if its disk gives out.

    SIGHUP takes up the settings that `reread` then gives.
    """
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's log holds recipients
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    worker = Worker(
        settings,
        paths,
        feedback=feedback,
        provider_label=provider_label,
        keyring=keyring,
        suppression=suppression,
        classify=classify,
        clock=clock,
    )
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if reread is not None:
        loop.add_signal_handler(signal.SIGHUP, _reload, worker, reread)
    await worker.start()
    for damage in worker.recovery.damages:
        _LOG.error("%s", damage)
    ready(worker)
    stopped = loop.create_task(stop.wait())
    await asyncio.wait([stopped, *worker.vital], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if worker.spool.failed.done():
        raise worker.spool.failed.result()
    for part in worker.vital:
        if part.done():
            await part
    await worker.stop()


def _reload(worker: Worker, reread: Callable[[], MtaSettings]) -> None:
    try:
        worker.reload(reread())
    except (MtascopeError, OSError) as error:
        _LOG.error("the settings stay as they were: %s", error)
    else:
        _LOG.warning("the settings were read again")


def _return_address(settings: MtaSettings, keyring: Keyring | None, node: str) -> ReturnAddress:
    if not settings.return_paths:
        return own_sender
    if keyring is None:
        raise SettingsError("signed return paths need the installation's keyring", where="mta.return_paths")
    return SignedReturns(settings.return_paths, keyring, ReturnPaths(keyring, settings.return_path_days), node)


def _list_headers(settings: MtaSettings, keyring: Keyring | None) -> HeaderMaker | None:
    if not settings.list_headers:
        return None
    if keyring is None:
        raise SettingsError("unsubscribe links need the installation's keyring", where="mta.list_headers")
    return HeaderMaker(settings.list_headers, UnsubscribeTokens(keyring))


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", where=f"mta.http_token {path}") from error
    if len(token) < _MIN_TOKEN:
        raise SettingsError(f"the token has less than {_MIN_TOKEN} characters", where=f"mta.http_token {path}")
    return token


def _dns(settings: MtaSettings) -> DnsResolver:
    return DnsResolver(
        [str(each) for each in settings.nameservers],
        settings.nameserver_port,
        settings.dns_timeout,
        dnssec=settings.dnssec,
    )


def _node_id(settings: MtaSettings, path: Path) -> str:
    if settings.node_id is not None:
        return settings.node_id
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(f"{uuid4()}\n")
        try:
            os.link(temporary, path)
        finally:
            temporary.unlink()
    text = path.read_text().strip()
    try:
        return str(UUID(text))
    except ValueError as error:
        raise SettingsError(
            f"{text!r} is no UUID", where=str(path), remedy="delete the file or set mta.node_id"
        ) from error


def _fullest(domains: Counter[str]) -> dict[str, int]:
    top = dict(heapq.nlargest(_TOP_DOMAINS, domains.items(), key=lambda item: item[1]))
    rest = domains.total() - sum(top.values())
    return {**top, "other": rest} if rest else top


def _type_of(line: bytes) -> str:
    """The record's type; records begin with it, because that is the first key that `Recorder` writes."""
    if line.startswith(b'{"type":"'):
        return line[9 : line.index(b'"', 9)].decode()
    return str(orjson.loads(line)["type"])
