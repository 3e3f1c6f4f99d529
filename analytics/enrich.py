"""From a keyed event to the row that is stored: provider, bounce class and reply template are assigned here, once.

Readers of logs know nothing of classes; the owner of the store decides them, so that every road agrees. What needs
Python (the provider map, the classifier, templates) is asked once for each distinct question of a batch; columns do the
rest. `keyed` (analytics/staging.py) becomes `fresh`, which has the columns of the table `event` and a few more that
only the loader needs: `record`, `original_message_id`, `original_unit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol

import duckdb

from analytics.staging import ATTEMPTS
from mta.events.address import mask_addresses
from mta.events.event import EventType
from mta.events.provider import Provider, ProviderMap
from mta.events.pseudonym import Keyring
from mta.events.reply import EnhancedStatus, SmtpReply
from mta.events.taxonomy import Taxonomy
from mta.events.template import Template, templatize

__all__ = ["EVIDENCE", "VERBATIM", "Enricher", "ReplyJudge", "Verdict"]

EVIDENCE = {"none": 0, "mx-domain": 1, "learned": 2, "mx": 3, "domain": 4}
"""How sure a provider is; the surest evidence that a unit has seen names its provider."""

VERBATIM = Template("{text}")
"""The template of whatever is no failure: its one parameter is the reply, addresses masked. Nobody groups by those."""

_LONGEST_REPLY = 2048
_LONGEST = 512
"""Characters kept of any free text of a record: enough for names and ids, a bound for what is hostile."""

_FAILURES = ", ".join(f"'{one}'" for one in EventType if one.is_failure)
_MX_HOST = f"CASE WHEN type IN ({ATTEMPTS}) THEN coalesce(peer_host, '') ELSE '' END"


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
        phase: str | None = None,
    ) -> Verdict: ...


@dataclass(slots=True)
class Enricher:
    """Knows providers, classes and templates. Holds the map of domains to providers learned from the MX really used."""

    keyring: Keyring
    providers: ProviderMap
    taxonomy: Taxonomy
    judge: ReplyJudge
    own_networks: Sequence[IPv4Network | IPv6Network] = ()
    """Where the fleet's own hops are: content filters, relays, other nodes."""
    learned: dict[str, Provider] = field(default_factory=dict)

    def enrich(self, con: duckdb.DuckDBPyConnection) -> dict[int, str]:
        """Make `fresh` of `keyed`; ids and texts of the templates met."""
        self._decide_providers(con)
        templates = self._judge_replies(con)
        con.execute(_FRESH, {"verbatim": VERBATIM.id})
        return templates

    def _decide_providers(self, con: duckdb.DuckDBPyConnection) -> None:
        """Make `decided`: the provider of each domain and MX host that occur together."""
        asked = con.execute(f"SELECT DISTINCT domain, {_MX_HOST} FROM keyed").fetchall()
        found = [(domain, mx_host, *self._provider(domain, mx_host)) for domain, mx_host in asked]
        con.execute(
            "CREATE OR REPLACE TEMP TABLE decided (domain VARCHAR, mx_host VARCHAR, provider VARCHAR, "
            "provider_group VARCHAR, gateway VARCHAR, evidence UTINYINT)"
        )
        appender = con.appender("decided")
        appender.append_rows(found)
        appender.flush()

    def _provider(self, domain: str, mx_host: str) -> tuple[Any, ...]:
        found = self.providers.lookup(domain, mx_host or None)
        evidence, known = EVIDENCE[found.evidence], self.learned.get(domain)
        # A host that nobody knows says less than a provider that is known; without any host the last one seen counts.
        if known is not None and evidence < EVIDENCE["mx"] and (known.evidence == "mx" or found.evidence == "none"):
            found, evidence = known, EVIDENCE["learned"]
        return (found.name, found.group, found.gateway, evidence)

    def _judge_replies(self, con: duckdb.DuckDBPyConnection) -> dict[int, str]:
        """Make `judged`: class and template of each failure. Other replies that name somebody are masked there, too."""
        rows = con.execute(
            f"SELECT k.rowid, type, text, code, enhanced, phase, peer_host, bounce_class, provider, about "
            f"FROM keyed k JOIN decided d ON d.domain = k.domain AND d.mx_host = {_MX_HOST} "
            f"WHERE type IN ({_FAILURES}) OR contains(text, '@')"
        ).fetchall()
        templates = {VERBATIM.id: VERBATIM.text}
        con.execute(
            "CREATE OR REPLACE TEMP TABLE judged (row BIGINT, template_id UBIGINT, parameters VARCHAR[], "
            "bounce_class VARCHAR, bounce_group VARCHAR, severity VARCHAR, rule VARCHAR)"
        )
        appender = con.appender("judged")
        appender.append_rows(self._judged(row, templates) for row in rows)
        appender.flush()
        return templates

    def _judged(self, row: tuple[Any, ...], templates: dict[int, str]) -> tuple[Any, ...]:
        number, type_name, text, code, enhanced, phase, peer, given, provider, about = row
        event_type = EventType(type_name)
        if not event_type.is_failure:
            return (number, VERBATIM.id, [mask_addresses(text[:_LONGEST_REPLY])], None, None, None, None)
        reply = SmtpReply(code, EnhancedStatus.parse(enhanced) if enhanced else None, text or "")
        verdict = self._verdict(reply, event_type, given, provider=provider, peer=peer, phase=phase)
        if not text:
            return (number, None, None, *verdict)
        template = templatize(text[:_LONGEST_REPLY], recipient=about or None)
        templates[template.id] = template.text
        return (number, template.id, list(template.parameters) or None, *verdict)

    def _verdict(
        self,
        reply: SmtpReply,
        event_type: EventType,
        given: str | None,
        *,
        provider: str,
        peer: str | None,
        phase: str | None,
    ) -> tuple[str, str, str, str]:
        if given is not None:
            known = self.taxonomy.get(given) or self.taxonomy["unknown"]
            return (known.name, known.group, known.severity, "as-recorded")
        found = self.judge.classify(reply, provider=provider, peer=peer, type=event_type, phase=phase)
        return (found.bounce_class, found.group, found.severity, found.rule)


