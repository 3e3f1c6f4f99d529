"""Mail addresses and domains: reading them leniently, comparing them strictly, hiding them in text.

Reading never raises: an address that cannot be taken apart still has a text, which is what a log reader needs.
"""

from __future__ import annotations

import re
from functools import lru_cache

import idna

__all__ = ["canonical_address", "canonical_domain", "mask_addresses", "split_address"]

_SOURCE_ROUTE = re.compile(r"@[^:@\s]+(?:,@[^:@\s]+)*:")
# Bounded on both sides, so that no text can make it backtrack: 64 and 255 octets are RFC 5321's limits (4.5.3.1).
_ADDRESS_IN_TEXT = re.compile(r"""(?:"[^"\n]{1,64}"|[^\s<>()\[\]{}"'`,;:@|/=]{1,64})@(?=[\w\[])""")
_VERP_IN_TEXT = re.compile(r"""[^\s<>()\[\]{}"'`,;:@|/]{1,64}=[\w.-]{1,255}(?=@)""")


def split_address(text: str) -> tuple[str, str]:
    """Local part and domain of `user@example.com`, `<user@example.com>` or `<@relay:user@example.com>`.

    The last `@` divides (a quoted local part may hold one). Without a domain the second part is "".
    """
    bare = text.strip()
    if bare.startswith("<") and bare.endswith(">"):
        bare = bare[1:-1]
    if bare.startswith("@") and (route := _SOURCE_ROUTE.match(bare)):
        bare = bare[route.end() :]
    local, at, domain = bare.rpartition("@")
    return (local, domain) if at else (domain, "")


@lru_cache(maxsize=65_536)
def canonical_domain(domain: str) -> str:
    """The domain in lower-case ASCII: U-labels become A-labels (RFC 5891, with the mapping of UTS 46), no final dot.

    Address literals (`[192.0.2.1]`) and what IDNA refuses come back in lower case, unchanged otherwise: logs hold names
    that were never valid, and they must still compare equal to themselves.
    """
    lowered = domain.strip().rstrip(".").lower()
    if lowered.isascii():
        return lowered
    try:
        return idna.encode(lowered, uts46=True, transitional=False).decode("ascii")
    except idna.IDNAError:
        return lowered


def canonical_address(text: str) -> str:
    """The form in which two spellings of one mailbox are equal: canonical domain, local part in lower case.

    RFC 5321 lets a host tell the case of local parts apart; no provider of any size does, and joins must hold.
    """
    local, domain = split_address(text)
    return f"{local.lower()}@{canonical_domain(domain)}" if domain else local.lower()


def mask_addresses(text: str) -> str:
    """The text with every local part replaced by `*`; domains stay, because they are evidence (promise 9).

    A VERP sender (`bounce-user=example.com@...`) hides its recipient too.
    """
    if "@" not in text:
        return text
    return _ADDRESS_IN_TEXT.sub("*@", _VERP_IN_TEXT.sub("*", text))
