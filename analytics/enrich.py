"""From an event to the row that is stored: pseudonyms, provider and bounce class are assigned here, once, at load.

Readers of logs know nothing of keys or classes; the owner of the store decides both, so that every road agrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Protocol

from mta.events.address import canonical_domain, split_address
from mta.events.event import Event, EventType, Origin
from mta.events.provider import Provider, ProviderMap
from mta.events.pseudonym import Keyring, event_id
from mta.events.reply import SmtpReply, next_queue_id
from mta.events.taxonomy import Taxonomy
from mta.events.template import Template, templatize

__all__ = ["EVIDENCE", "STAGED", "Enricher", "ReplyJudge", "Verdict"]

EVIDENCE = {"none": 0, "mx-domain": 1, "learned": 2, "mx": 3, "domain": 4}
"""How sure a provider is; the surest evidence that a unit has seen names its provider."""

STAGED: Mapping[str, str] = {
    "record": "UINTEGER",
    "event_id": "VARCHAR",
    "unit_id": "UBIGINT",
    "message_key": "UBIGINT",
    "recipient_hash": "UBIGINT",
    "time": "BIGINT",
    "type": "VARCHAR",
    "origin": "VARCHAR",
    "direction": "VARCHAR",
    "attempt": "INTEGER",
    "ordinal": "UINTEGER",
    "created": "BIGINT",
    "node": "VARCHAR",
    "mta": "VARCHAR",
    "queue_id": "VARCHAR",
    "domain": "VARCHAR",
    "provider": "VARCHAR",
    "provider_group": "VARCHAR",
    "gateway": "VARCHAR",
    "evidence": "UTINYINT",
    "sender_domain": "VARCHAR",
    "message_id": "VARCHAR",
    "size": "UBIGINT",
    "code": "INTEGER",
    "enhanced": "VARCHAR",
    "phase": "VARCHAR",
    "template_id": "UBIGINT",
    "parameters": "VARCHAR[]",
    "bounce_class": "VARCHAR",
    "bounce_group": "VARCHAR",
    "severity": "VARCHAR",
    "rule": "VARCHAR",
    "peer_host": "VARCHAR",
    "peer_ip": "VARCHAR",
    "source": "VARCHAR",
    "source_ip": "VARCHAR",
    "pool": "VARCHAR",
    "tenant": "VARCHAR",
    "campaign": "VARCHAR",
    "dkim_domain": "VARCHAR",
    "tls_version": "VARCHAR",
    "feedback_type": "VARCHAR",
    "successor_id": "VARCHAR",
    "original_message_id": "VARCHAR",
    "original_unit": "UBIGINT",
}
"""Columns of a staged row, in the order in which `Enricher.row` gives them. Instants are microseconds."""

_LONGEST_REPLY = 2048
_CACHED = 50_000
_LONGEST = 512
"""Characters kept of any free text of a record: enough for names and ids, a bound for what is hostile."""


class Verdict(Protocol):
    """What a reply classifier answers."""

    @property
    def bounce_class(self) -> str: ...  # noqa: D102
    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def severity(self) -> str: ...  # noqa: D102
    @property
    def rule(self) -> str: ...  # noqa: D102


class ReplyJudge(Protocol):
    """Turns a reply into a bounce class; never raises."""

    def classify(  # noqa: D102
        self,
        reply: SmtpReply,
        *,
        provider: str | None = None,
        peer: str | None = None,
        type: EventType | None = None,  # noqa: A002
    ) -> Verdict: ...


@dataclass(slots=True)
class Enricher:
    """Builds staged rows. Holds the map of domains to providers that was learned from the MX actually used."""

    keyring: Keyring
    providers: ProviderMap
    taxonomy: Taxonomy
    judge: ReplyJudge
    learned: dict[str, Provider] = field(default_factory=dict)
    own_networks: Sequence[IPv4Network | IPv6Network] = ()
    """Where the fleet's own hops are: content filters, relays, other nodes."""
    _known: dict[str, Template] = field(default_factory=dict)
    _met: dict[int, str] = field(default_factory=dict)

    def row(self, record: int, event: Event) -> tuple[Any, ...]:
        """One row in the order of `STAGED`."""
        if event.peer_ip is not None and event.type.is_attempt and self._is_own(event.peer_ip):
            event = _to_own_hop(event)
        recipient = event.recipient
        unit = self.keyring.unit_id(event.node, event.queue_id, recipient)
        about = event.original_recipient or recipient
        domain = canonical_domain(split_address(about)[1])[:255]
        provider, evidence = self._provider(domain, event.peer_host if event.type.is_attempt else None)
        verdict = self._verdict(event, provider)
        reply = event.reply
        template = self._template(reply.text, about if event.type.is_failure else None) if reply else None
        return (
            record,
            event_id(unit, event).hex(),
            unit,
            self.keyring.message_key(event.node, event.queue_id),
            self.keyring.recipient_hash(about) if about else None,
            event.time,
            event.type.value,
            event.origin.value,
            event.direction.value,
            event.attempt,
            event.ordinal,
            event.created,
            event.node,
            event.mta,
            event.queue_id,
            domain,
            provider.name,
            provider.group,
            provider.gateway,
            evidence,
            canonical_domain(split_address(event.sender)[1])[:255] if event.sender else event.sender,
            _cut(event.message_id),
            event.size,
            reply.code if reply is not None else None,
            str(reply.enhanced) if reply is not None and reply.enhanced is not None else None,
            reply.phase if reply is not None else None,
            template.id if template is not None else None,
            list(template.parameters) if template is not None and template.parameters else None,
            *verdict,
            _cut(event.peer_host),
            _cut(event.peer_ip),
            _cut(event.source),
            _cut(event.source_ip),
            _cut(event.pool),
            _cut(event.tenant),
            _cut(event.campaign),
            _cut(event.dkim_domain),
            event.tls_version,
            event.feedback_type,
            event.successor_id,
            _cut(event.original_message_id),
            event.original_unit,
        )

    def _is_own(self, address: str) -> bool:
        return bool(self.own_networks) and any(ip_address(address) in network for network in self.own_networks)

    def take_templates(self) -> dict[int, str]:
        """Ids and texts of the templates met since the last call."""
        met, self._met = self._met, {}
        return met

    def _provider(self, domain: str, mx_host: str | None) -> tuple[Provider, int]:
        found = self.providers.lookup(domain, mx_host)
        evidence = EVIDENCE[found.evidence]
        if evidence >= EVIDENCE["mx"]:
            return found, evidence
        known = self.learned.get(domain)
        return (known, EVIDENCE["learned"]) if known is not None else (found, evidence)

    def _verdict(self, event: Event, provider: Provider) -> tuple[str | None, ...]:
        if not event.type.is_failure:
            return (None, None, None, None)
        if event.bounce_class is not None:
            given = self.taxonomy.get(event.bounce_class) or self.taxonomy["unknown"]
            return (given.name, given.group, given.severity, "as-recorded")
        verdict = self.judge.classify(
            event.reply if event.reply is not None else SmtpReply(None),
            provider=provider.name,
            peer=event.peer_host,
            type=event.type,
        )
        return (verdict.bounce_class, verdict.group, verdict.severity, verdict.rule)

    def _template(self, text: str, recipient: str | None) -> Template | None:
        """Only a failure names its recipient, so that what providers say on success can be looked up by its text."""
        if not text:
            return None
        template = self._known.get(text) if recipient is None else None
        if template is None:
            template = templatize(text[:_LONGEST_REPLY], recipient=recipient)
            if recipient is None:
                self._known[text] = template
                if len(self._known) > _CACHED:
                    self._known.clear()
        self._met[template.id] = template.text
        return template


def _to_own_hop(event: Event) -> Event:
    """An attempt at a host of ours: success hands the mail on, failure is our own doing and no provider's word."""
    if event.type is not EventType.DELIVERY:
        return replace(event, origin=Origin.LOCAL, peer_host=None)
    named = next_queue_id(event.reply.text) if event.reply is not None else None
    return replace(event, type=EventType.TRANSFER_OUT, successor_id=event.successor_id or named)


def _cut(text: str | None) -> str | None:
    return text[:_LONGEST] if text is not None else None
