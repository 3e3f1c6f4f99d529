"""What a sender wants to hear of its message, in the words in which the next host is told (RFC 3461). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mta.queue.message import Message

__all__ = ["NOTHING_ASKED", "ReportRequest"]


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Options of MAIL and RCPT for a host that offers DSN; each begins with a blank, or is empty."""

    mail: str = ""
    rcpt: str = ""

    @classmethod
    def of(cls, message: Message) -> ReportRequest:
        """What was asked for with the message."""
        envelope = message.envelope
        if not (envelope.ret or envelope.envid or message.notify or message.orcpt):
            return NOTHING_ASKED
        return cls(
            _options(RET=envelope.ret, ENVID=envelope.envid), _options(NOTIFY=message.notify, ORCPT=message.orcpt)
        )


NOTHING_ASKED = ReportRequest()


def _options(**values: str) -> str:
    return "".join(f" {name}={value}" for name, value in values.items() if value)
