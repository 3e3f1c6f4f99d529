"""Whom this MTA does not send to: the owner's snapshot file, read anew when there is a newer one.

No file means that nobody is suppressed. A file that is damaged is not taken: the list that was read last stays, and the
log says so, because to forget a list would send mail to those who complained.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable
from pathlib import Path

from mta.events.errors import MtascopeError, ParseError
from mta.events.pseudonym import Keyring
from mta.events.suppression import Suppressed, SuppressionList

__all__ = ["Suppression"]

_LOG = logging.getLogger(__name__)


class Suppression:
    """The list at `path`. `keyring` gives the installation's keys; it is asked again with every new list."""

    def __init__(self, path: Path, keyring: Callable[[], Keyring]) -> None:
        self._path = path
        self._load_keyring = keyring
        self._keyring = keyring()
        self._stamp: tuple[int, int, int] | None = None
        self._list: SuppressionList | None = None
        self.refresh()

    @property
    def version(self) -> int:
        """The version of the list in use; 0 without one."""
        return self._list.version if self._list is not None else 0

    @property
    def entries(self) -> int:
        """How many entries the list in use has."""
        return len(self._list) if self._list is not None else 0

    def refresh(self) -> None:
        """Take the file if it is another one than last time. Cheap when it is not: one `stat`."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            with self._path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._list = SuppressionList(memoryview(mapped))
            self._keyring = self._load_keyring()
        except (OSError, ValueError, ParseError) as error:
            _LOG.error("%s is not taken, list %d stays: %s", self._path, self.version, error)
        except MtascopeError as error:
            _LOG.error("the keyring cannot be read: %s", error)

    def find(self, recipient: str, tenant: str, now: int) -> Suppressed | None:
        """Why this recipient is not sent to, if so."""
        if self._list is None or not len(self._list):
            return None
        keys = self._keyring.recipient_keys
        hashes = [self._keyring.recipient_hash(recipient, epoch) for epoch in self._list.epochs if epoch in keys]
        return self._list.find(hashes, tenant, now)
