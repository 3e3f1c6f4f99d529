"""Header fields that large providers ask of bulk mail: List-Unsubscribe with one click (RFC 8058), and Feedback-ID.

They are put before a message that names a campaign and has one recipient, because a link that unsubscribes must be
that recipient's own. What the message says itself stays. Signing comes after: the signature must cover these fields.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mta.delivery.settings import ListHeaders
from mta.events.address import canonical_domain, split_address
from mta.events.unsubscribe import UnsubscribeTokens, Unsubscription

__all__ = ["HeaderMaker"]

_HEADER_LIMIT = 256 * 1024
_PRESENT = re.compile(rb"^(list-unsubscribe|feedback-id)[ \t]*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HeaderMaker:
    """Makes the fields by the first rule that names the sender's domain and the tenant."""

    rules: Sequence[ListHeaders]
    tokens: UnsubscribeTokens

    def fields(self, sender: str, recipient: str, meta: Mapping[str, str], content: bytes) -> bytes:
        """What to put before the message, each field with its line end; nothing where no rule holds."""
        campaign = meta.get("campaign", "")
        if not campaign or not self.rules:
            return b""
        tenant, domain = meta.get("tenant", ""), canonical_domain(split_address(sender)[1])
        rule = next((rule for rule in self.rules if _holds(rule, domain, tenant)), None)
        if rule is None:
            return b""
        end = content.find(b"\r\n\r\n", 0, _HEADER_LIMIT)
        header = content[: end if end >= 0 else _HEADER_LIMIT]
        present = {name.lower() for name in _PRESENT.findall(header)}
        lines = []
        if b"list-unsubscribe" not in present:
            lines += self._unsubscribe(rule, Unsubscription(recipient, tenant, campaign))
        if rule.feedback_id and b"feedback-id" not in present:
            lines.append(f"Feedback-ID: {campaign}:{tenant}:{rule.feedback_id}")
        return "".join(f"{line}\r\n" for line in lines).encode("ascii")

    def _unsubscribe(self, rule: ListHeaders, wanted: Unsubscription) -> list[str]:
        token = self.tokens.make(wanted)
        ways = [rule.unsubscribe_url.replace("{token}", token)]
        if rule.unsubscribe_mailto:
            ways.append(f"mailto:{rule.unsubscribe_mailto}?subject={token}")
        joined = ",\r\n\t".join(f"<{way}>" for way in ways)
        return [f"List-Unsubscribe: {joined}", "List-Unsubscribe-Post: List-Unsubscribe=One-Click"]


def _holds(rule: ListHeaders, domain: str, tenant: str) -> bool:
    return (not rule.senders or domain in rule.senders) and (not rule.tenants or tenant in rule.tenants)
