"""Who a message is from, said so that receivers can check it: list fields, and over them the DKIM signatures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mta.delivery.dkim import Signers
from mta.delivery.list_headers import HeaderMaker

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Makes what stands before a message that is accepted, under our trace field."""

    signers: Signers
    headers: HeaderMaker | None = None

    def fields(
        self, content: bytes, sender: str, recipients: Sequence[str], meta: Mapping[str, str], now: int
    ) -> bytes:
        """The fields, each with its line end. Those for a list are one recipient's own, so several get none."""
        own = b""
        if self.headers is not None and len(recipients) == 1:
            own = self.headers.fields(sender, recipients[0], meta, content)
        return self.signers.signatures(own + content if own else content, now) + own
