"""Names of queues, in KumoMTA's grammar: `campaign:tenant@domain!routing_domain`, of which only the domain must be.

`campaign:@domain` is a campaign without a tenant. The routing domain, if there is one, is where the mail is sent
instead of to the recipient's domain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["QueueName", "is_label", "queue_name"]

_LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_label(text: str) -> bool:
    """Whether `text` may be a tenant or campaign: the grammar's own marks (`:`, `@`, `!`) may not occur in one."""
    return _LABEL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class QueueName:
    """The parts of a queue's name; `str` puts them together."""

    domain: str
    tenant: str | None = None
    campaign: str | None = None
    routing_domain: str | None = None

    @classmethod
    def parse(cls, text: str) -> QueueName:
        """The parts of a name that `str` made."""
        return _parsed(text)

    def __str__(self) -> str:
        place = f"{self.domain}!{self.routing_domain}" if self.routing_domain else self.domain
        if self.campaign:
            return f"{self.campaign}:{self.tenant or ''}@{place}"
        return f"{self.tenant}@{place}" if self.tenant else place

    @property
    def route(self) -> str:
        """The domain by which its mail is routed."""
        return self.routing_domain or self.domain


@lru_cache(maxsize=65_536)
def _parsed(text: str) -> QueueName:
    labels, _, place = text.rpartition("@")
    campaign, _, tenant = labels.rpartition(":")
    domain, _, routing = place.partition("!")
    return QueueName(domain, tenant or None, campaign or None, routing or None)


def queue_name(domain: str, tenant: str | None = None, campaign: str | None = None) -> str:
    """The scheduled queue of a message."""
    return str(QueueName(domain, tenant, campaign))
