"""Mails in a mailbox of Microsoft 365, by Microsoft Graph 1.0 with application permissions (Mail.ReadWrite).

Scope the application to the one mailbox: the permission alone opens all mailboxes of the tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from urllib.parse import quote

from dmarc.errors import MailboxError
from dmarc.mailbox.mailbox import Letter
from dmarc.mailbox.oauth import TokenSource
from dmarc.mailbox.rest import RestClient
from dmarc.settings import GraphSettings

__all__ = ["GraphMailbox"]

_OLDEST = {"$select": "id", "$orderby": "receivedDateTime asc", "$top": "50"}


class GraphMailbox:
    """A folder as a mailbox: what is put away moves to another folder."""

    def __init__(self, settings: GraphSettings, tokens: TokenSource, mail_limit: int) -> None:
        self._settings = settings
        self._mail_limit = mail_limit
        self._user = f"/users/{quote(settings.mailbox, safe='@')}"
        self._rest = RestClient(settings.base_url, tokens)
        self._target = ""

    def letters(self) -> Iterator[Sequence[Letter]]:
        """The oldest page of what lies in the folder, until there is none: what is put away is gone from it."""
        seen: set[str] = set()
        while True:
            page = self._rest.get(f"{self._user}/mailFolders/{quote(self._settings.folder, safe='')}/messages", _OLDEST)
            ids = [item["id"] for item in page.get("value", ()) if isinstance(item, dict) and item.get("id")]
            fresh = [name for name in ids if name not in seen]
            if not fresh:
                return
            seen.update(fresh)
            yield [Letter(name, self._mime(name)) for name in fresh]

    def put_away(self, letters: Sequence[Letter], *, refused: bool = False) -> None:  # noqa: ARG002 - one folder for all
        """Into the other folder."""
        self._target = self._target or self._folder(self._settings.processed)
        for letter in letters:
            self._rest.post(f"{self._user}/messages/{quote(letter.key, safe='')}/move", {"destinationId": self._target})

    def wait(self, seconds: float, stopping: Event) -> None:
        """A pause."""
        stopping.wait(seconds)

    def close(self) -> None:
        """Give the connections back."""
        self._rest.close()

    def _mime(self, name: str) -> bytes:
        return self._rest.content("GET", f"{self._user}/messages/{quote(name, safe='')}/$value", self._mail_limit)

    def _folder(self, name: str) -> str:
        escaped = name.replace("'", "''")
        found = self._rest.get(f"{self._user}/mailFolders", {"$filter": f"displayName eq '{escaped}'"}).get("value")
        folder = found[0] if found else self._rest.post(f"{self._user}/mailFolders", {"displayName": name})
        if not folder.get("id"):
            raise MailboxError(f"the folder {name!r} cannot be made", where=self._settings.mailbox)
        return str(folder["id"])
