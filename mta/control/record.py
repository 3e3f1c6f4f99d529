"""Log records of the bundled MTA, in KumoMTA's JSON schema, so that every consumer of its logs understands them.

Additions of ours stand only under `meta`: tenant, campaign and pool of the message, `mtascope_tls_...`,
`mtascope_direction` where mail came in for ourselves, and `mtascope_seq`, the number that the spool gives to each
record. Pure: facts in, a record out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from mta.events.instants import SECOND, format_instant
from mta.events.reply import EnhancedStatus, SmtpReply
from mta.queue.entries import LogRecord
from mta.queue.message import Message

__all__ = ["INTERNAL", "Hop", "Outcome", "Recorder", "Tls", "internal_reply"]

INTERNAL = "KumoMTA internal: "
"""What the schema puts before a reply's text when no peer said it."""

_MAX_TEXT = 2048

Outcome = Literal["Delivery", "TransientFailure", "Bounce"]
"""What KumoMTA calls the result of an attempt."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a connection negotiated.

    `verified` tells whether the peer's certificate holds, where somebody looked; `policy` who asked for TLS, if
    anybody.
    """

    version: str
    cipher: str
    verified: bool | None = None
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """The other end of a connection: a client's EHLO name or an MX host's name, and its IP. `source` is our ip:port."""

    name: str
    address: str
    tls: Tls | None = None
    source: str | None = None
    session_id: str | None = None
    proxy: str | None = None
    """The proxy through which it leads, as host:port."""


def internal_reply(code: int, text: str, enhanced: str = "") -> SmtpReply:
    """A failure that no peer reported, in the form of a reply: 4yz tries again, 5yz gives up."""
    return SmtpReply(code, EnhancedStatus.parse(enhanced), INTERNAL + text)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Makes the records of one node."""

    node_id: str
    egress_source: str = "default"
    egress_pool: str = "default"

    def reception(self, message: Message, hop: Hop) -> LogRecord:
        """The message was accepted into the spool."""
        return self._of_message("Reception", message, message.envelope.received_at, SmtpReply(250)) | _hop(hop)

    def attempt(
        self,
        kind: Outcome,
        message: Message,
        when: int,
        reply: SmtpReply,
        *,
        site: str | None,
        hop: Hop | None,
        source: str | None = None,
        pool: str | None = None,
    ) -> LogRecord:
        """One attempt's result. `site` names the destination; None, like `hop`, if the attempt never got that far.

        `source` and `pool` are where it left from, if that is not the usual one.
        """
        record = self._of_message(kind, message, when, reply)
        record["egress_source"] = source = source or self.egress_source
        record["egress_pool"] = pool or self.egress_pool
        if site is not None:
            record["site"] = f"{source}->{site}@smtp_client"
        if hop is not None:
            record |= {"delivery_protocol": "ESMTP", **_hop(hop)}
            record["meta"] |= _tls_facts(hop.tls)
        return record

    def expiration(self, message: Message, when: int, *, attempts: int, last_answer: str = "") -> LogRecord:
        """The message waited longer than its queue allows."""
        text = f"Gave up after {attempts} attempts" + (f"; last answer: {last_answer}" if last_answer else "")
        reply = SmtpReply(551, EnhancedStatus(5, 4, 7), text)
        return self._of_message("Expiration", message, when, reply) | {"num_attempts": attempts}

    def admin_bounce(self, message: Message, when: int, reason: str) -> LogRecord:
        """An operator gave the message up."""
        reply = SmtpReply(551, EnhancedStatus(5, 7, 1), f"Administrator bounced with reason: {reason}")
        return self._of_message("AdminBounce", message, when, reply) | {"site": "localhost"}

    def suppression(self, message: Message, when: int, reason: str) -> LogRecord:
        """The recipient is on the suppression list: the message was accepted, and no attempt was made."""
        reply = SmtpReply(551, EnhancedStatus(5, 7, 1), f"Recipient is on the suppression list: {reason}")
        record = self._of_message("AdminBounce", message, when, reply)
        return record | {"site": "localhost", "meta": {**record["meta"], "mtascope_suppressed": reason}}

    def rebind(self, message: Message, when: int, queue: str, reason: str) -> LogRecord:
        """An operator put the message into another queue."""
        reply = SmtpReply(250, None, f"Rebound from {message.queue} to {queue}: {reason}")
        return self._of_message("AdminRebind", message, when, reply) | {"queue": queue}

    def rejection(self, when: int, reply: SmtpReply, *, sender: str, recipient: str, hop: Hop) -> LogRecord:
        """The listener refused a command."""
        return _record("Rejection", self.node_id, when, reply, sender=sender, recipient=recipient) | {
            "reception_protocol": "ESMTP",
            **_hop(hop),
        }

    def feedback(self, found: Mapping[str, Any], queue_id: str, when: int, hop: Hop) -> LogRecord:
        """A record that the feedback reader made of a report, with the fields that it leaves to the listener."""
        base = _record(str(found["type"]), self.node_id, when, SmtpReply(250), sender="", recipient="")
        base |= {"id": queue_id, "reception_protocol": "ESMTP", **_hop(hop)}
        base |= {key: value for key, value in found.items() if key != "meta"}
        return base | {"meta": {**found.get("meta", {}), "mtascope_direction": "inbound"}}

    def _of_message(self, kind: str, message: Message, when: int, reply: SmtpReply) -> LogRecord:
        envelope = message.envelope
        created = envelope.received_at
        record = _record(kind, self.node_id, when, reply, sender=envelope.sender, recipient=message.recipient)
        record["id"] = message.id
        record["queue"] = message.queue
        record["size"] = envelope.size
        record["created"], record["created_time"] = created // SECOND, _stamp(created)
        record["num_attempts"] = message.attempts
        record["meta"] = dict(envelope.meta)
        record["headers"] = {"Message-ID": envelope.message_id} if envelope.message_id else {}
        record["reception_protocol"] = envelope.protocol
        return record


def _record(kind: str, node_id: str, when: int, reply: SmtpReply, *, sender: str, recipient: str) -> LogRecord:
    """Every key that the schema always has."""
    stamp, text = when // SECOND, _stamp(when)
    return {
        "type": kind,
        "id": "",
        "sender": _clean(sender),
        "recipient": _clean(recipient),
        "queue": "",
        "site": "",
        "size": 0,
        "response": _response(reply),
        "peer_address": None,
        "timestamp": stamp,
        "event_time": text,
        "created": stamp,
        "created_time": text,
        "num_attempts": 0,
        "bounce_classification": "Uncategorized",
        "egress_pool": None,
        "egress_source": None,
        "source_address": None,
        "feedback_report": None,
        "meta": {},
        "headers": {},
        "delivery_protocol": None,
        "reception_protocol": None,
        "nodeid": node_id,
    }


def _stamp(instant: int) -> str:
    """The same as `format_instant`: a second's text is made once, because a busy second has thousands of records."""
    return f"{_second(instant // SECOND)}.{instant % SECOND:06d}Z"


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return format_instant(second * SECOND).partition(".")[0]


