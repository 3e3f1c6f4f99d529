"""Reply templates: what a mail server says, without what differs from message to message.

A million replies become a few hundred templates with counts, so that people can read them and a class is found once
per template. Numbers, addresses, hosts, IP addresses, identifiers and the variable parts of URLs are lifted out into
parameters; what names a cause stays: words, enhanced codes, short codes of a provider (`TSS04`, `S3150`), the zones of
blocklists.

A template's id is a hash of its text alone, so all processes of a fleet agree on it without talking. Addresses never
survive: they leave the template, and as parameters they are masked (promise 9 of ARCHITECTURE.md).

The text is cut into pieces at blanks and brackets and each piece is judged once, by patterns anchored at both ends: the
time is proportional to the length, whatever the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from mta.events.address import mask_addresses
from mta.events.blocklist import zone_of

__all__ = ["MAX_TEXT", "Template", "templatize"]

MAX_TEXT = 4_096
"""Characters of a reply that are looked at; RFC 5321 section 4.5.3.1.5 allows 512 octets a line."""

_PIECE = re.compile(r"([\s<>()\[\]{}\"'`,;|!]+)")
_EDGES = ".:?*-=~_+/\\#"
_LEADING = _EDGES.replace("/", "")  # a path begins with its slash
_QUOTED_LOCAL = re.compile(r'"[^"\n]{1,64}"(?=@)')

# `S3150`, `TSS04`, `BL000010`, `OFR_999`, `LPN007_426`, `RP-001`, `RCP-P1`, `VS1-IP`
_SHORT_CODE = re.compile(
    r"(?:[A-Z][-_]?\d{1,4}|[A-Z]{2,6}(?:[-_][A-Z]{0,2})?\d{1,6})(?:[-_.]\d{1,4})?|[A-Z]{2}\d{1,2}-[A-Z]{2}\d?"
)
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_SMTP_CODE = re.compile(r"[45]\d\d")
_CONTINUED = re.compile(r"([245]\d\d-)(\D.*)", re.DOTALL)  # the next line of a multi-line reply: `550-Requested`
_TIME = re.compile(r"(?:\d{4}-\d\d-\d\d[T_])?\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?")
_IPV4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}(?:[:/#]\d{1,5})?")
_IPV6 = re.compile(r"(?:ipv6:)?[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,8}(?:[%/]\w{1,16})?", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w-]{1,63}\.){1,20}[a-z][a-z0-9-]{1,62}(?::\d{1,5})?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d[\d.,/-]*[a-z%]{0,3}", re.IGNORECASE)
_KINDS = (("n", _TIME), ("ip", _IPV4), ("ip", _IPV6), ("host", _HOST), ("n", _NUMBER))
_URL = re.compile(r"(?:https?|ftp)://|www\.", re.IGNORECASE)
_URL_PART = re.compile(r"([/?&=#;:+%]+)")
_PLAIN_WORD = re.compile(r"[^\W\d]{1,24}(?:[-_.][^\W\d]{1,24}){0,8}")
_WORDS_WITH_DIGITS = frozenset({"ipv4", "ipv6", "utf8", "utf-8", "base64", "rfc822", "8bit", "7bit", "8bitmime"})
_NAMES_ACCOUNT = frozenset({"user", "username", "login", "mailbox", "account", "recipient"})
_NO_ACCOUNT = frozenset(
    {"", "unknown", "no", "not", "is", "does", "invalid", "disabled", "full", "inactive", "over", "has"}
)


@dataclass(frozen=True, slots=True)
class Template:
    """What many replies have in common, and what is particular to this one.

    `text` holds placeholders: `{addr}`, `{host}`, `{ip}`, `{n}`, `{path}`, `{id}`. `parameters` are the lifted values
    in the order of their placeholders, addresses masked. `id` is the first 64 bits of SHA-256 of `text` in UTF-8,
    unsigned.
    """

    text: str
    parameters: tuple[str, ...] = ()

    @property
    def id(self) -> int:
        """The template's identity, the same in every process."""
        return _identify(self.text)


def templatize(text: str, *, recipient: str | None = None) -> Template:
    """The template of a reply text; never raises, looks at the first `MAX_TEXT` characters, ignores line ends.

    `recipient` is the address that the reply is about, if known: then its local part is lifted out even where the
    server writes it alone in a sentence.
    """
    parameters: list[str] = []
    cut = text[:MAX_TEXT]
    if '"@' in cut:
        cut = _QUOTED_LOCAL.sub("*", cut)
    local = recipient.rpartition("@")[0].lower() if recipient else ""
    pieces = _PIECE.split(cut)
    for index in range(0, len(pieces), 2):
        piece = pieces[index]
        if piece.isalpha() and not local and index and pieces[index - 1] == " " and pieces[index - 2][-1:] != ":":
            continue  # an ordinary word in a sentence: most pieces are, so they cost nothing more
        if _is_account(pieces, index, local):
            pieces[index] = _placeholder("addr", piece, "*", parameters)
        elif not piece.isalpha():
            pieces[index] = _lift(pieces, index, parameters)
    body = " ".join("".join(pieces).split())
    return Template(body, tuple(parameters))


