"""The report mailboxes of the settings, each watched by a thread of the store's owner."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, assert_never

from analytics.dmarc_figures import prune_quarantine
from analytics.dmarc_store import DmarcStore
from analytics.store import Store
from dmarc.authentication.carrier_check import CarrierCheck
from dmarc.ingest import ReportIngest
from dmarc.limits import Limits
from dmarc.mailbox.dropped import DroppedFiles
from dmarc.mailbox.mailbox import Mailbox
from dmarc.mailbox.watch import Watch
from dmarc.metrics import MailboxHealth
from dmarc.settings import (
    DmarcSettings,
    FolderSettings,
    GmailSettings,
    GraphSettings,
    ImapSettings,
    MailboxSettings,
)
from mta.events.errors import MtascopeError
from mta.events.instants import DAY, format_instant
from mta.events.pseudonym import Keyring
from mtascope.dns import resolver_of
from mtascope.keys import load_keyring
from mtascope.settings import Settings

__all__ = ["ReportMailboxes", "empty_once", "https_folder", "mailbox_opener"]


_log = logging.getLogger(__name__)

_FIGURES_EVERY = 60.0
_OWN = "own-mta"
"""Name of the mailbox of the bundled MTA."""


Values = Mapping[str, Mapping[tuple[str, ...], float]]
"""Values by metric and labels."""


class ReportMailboxes:
    """What `works` returns is to be run in threads; `stop` ends them all. `figures` computes what the page shows."""

    def __init__(self, settings: Settings, store: Store, figures: Callable[[Store], Values]) -> None:
        self._settings = settings
        self._store = store
        self._figures = figures
        keyring = load_keyring(settings.folder.keys)
        self._stores: list[DmarcStore] = []
        self._values: Values = {}
        self._stopping = Event()
        self._watches = [self._watch(mailbox, keyring) for mailbox in _mailboxes(settings)]

    @property
    def works(self) -> list[Callable[[], None]]:
        """One piece of work for each mailbox, and the figures."""
        return [self._keep_figures, *(watch.run for watch in self._watches)]

    def values(self) -> Values:
        """What the reports say, as of the last minute; nothing before the first look."""
        return self._values

    def _keep_figures(self) -> None:
        """Compute them anew every minute, and forget what was quarantined long ago."""
        pruned_on = 0
        while not self._stopping.is_set():
            try:
                self._values = self._figures(self._store)
                today = self._store.clock() // DAY
                if today != pruned_on:
                    prune_quarantine(self._store, self._settings.dmarc.quarantine_days)
                    pruned_on = today
            except MtascopeError:
                _log.exception("the figures of reports could not be computed")
            self._stopping.wait(_FIGURES_EVERY)

    @property
    def health(self) -> Mapping[str, MailboxHealth]:
        """How each mailbox is, by name."""
        return {watch.name: watch.health for watch in self._watches}

    def status(self) -> dict[str, Any]:
        """The same for people and programs."""
        return {name: _told(health) for name, health in self.health.items()}

    def stop(self) -> None:
        """Ask all works to end."""
        self._stopping.set()
        for watch in self._watches:
            watch.stop()

    def close(self) -> None:
        """When all works have ended."""
        for store in self._stores:
            store.close()

    def _watch(self, mailbox: MailboxSettings, keyring: Keyring) -> Watch:
        reports = DmarcStore(self._store)
        self._stores.append(reports)
        clock = self._store.clock
        return Watch(
            mailbox.name,
            mailbox_opener(mailbox, clock),
            ReportIngest(reports, keyring, clock, self._settings.dmarc),
            rescan=mailbox.rescan_s,
            clock=clock,
            carriers=_carriers(mailbox, self._settings.dmarc),
        )


def empty_once(
    mailbox: MailboxSettings, ingest: ReportIngest, settings: DmarcSettings, clock: Callable[[], int]
) -> None:
    """Store what waits in a mailbox now. Raises MailboxError."""
    opener = mailbox_opener(mailbox, clock)
    watch = Watch(
        mailbox.name, opener, ingest, rescan=mailbox.rescan_s, clock=clock, carriers=_carriers(mailbox, settings)
    )
    with closing(opener()) as opened:
        watch.empty(opened)


def _carriers(mailbox: MailboxSettings, settings: DmarcSettings) -> CarrierCheck | None:
    """Our own MTA's mails are judged by us, others where nobody whom we trust has done so."""
    if mailbox.name == _OWN:
        return CarrierCheck(resolver_of(settings), own=True)
    if isinstance(mailbox, FolderSettings) and mailbox.type == "folder":
        return None  # files, perhaps without a mail around them
    return CarrierCheck(resolver_of(settings)) if settings.check_mails and not settings.trusted_authserv_ids else None


def https_folder(settings: Settings) -> Path:
    """Where reports wait that came over HTTPS."""
    return settings.data / "reports" / "https"


def _mailboxes(settings: Settings) -> list[MailboxSettings]:
    """Those of the settings, and that into which the bundled MTA puts what came to our report addresses."""
    found: list[MailboxSettings] = list(settings.dmarc.mailboxes)
    if settings.mta.report_addresses:
        path = settings.folder.mta_log.parent / "reports"  # see mta/worker.py
        for name in ("tmp", "new", "cur"):
            (path / name).mkdir(parents=True, exist_ok=True)
        found.append(FolderSettings(name=_OWN, type="maildir", path=path, rescan_s=1))
    if settings.dmarc.https is not None:
        path = https_folder(settings)
        path.mkdir(parents=True, exist_ok=True)
        found.append(FolderSettings(name="https", type="folder", path=path, after="delete"))
    return found


def mailbox_opener(mailbox: MailboxSettings, clock: Callable[[], int]) -> Callable[[], Mailbox]:
    """How to open that mailbox; each kind's library is loaded only when it is."""
    limit = Limits().mail.size
    match mailbox:
        case FolderSettings():
            return partial(DroppedFiles, mailbox, limit)
        case ImapSettings():
            from dmarc.mailbox.imap import ImapMailbox
            from dmarc.mailbox.oauth import token_source

            tokens = None if mailbox.oauth is None else token_source(mailbox.oauth, clock)
            return partial(ImapMailbox, mailbox, tokens, limit)
        case GraphSettings():
            from dmarc.mailbox.graph import GraphMailbox
            from dmarc.mailbox.oauth import token_source

            return partial(GraphMailbox, mailbox, token_source(mailbox.oauth, clock), limit)
        case GmailSettings():
            from dmarc.mailbox.gmail import GmailMailbox
            from dmarc.mailbox.oauth import token_source

            return partial(GmailMailbox, mailbox, token_source(mailbox.oauth, clock), limit)
        case _:
            assert_never(mailbox)


def _told(health: MailboxHealth) -> dict[str, Any]:
    def moment(at: int) -> str | None:
        return format_instant(at) if at else None

    return {
        "connected": health.connected,
        "mails": health.mails,
        "last_mail": moment(health.last_mail),
        "looked": moment(health.looked),
        "failures": health.failures,
        "last_error": health.last_error or None,
        "last_error_at": moment(health.last_error_at),
    }
