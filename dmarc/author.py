"""The domains in a From field: whom a mail claims to be from (RFC 5322 section 3.4), in linear time.

The standard library's reader recurses into comments, so that a mail of brackets ends it; this one counts them. Display
names and comments are for people and never speak for a domain: `"boss@bank.example" <x@evil.example>` is evil's.
"""

from __future__ import annotations

from dmarc import values

__all__ = ["address_domain", "address_domains"]

_LIMIT = 2_000
"""Characters of a field that are looked at; two lines of RFC 5322's longest."""


def address_domain(value: str | None) -> str | None:
    """Domain of the first address; None where there is none."""
    return next(iter(address_domains(value)), None)


def address_domains(value: str | None) -> tuple[str, ...]:
    """Domain of every address, in order, each once."""
    if not value or "@" not in value:
        return ()
    found = (values.domain(_address(mailbox)) for mailbox in _bare(value[:_LIMIT]).split(",") if "@" in mailbox)
    return tuple(dict.fromkeys(domain for domain in found if domain is not None))


def _address(mailbox: str) -> str:
    """What stands in angle brackets, without a route (`<@a,@b:user@c>`), or all of it."""
    _, opened, rest = mailbox.rpartition("<")
    return (rest.partition(">")[0] if opened else mailbox).rpartition(":")[2].strip("; \t\r\n")


def _bare(value: str) -> str:
    """Without comments and quoted strings."""
    kept: list[str] = []
    depth, quoted, skip = 0, False, False
    for character in value:
        if skip:
            skip = False
        elif character == "\\":
            skip = True
        elif quoted:
            quoted = character != '"'
        elif character == '"' and not depth:
            quoted = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(character)
    return "".join(kept)