@lru_cache(maxsize=16_384)
def _identify(body: str) -> int:
    return int.from_bytes(sha256(body.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _placeholder(kind: str, piece: str, value: str, parameters: list[str]) -> str:
    """Put `value` aside and leave a placeholder, with the punctuation that stood around it."""
    parameters.append(value)
    core = piece.strip(_EDGES)
    before, _, after = piece.partition(core) if core else (piece, "", "")
    return f"{before}{{{kind}}}{after}"


def _is_account(pieces: list[str], index: int, local: str) -> bool:
    """The piece is a mailbox name without its domain: the recipient's, or one in a place where only names stand."""
    piece = pieces[index]
    if local and piece.lower().strip(_EDGES) == local:
        return True
    if index == 0:
        return len(piece) > 3 and piece.endswith("...")
    before = pieces[index - 1]
    if before.endswith("<") and _separator(pieces, index + 1).startswith(">"):
        return "@" not in piece and bool(piece)
    introduced = pieces[index - 2].lower()
    if introduced.rstrip(":") not in _NAMES_ACCOUNT or piece.lower().strip(_EDGES) in _NO_ACCOUNT or "@" in piece:
        return False
    if before.isspace():
        return introduced.endswith(":")
    return before[0].isspace() and before[-1] in "'\"" and _separator(pieces, index + 1).startswith(before[-1])


def _separator(pieces: list[str], index: int) -> str:
    return pieces[index] if index < len(pieces) else ""


def _lift(pieces: list[str], index: int, parameters: list[str]) -> str:
    """The piece with what is variable in it replaced."""
    piece = pieces[index]
    core = piece.lstrip(_LEADING).rstrip(_EDGES)
    if not core or core.isalpha() or _ENHANCED.fullmatch(core):
        return piece
    if "@" in core:
        masked = mask_addresses(core)
        return _placeholder("addr", piece, masked if masked != core else "*", parameters)
    if _SMTP_CODE.fullmatch(core) and _is_reply_code(pieces, index):
        return piece
    before, _, after = piece.partition(core)
    if continued := _CONTINUED.match(core):
        return f"{before}{continued[1]}{_lift_core(continued[2], parameters)}{after}"
    lifted = _lift_url(core, parameters) if _URL.match(core) else _lift_core(core, parameters)
    return f"{before}{lifted}{after}"


def _is_reply_code(pieces: list[str], index: int) -> bool:
    """`550` is a reply code at the beginning, after `said:` and before an enhanced code; elsewhere it is a number."""
    if index == 0 or pieces[index - 2].endswith((":", "error", "code")):
        return True
    return index + 2 < len(pieces) and _ENHANCED.match(pieces[index + 2].lstrip("#")) is not None


def _lift_core(core: str, parameters: list[str]) -> str:
    kind = _kind(core) if core else "keep"
    if kind == "keep":
        return core
    if kind == "zone":
        return zone_of(core.lower()) or core
    if kind == "parts":
        separator = "=" if "=" in core else ":"
        return separator.join(_lift_core(part, parameters) for part in core.split(separator))
    parameters.append(core)
    return f"{{{kind}}}"


def _kind(core: str) -> str:
    """What a piece is: a placeholder's name, `keep`, `zone` (of a blocklist) or `parts` (to be judged one by one)."""
    if core[0] == "/":
        return "path"
    if _is_word(core):
        return "keep"
    for kind, pattern in _KINDS:
        if pattern.fullmatch(core):
            return "zone" if kind == "host" and zone_of(core.lower()) else kind
    if "=" in core or ":" in core:
        return "parts"
    return "id" if len(core) > 32 or any(map(str.isdigit, core)) else "keep"


def _is_word(core: str) -> bool:
    """Means the same in every reply: a known name, a short code of a provider, an enhanced status code."""
    return bool(core.lower() in _WORDS_WITH_DIGITS or _SHORT_CODE.fullmatch(core) or _ENHANCED.fullmatch(core))


def _lift_url(url: str, parameters: list[str]) -> str:
    """The URL with every part that is no plain word lifted out; scheme and host stay, they say whose page it is."""
    scheme, slashes, rest = url.partition("://") if "://" in url else ("", "", url)
    host, slash, path = rest.partition("/")
    parts = _URL_PART.split(path.replace("%40", "@"))
    for index in range(0, len(parts), 2):
        if parts[index] and not _is_plain_part(parts[index]):
            parameters.append(mask_addresses(parts[index]))
            parts[index] = "{id}"
    return f"{scheme.lower()}{slashes}{host.lower()}{slash}{''.join(parts)}"


def _is_plain_part(part: str) -> bool:
    return _PLAIN_WORD.fullmatch(part) is not None or _SHORT_CODE.fullmatch(part) is not None
