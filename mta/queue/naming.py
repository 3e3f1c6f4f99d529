"""Names of queues, in KumoMTA's grammar: `campaign:tenant@domain`, `tenant@domain`, `campaign:@domain`, `domain`."""

from __future__ import annotations

import re

__all__ = ["is_label", "queue_name"]

_LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_label(text: str) -> bool:
    """Whether `text` may be a tenant or campaign: the grammar's own marks (`:`, `@`, `!`) may not occur in one."""
    return _LABEL.fullmatch(text) is not None


def queue_name(domain: str, tenant: str | None = None, campaign: str | None = None) -> str:
    """The scheduled queue of a message."""
    if campaign:
        return f"{campaign}:{tenant or ''}@{domain}"
    return f"{tenant}@{domain}" if tenant else domain
