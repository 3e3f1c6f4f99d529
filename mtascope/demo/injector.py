"""One SMTP connection into the MTA that knows what became of each mail it carried.

The point is the accounting: a recipient is accepted (a 250 was read), refused (a 4yz or 5yz was read) or unknown (the
connection died between the start of DATA and the reply, so the mail may or may not have been taken). What certainly was
not taken is offered again; what is unknown never is, because that could double it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aiosmtplib

__all__ = ["Injector", "Outcome"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mail's recipients; the three add up to their number."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0


class Injector:
    """A connection that is opened when needed, kept while it works, and opened again when it broke."""

    def __init__(self, host: str, port: int, *, helo: str, timeout: float = 30.0) -> None:
        self._address = (host, port)
        self._helo = helo
        self._timeout = timeout
        self._client: aiosmtplib.SMTP | None = None
        self.reconnects = 0
        """How often a connection had to be opened again, or could not be."""

    async def send(self, sender: str, recipients: Sequence[str], content: bytes) -> Outcome:
        """Carry one mail, however long the MTA is away. Cancelled, it leaves the mail's fate unknown."""
        try:
            return await self._until_answered(sender, recipients, content)
        except asyncio.CancelledError:
            self._drop()  # an answer may still be on its way; nothing else can be said on this connection
            raise

    async def _until_answered(self, sender: str, recipients: Sequence[str], content: bytes) -> Outcome:
        pause = _FIRST_PAUSE
        while True:
            try:
                client = await self._connected()
                taken, refused = await self._envelope(client, sender, recipients)
            except aiosmtplib.SMTPResponseException as error:
                if error.code != 421:
                    return Outcome(refused=len(recipients))
            except (aiosmtplib.SMTPException, OSError):
                pass
            else:
                return await self._content(client, taken, refused, content)
            self._drop()
            self.reconnects += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def close(self) -> None:
        """Say goodbye, if anybody still listens."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.quit()
            except (aiosmtplib.SMTPException, OSError):
                client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is None or not self._client.is_connected:
            host, port = self._address
            self._client = aiosmtplib.SMTP(
                hostname=host, port=port, local_hostname=self._helo, timeout=self._timeout, start_tls=False
            )
            await self._client.connect()
            await self._client.ehlo()
        return self._client

    async def _envelope(self, client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str]) -> tuple[int, int]:
        """Recipients taken and refused; the refusal of all of them, or a broken connection, is raised."""
        await client.mail(sender)
        refused = 0
        for recipient in recipients:
            try:
                await client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                if error.code == 421:
                    raise
                refused += 1
        if refused == len(recipients):
            await client.rset()
        return len(recipients) - refused, refused

    async def _content(self, client: aiosmtplib.SMTP, taken: int, refused: int, content: bytes) -> Outcome:
        if not taken:
            return Outcome(refused=refused)
        try:
            await client.data(content)
        except aiosmtplib.SMTPResponseException:
            return Outcome(refused=refused + taken)
        except (aiosmtplib.SMTPException, OSError):
            self._drop()
            return Outcome(refused=refused, unknown=taken)
        return Outcome(accepted=taken, refused=refused)

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
