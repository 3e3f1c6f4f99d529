"""Under which return path a message goes out: the sender's own, or a signed one that tells its recipient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mta.events.address import canonical_domain, split_address
from mta.events.pseudonym import Keyring
from mta.events.return_path import ReturnPaths, is_tagged
from mta.queue.message import Message
from mta.settings import ReturnPath

__all__ = ["ReturnAddress", "SignedReturns", "own_sender"]

ReturnAddress = Callable[[Message, int], str]
"""The envelope sender of a message that is sent at an instant."""


def own_sender(message: Message, _now: int) -> str:
    """The sender that the message came with."""
    return message.envelope.sender


@dataclass(frozen=True, slots=True)
class SignedReturns:
    """Signs by the first rule that names the message's tenant and sender domain; what no rule names stays as it is.

    Untouched in any case: the null reverse-path, and senders that carry somebody's tag already (BATV, SRS, VERP).
    """

    rules: tuple[ReturnPath, ...]
    keyring: Keyring
    paths: ReturnPaths
    node: str

    def __call__(self, message: Message, now: int) -> str:
        """The same for the same day."""
        sender = message.envelope.sender
        domain = self._domain(sender, message.envelope.meta.get("tenant", "")) if sender else None
        if domain is None or is_tagged(sender):
            return sender
        return self.paths.make(self.keyring.unit_id(self.node, message.id, message.recipient), domain, now)

    def _domain(self, sender: str, tenant: str) -> str | None:
        domain = canonical_domain(split_address(sender)[1])
        rules = (
            rule
            for rule in self.rules
            if (not rule.tenants or tenant in rule.tenants) and (not rule.senders or domain in rule.senders)
        )
        return next((rule.domain for rule in rules), None)
