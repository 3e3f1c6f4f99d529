"""What a mail to a domain of ours is worth: its text says what happened, its address says whose send it was.

A mail to a signed return path is believed because of the signature: its records name the unit (`meta.mtascope_unit`),
whatever recipient its text tells. A mail to a return path that is forged or too old makes no record at all, only a
count; otherwise anybody could write bounces for our recipients. Mail to the other feedback domains is read as it
is; a complaint often quotes the return path of the reported mail, and is then known as surely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mta.events.address import canonical_domain, split_address
from mta.events.mail.bounce_phrases import BouncePhrases
from mta.events.return_path import ReturnPaths, Standing, Token
from mta.feedback.mail import FeedbackMail
from mta.feedback.records import Reading, read

__all__ = ["FeedbackReader"]


@dataclass(frozen=True, slots=True)
class FeedbackReader:
    """Reads mails that came back. `domains` are those whose addresses are signed by `return_paths`."""

    phrases: BouncePhrases | None = None
    return_paths: ReturnPaths | None = None
    domains: frozenset[str] = frozenset()

    def __call__(self, mail: FeedbackMail) -> Reading:
        """The records of this mail, or the reason why there are none. Never raises."""
        token = self._addressed(mail)
        if token is None:
            reading = read(mail, self.phrases)
        elif token.standing is Standing.VALID:
            reading = read(mail, self.phrases, addressed=True)
        else:
            return Reading(reason=token.standing.value)
        return replace(reading, records=tuple(self._named(record, token, mail) for record in reading.records))

    def _addressed(self, mail: FeedbackMail) -> Token | None:
        """The best of the return paths that the mail was sent to; None where it was sent to none."""
        tokens = [token for to in mail.recipients if (token := self._token(to, mail.received_at)) is not None]
        return min(tokens, key=lambda token: list(Standing).index(token.standing), default=None)

    def _token(self, address: str, now: int) -> Token | None:
        if self.return_paths is None or canonical_domain(split_address(address)[1]) not in self.domains:
            return None
        return self.return_paths.read(address, now)

    def _named(self, record: dict[str, Any], token: Token | None, mail: FeedbackMail) -> dict[str, Any]:
        """The record with the unit that it is about, where a signature tells."""
        if token is None:
            quoted = (record.get("feedback_report") or {}).get("original_mail_from") or ""
            token = self._token(quoted, mail.received_at)
        if token is None or token.unit is None:
            return record
        meta: Mapping[str, Any] = record.get("meta") or {}
        return {**record, "meta": {**meta, "mtascope_unit": f"{token.unit:016x}"}}
