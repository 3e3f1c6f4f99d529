"""What can go wrong on the way out, under `MtascopeError`."""

from __future__ import annotations

from mta.control.record import Hop
from mta.events.errors import MtascopeError
from mta.events.reply import SmtpReply

__all__ = ["PolicyError", "Unreachable"]


class PolicyError(MtascopeError):
    """An MTA-STS policy cannot be had or cannot be read; mail goes on by what is known without it."""

    temporary = True


class Unreachable(MtascopeError):
    """No SMTP session with a host. `reply` is the peer's refusal, or ours where it said nothing; `hop` who refused.

    `answered` tells whether there was anybody: false where not even a connection came about.
    """

    temporary = True

    def __init__(self, reply: SmtpReply, hop: Hop | None = None, *, answered: bool = True) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.hop = hop
        self.answered = answered
