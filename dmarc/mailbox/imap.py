"""Mails in an IMAP mailbox (RFC 3501, 9051), by IMAPClient.

Nothing is remembered from one connection to the next: what waits is what lies in the folder without our mark, so
neither a changed UIDVALIDITY nor a lost checkpoint can hide a mail. The flag Seen means nothing here, and is not set
either (BODY.PEEK). IDLE (RFC 2177) only wakes: what there is, a search tells, and one is made now and then uncalled.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Event

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientError, LoginError

from dmarc.errors import MailboxError
from dmarc.mailbox.mailbox import Letter
from dmarc.mailbox.oauth import TokenSource
from dmarc.settings import ImapSettings

__all__ = ["ImapMailbox"]

_SIZES_AT_ONCE = 1_000
_PORTION_MAILS = 100
_PORTION_BYTES = 8 * 1024 * 1024
_IDLE_SECONDS = 540.0
"""Gmail ends an IDLE after about ten minutes."""
_SLICE = 1.0
_MARK = b"$MtascopeStored"
_NEWS = (b"EXISTS", b"RECENT", b"BYE")


class ImapMailbox:
    """One connection with one folder selected. `mail_limit` bounds what is fetched of one mail."""

    def __init__(self, settings: ImapSettings, tokens: TokenSource | None, mail_limit: int) -> None:
        self._settings = settings
        self._mail_limit = mail_limit
        self._folders: set[str] = set()
        where = f"{settings.username}@{settings.host}"
        self._where = f"{where}/{settings.folder}"
        with self._named("cannot be opened"):
            self._client = _connected(settings)
        try:
            with self._named("refuses the login", remedy="see username, password_file or oauth of this mailbox"):
                self._log_in(tokens)
            with self._named("cannot be used"):
                self._client.select_folder(settings.folder)
                self._can_move = self._client.has_capability("MOVE")
                self._can_expunge = self._client.has_capability("UIDPLUS")
                self._can_idle = self._client.has_capability("IDLE")
        except MailboxError:
            self.close()
            raise

    def letters(self) -> Iterator[Sequence[Letter]]:
        """What lies in the folder without our mark, by UID."""
        with self._named("cannot be searched"):
            self._client.noop()
            waiting: list[int] = sorted(self._client.search(["UNDELETED", "UNKEYWORD", _MARK]))
        for start in range(0, len(waiting), _SIZES_AT_ONCE):
            some = waiting[start : start + _SIZES_AT_ONCE]
            with self._named("does not tell sizes"):
                sizes = self._client.fetch(some, ["RFC822.SIZE"])
            for portion in _portions({uid: found[b"RFC822.SIZE"] for uid, found in sizes.items()}):
                letters = self._fetched(portion, sizes)
                if letters:
                    yield letters

    def put_away(self, letters: Sequence[Letter], *, refused: bool = False) -> None:
        """As `after` says: into a folder, under a keyword, or away."""
        settings = self._settings
        uids = [int(letter.key) for letter in letters]
        with self._named("does not let mails be put away"):
            if settings.after == "flag":
                self._client.add_flags(uids, [_MARK], silent=True)
            elif settings.after == "delete" and not refused:
                self._remove(uids)
            else:
                self._move(uids, settings.refused if refused and settings.refused else settings.processed)

    def wait(self, seconds: float, stopping: Event) -> None:
        """IDLE where there is such a thing, else a pause."""
        if not self._can_idle:
            stopping.wait(seconds)
            return
        end = time.monotonic() + min(seconds, _IDLE_SECONDS)
        with self._named("lost while waiting"):
            self._client.idle()
            while not stopping.is_set() and time.monotonic() < end:
                told = self._client.idle_check(timeout=_SLICE)
                if any(word in _NEWS for answer in told for word in answer):
                    break
            self._client.idle_done()

    def close(self) -> None:
        """Hang up; nothing is expunged by that."""
        with suppress(OSError, IMAPClientError):
            self._client.shutdown()

    def _log_in(self, tokens: TokenSource | None) -> None:
        settings = self._settings
        if tokens is None:
            self._client.login(settings.username, settings.password())
        elif self._client.has_capability("AUTH=OAUTHBEARER") and not self._client.has_capability("AUTH=XOAUTH2"):
            self._client.oauthbearer_login(settings.username, tokens.token())
        else:
            self._client.oauth2_login(settings.username, tokens.token())

    def _fetched(self, uids: Sequence[int], sizes: Mapping[int, Mapping[bytes, int]]) -> list[Letter]:
        """Of a mail that is larger than any may be, as much as shows it; one that vanished meanwhile is left out."""
        large = sizes[uids[0]][b"RFC822.SIZE"] > self._mail_limit
        item = f"BODY.PEEK[]<0.{self._mail_limit + 1}>" if large else "BODY.PEEK[]"
        key = b"BODY[]<0>" if large else b"BODY[]"
        with self._named("does not give its mails"):
            found = self._client.fetch(uids, [item])
        return [Letter(str(uid), found[uid][key]) for uid in uids if found.get(uid, {}).get(key) is not None]

    def _move(self, uids: list[int], folder: str) -> None:
        if folder not in self._folders:
            if not self._client.folder_exists(folder):
                self._client.create_folder(folder)
            self._folders.add(folder)
        if self._can_move:
            self._client.move(uids, folder)
        else:
            self._client.copy(uids, folder)
            self._remove(uids)

    def _remove(self, uids: list[int]) -> None:
        """Never a plain EXPUNGE, which takes along what others have marked; without UIDPLUS the mark must do."""
        self._client.delete_messages(uids, silent=True)
        if self._can_expunge:
            self._client.uid_expunge(uids)

    @contextmanager
    def _named(self, what: str, remedy: str = "") -> Iterator[None]:
        try:
            yield
        except (OSError, IMAPClientError) as error:
            refused = isinstance(error, LoginError)
            raise MailboxError(f"{what}: {error}", where=self._where, remedy=remedy if refused else "") from error


def _connected(settings: ImapSettings) -> IMAPClient:
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    timeout = SocketTimeout(connect=settings.timeout_s, read=settings.timeout_s)
    implicit = settings.tls == "implicit"
    client = IMAPClient(
        settings.host,
        settings.port or (993 if implicit else 143),
        ssl=implicit,
        ssl_context=context if implicit else None,
        timeout=timeout,
    )
    client.normalise_times = False
    if settings.tls == "starttls":
        client.starttls(context)
    return client


def _portions(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """UIDs in order, so many that a portion stays small; a large mail is alone."""
    portion: list[int] = []
    held = 0
    for uid, size in sorted(sizes.items()):
        if portion and (held + size > _PORTION_BYTES or len(portion) >= _PORTION_MAILS):
            yield portion
            portion, held = [], 0
        portion.append(uid)
        held += size
    if portion:
        yield portion
