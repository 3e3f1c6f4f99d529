"""Is the mail that carried a report from whom it says? RFC 9990 section 5 wants it to pass DMARC.

Anyone can write a report about anyone, and a false one steers the reader's policy. So a mail that comes to our own
mail server is judged by SPF, DKIM and DMARC; one that lay in another mailbox by DKIM alone, while its keys are likely
to be published still: its connection is gone, and nobody's word about it can be trusted without being told to.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from dmarc.authentication.dkim import verify_signatures
from dmarc.authentication.policy import find_policy, organisational_domain
from dmarc.authentication.spf import SpfQuestion, check_host
from dmarc.author import address_domains
from dmarc.carrier import MailAuth
from dmarc.dns import Resolver
from dmarc.errors import LookupFailed
from dmarc.reports import Result
from mta.events.errors import LimitExceeded
from mta.events.instants import DAY, SECOND
from mta.events.mail.message import Fields, read_head
from mta.events.mail.report import instant

__all__ = ["CarrierCheck", "Envelope", "judge_mail", "own_trace"]

_KEYS_LIVE = 7 * DAY
"""Reporters change their keys; an older mail whose signature does not verify tells nothing."""
_RECEIVED = re.compile(r"from\s+(\S+)\s+\(\[([0-9A-Fa-f:.]+)\]\)")
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Envelope:
    """How a mail came to our own mail server."""

    address: str
    helo: str
    sender: str
    """"" for <>."""


@dataclass(frozen=True, slots=True)
class CarrierCheck:
    """Judges mails of one mailbox. With `own` they come from our mail server, whose trace fields stand on top."""

    resolver: Resolver
    own: bool = False

    def judge(self, mails: Sequence[bytes], now: int) -> list[MailAuth]:
        """A verdict for each; waits for DNS."""
        return asyncio.run(self._judge_all(mails, now))

    async def _judge_all(self, mails: Sequence[bytes], now: int) -> list[MailAuth]:
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(mail: bytes) -> MailAuth:
            async with free:
                return await judge_mail(mail, own_trace(mail) if self.own else None, self.resolver, now)

        return list(await asyncio.gather(*map(one, mails)))


def own_trace(mail: bytes) -> Envelope | None:
    """What our mail server wrote above a mail: Return-Path, then Received."""
    try:
        fields = read_head(mail)
    except LimitExceeded:
        return None
    if [name.lower() for name, _ in fields.pairs[:2]] != ["return-path", "received"]:
        return None
    found = _RECEIVED.match(fields.pairs[1][1])
    return Envelope(found[2], found[1], fields.pairs[0][1].strip("<> ")) if found else None


async def judge_mail(mail: bytes, envelope: Envelope | None, resolver: Resolver, now: int) -> MailAuth:
    """DMARC's verdict on a mail. Without an envelope there is no SPF, and old mails are `unknown` rather than wrong."""
    try:
        fields = read_head(mail)
    except LimitExceeded:
        return MailAuth.FAIL
    authors = [domain for value in fields.all("From") for domain in address_domains(value)]
    if len(authors) != 1:
        return MailAuth.FAIL
    try:
        return await _verdict(authors[0], mail, fields, envelope, resolver, now)
    except LookupFailed:
        return MailAuth.UNKNOWN


async def _verdict(
    author: str, mail: bytes, fields: Fields, envelope: Envelope | None, resolver: Resolver, now: int
) -> MailAuth:
    policy = await find_policy(author, resolver)
    signatures = await verify_signatures(mail, resolver, now // SECOND)
    failed = any(signature.result is Result.TEMPERROR for signature in signatures)
    for signature in signatures:
        strict = policy is not None and policy.strict("adkim")
        if signature.result is Result.PASS and await _agree(signature.domain, author, resolver, strict=strict):
            return MailAuth.PASS
    if envelope is not None:
        result, domain = await _sender_result(envelope, resolver)
        strict = policy is not None and policy.strict("aspf")
        if result is Result.PASS and await _agree(domain, author, resolver, strict=strict):
            return MailAuth.PASS
        failed = failed or result is Result.TEMPERROR
    elif _is_old(fields, now):
        return MailAuth.UNKNOWN
    if failed:
        return MailAuth.UNKNOWN
    return MailAuth.FAIL if policy is not None else MailAuth.NONE


async def _sender_result(envelope: Envelope, resolver: Resolver) -> tuple[Result, str]:
    sender = envelope.sender or f"postmaster@{envelope.helo}"
    with suppress(ValueError):
        question = SpfQuestion(ip_address(envelope.address), sender, envelope.helo)
        result, _ = await check_host(question, resolver)
        return result, sender.rpartition("@")[2].lower()
    return Result.NONE, ""


async def _agree(authenticated: str, author: str, resolver: Resolver, *, strict: bool) -> bool:
    if authenticated == author or strict:
        return authenticated == author
    return await organisational_domain(authenticated, resolver) == await organisational_domain(author, resolver)


def _is_old(fields: Fields, now: int) -> bool:
    sent = instant((fields.first("Date") or "")[:100])
    return sent is not None and sent < now - _KEYS_LIVE