def _cut(*columns: str) -> str:
    return ", ".join(f"left({column}, {_LONGEST}) AS {column}" for column in columns)


_FRESH = f"""
    CREATE OR REPLACE TEMP TABLE fresh AS
    SELECT record, event_id, unit_id, message_key, recipient_hash, make_timestamp(time) AS time,
           type::event_type AS type, origin::event_origin AS origin, direction::mail_direction AS direction,
           CASE WHEN attempt > 65535 THEN 65535 ELSE attempt END::USMALLINT AS attempt, ordinal::UINTEGER AS ordinal,
           make_timestamp(created) AS created, node, mta, queue_id, k.domain, provider, provider_group, gateway,
           evidence, sender_domain, {_cut("message_id")},
           CASE WHEN size > 4294967295 THEN 4294967295 ELSE size END::UINTEGER AS size, code, enhanced, phase,
           coalesce(j.template_id, CASE WHEN text <> '' THEN $verbatim::UBIGINT END) AS template_id,
           CASE WHEN j.row IS NOT NULL THEN j.parameters WHEN text <> '' THEN [left(text, {_LONGEST_REPLY})] END
               AS parameters,
           j.bounce_class, j.bounce_group, j.severity, j.rule,
           {_cut("peer_host", "peer_ip", "source", "source_ip", "pool", "tenant", "campaign", "dkim_domain")},
           tls_version, feedback_type, successor_id, {_cut("original_message_id")}, original_unit
    FROM keyed k JOIN decided d ON d.domain = k.domain AND d.mx_host = {_MX_HOST}
    LEFT JOIN judged j ON j.row = k.rowid
"""
