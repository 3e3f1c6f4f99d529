"""Identifier alignment (RFC 9989 section 4.4): whether an authenticated domain speaks for the author's."""

from __future__ import annotations

__all__ = ["is_aligned", "is_under"]


def is_under(domain: str | None, parent: str) -> bool:
    """`domain` is `parent` or a subdomain of it; both canonical."""
    return domain is not None and (domain == parent or domain.endswith(f".{parent}"))


def is_aligned(authenticated: str | None, header_from: str, policy_domain: str, *, strict: bool = False) -> bool:
    """Whether SPF or DKIM for `authenticated` counts for `header_from`.

    Relaxed alignment compares organisational domains. The domain at which the receiver found the policy stands for the
    organisational domain of `header_from`: so the receiver's own tree walk is used, and no list of public suffixes.
    """
    if authenticated is None:
        return False
    if strict:
        return authenticated == header_from
    return is_under(authenticated, policy_domain) and is_under(header_from, policy_domain)
