"""Mails in a mailbox of Gmail or Google Workspace, by the Gmail API (scope gmail.modify)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from threading import Event
from urllib.parse import quote

from dmarc.errors import MailboxError
from dmarc.mailbox.mailbox import Letter
from dmarc.mailbox.oauth import TokenSource
from dmarc.mailbox.rest import RestClient
from dmarc.settings import GmailSettings

__all__ = ["GmailMailbox"]

_PAGE = "50"


class GmailMailbox:
    """A label as a mailbox: what is put away gets another label instead."""

    def __init__(self, settings: GmailSettings, tokens: TokenSource, mail_limit: int) -> None:
        self._settings = settings
        self._mail_limit = mail_limit
        self._rest = RestClient(settings.base_url, tokens)
        self._labels: dict[str, str] = {}

    def letters(self) -> Iterator[Sequence[Letter]]:
        """Page by page, the oldest page last, because the service lists the newest first."""
        label = self._label(self._settings.label)
        seen: set[str] = set()
        while True:
            page = self._rest.get("/messages", {"labelIds": label, "maxResults": _PAGE})
            ids = [item["id"] for item in page.get("messages", ()) if isinstance(item, dict) and item.get("id")]
            fresh = [name for name in ids if name not in seen]
            if not fresh:
                return
            seen.update(fresh)
            yield [Letter(name, self._raw(name)) for name in reversed(fresh)]

    def put_away(self, letters: Sequence[Letter], *, refused: bool = False) -> None:  # noqa: ARG002 - one label for all
        """Under the other label."""
        source, target = self._label(self._settings.label), self._label(self._settings.processed)
        ids = [letter.key for letter in letters]
        self._rest.post("/messages/batchModify", {"ids": ids, "addLabelIds": [target], "removeLabelIds": [source]})

    def wait(self, seconds: float, stopping: Event) -> None:
        """A pause."""
        stopping.wait(seconds)

    def close(self) -> None:
        """Give the connections back."""
        self._rest.close()

    def _raw(self, name: str) -> bytes:
        """The mail, cut where no mail is as long; `raw` is base64 with the URL alphabet, a third longer."""
        url = f"/messages/{quote(name, safe='')}?format=raw&fields=raw"
        content = self._rest.content("GET", url, self._mail_limit * 4 // 3 + 1_024)
        text = content.partition(b'"raw"')[2].partition(b'"')[2].partition(b'"')[0]
        clean = text[: len(text) // 4 * 4] if len(text) > self._mail_limit else text + b"=" * (-len(text) % 4)
        try:
            return base64.urlsafe_b64decode(clean)[: self._mail_limit + 1]
        except binascii.Error as error:
            raise MailboxError("a mail cannot be decoded", where=f"{self._settings.name}/{name}") from error

    def _label(self, name: str) -> str:
        """The id of a label, which is made if there is none."""
        if name not in self._labels:
            listed = self._rest.get("/labels").get("labels", ())
            self._labels |= {item["name"]: item["id"] for item in listed if isinstance(item, dict) and "name" in item}
        if name not in self._labels:
            made = self._rest.post("/labels", {"name": name, "labelListVisibility": "labelShow"})
            self._labels[name] = str(made.get("id", ""))
        return self._labels[name]