def _response(reply: SmtpReply) -> dict[str, Any]:
    """`command` is the whole line with its CRLF: that is how KumoMTA writes it."""
    status = reply.enhanced
    return {
        "code": reply.code or 400,
        "enhanced_code": {"class": status.klass, "subject": status.subject, "detail": status.detail}
        if status
        else None,
        "content": _clean(reply.text),
        "command": f"{_clean(reply.command)}\r\n" if reply.command else None,
    }


def _hop(hop: Hop) -> dict[str, Any]:
    fields: dict[str, Any] = {"peer_address": {"name": _clean(hop.name), "addr": hop.address}}
    if hop.source:
        fields["source_address"] = {"address": hop.source}
        if hop.proxy:
            fields["source_address"] |= {"server": hop.proxy, "protocol": "haproxy"}
    if hop.tls:
        fields |= {"tls_cipher": hop.tls.cipher, "tls_protocol_version": hop.tls.version}
    if hop.session_id:
        fields["session_id"] = hop.session_id
    return fields


def _tls_facts(tls: Tls | None) -> dict[str, Any]:
    """What the schema has no place for."""
    if tls is None or tls.verified is None:
        return {}
    asked = {"mtascope_tls_policy": tls.policy} if tls.policy else {}
    return {"mtascope_tls_verified": tls.verified, **asked}


def _clean(text: str) -> str:
    """One line of bounded length that JSON can hold: what peers send may contain anything."""
    line = " ".join(text.split()) if "\n" in text or "\r" in text else text
    return line[:_MAX_TEXT].encode("utf8", "surrogateescape").decode("utf8", "replace")
