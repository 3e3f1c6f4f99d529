"""Recipients and reasons read from a report's words, whichever program wrote them.

All programs do one of two things. They list: a line begins with an address, the lines behind it say why (qmail,
Postfix, Exim, Yahoo, Gmail, Sendmail, Exchange). Or they tell: a sentence speaks of failure and names the address
(`Unable to deliver message to <...>`). So each address in the text gets a standing from the place where it stands, and
the best standing wins; addresses of the sender, of the reporter and of people to ask never win against any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from mta.events.mail.addresses import FoundAddress, find_addresses, local_part
from mta.events.mail.bounce_phrases import BouncePhrases, fold, says
from mta.events.mail.failure import Failure, quoted_codes, remote_host
from mta.events.mail.notice import Notice

__all__ = ["named_recipients", "spoken_failures", "whole_reply"]

_RECIPIENT_LIMIT = 1_000
_REASON_LINES = 30
_BEFORE = "*-\u2013\u2022\u00b7.\"'<([{>#= \u3000\u300c"
_BEHIND = ">\"')]}"
_PROSE = ("wrote", "writes", "schrieb", "a ecrit", "escribio", "ha scritto", "said the following")
_ASKING = ("contact", "send mail to", "write to")
_CERTAIN = ("rcpt to", "recipient:", "recipient(s):")
_LABELS = ("to:", "cc:", "to: <", '"to"')
_RULE = re.compile(r"[-=*_#]{2,}")


class _Standing(IntEnum):
    """How likely an address at such a place is one that failed."""

    CONTACT = 0
    """Somebody to ask; never one who failed."""
    BYSTANDER = 1
    """The sender, or who reports."""
    OFFICE = 2
    """A postmaster, who is rarely written to."""
    MENTIONED = 3
    LABELLED = 4
    """Behind `To:`, as reports repeat the header of the returned mail."""
    ANNOUNCED = 5
    LISTED = 6


@dataclass(frozen=True, slots=True)
class _Place:
    address: str
    line: int
    end: int
    indent: int
    standing: _Standing


def spoken_failures(notice: Notice, phrases: BouncePhrases) -> list[Failure]:
    """Who failed, and why, by the words of the report; empty where they name nobody."""
    return _failures(notice, _winners(notice, _places(notice, phrases)))


def named_recipients(notice: Notice, addresses: Iterable[str], phrases: BouncePhrases) -> list[Failure]:
    """The same for addresses that are known already, from a header field say."""
    wanted = list(addresses)
    known = {each.lower() for each in wanted}
    places = [place for place in _places(notice, phrases) if place.address.lower() in known]
    found = {place.address.lower(): place for place in reversed(_winners(notice, places))}
    chosen = [found.get(each.lower()) or _Place(each, -1, 0, 0, _Standing.MENTIONED) for each in wanted]
    return _failures(notice, chosen)


def whole_reply(notice: Notice, diagnostic: str) -> str:
    """The reply of which Sendmail's fields hold the first line alone, from its transcript of the session."""
    if diagnostic[3:4] != "-" or not diagnostic[:3].isdigit():
        return diagnostic
    beginning = f"<<< {diagnostic[:3]}"
    said = [line.text[4:] for line in notice.lines if line.text.startswith(beginning)]
    first = next((number for number, text in enumerate(said) if text.startswith(diagnostic[:20])), None)
    return diagnostic if first is None else "\n".join(said[first : first + _REASON_LINES])


def _places(notice: Notice, phrases: BouncePhrases) -> list[_Place]:
    found: list[_Place] = []
    before = ""
    for number, line in enumerate(notice.lines):
        if "@" in line.text:
            for each in find_addresses(line.text)[:20]:
                standing = _standing(notice, phrases, line.text, before, each)
                found.append(_Place(each.address, number, each.end, line.indent, standing))
            if len(found) > _RECIPIENT_LIMIT:
                break
        before = line.text or before
    return found


def _standing(notice: Notice, phrases: BouncePhrases, line: str, before: str, found: FoundAddress) -> _Standing:
    address = found.address.lower()
    returned = address in notice.original_recipients
    if address in notice.senders and not returned:
        return _Standing.BYSTANDER
    lead = line[: found.start]
    if not lead.strip(_BEFORE) and not _is_addressed(line[found.end :], before):
        standing = _Standing.LISTED
    else:
        standing = _standing_within(fold(lead[-100:]), before, phrases)
    if not returned and local_part(address) in (*phrases.systems, *phrases.offices):
        return min(standing, _Standing.OFFICE)
    return standing


def _is_addressed(behind: str, before: str) -> bool:
    """Whether a line begins with an address by chance: wrapped behind `contact`, or before `wrote:`."""
    return fold(behind.lstrip(_BEHIND)).startswith(_PROSE) or says(fold(before[-60:]), _ASKING)


def _standing_within(lead: str, before: str, phrases: BouncePhrases) -> _Standing:
    """The standing behind these words of a line; `before` is the line above, where the sentence may have begun."""
    if says(lead, _CERTAIN):
        return _Standing.ANNOUNCED
    if says(lead, phrases.contacts):
        return _Standing.CONTACT
    if lead in _LABELS:
        return _Standing.LABELLED
    if says(lead, phrases.announces) or says(fold(before[-60:]) + " " + lead[-60:], phrases.announces):
        return _Standing.ANNOUNCED
    return _Standing.MENTIONED


def _winners(notice: Notice, places: list[_Place]) -> list[_Place]:
    """The places of the best standing, one per address, in their order."""
    best = max((place.standing for place in places), default=None)
    if not best or (best is _Standing.BYSTANDER and quoted_codes(notice.text) == (None, None)):
        return []
    chosen = [place for place in places if place.standing is best]
    if best is _Standing.LISTED:
        chosen = [place for place in chosen if place.indent <= chosen[0].indent + 1]
    elif returned := [place for place in chosen if place.address.lower() in notice.original_recipients]:
        chosen = returned
    elif best < _Standing.ANNOUNCED:
        chosen = chosen[:1]
    first: dict[str, _Place] = {}
    for place in chosen:
        first.setdefault(place.address.lower(), place)
    return list(first.values())


def _failures(notice: Notice, places: list[_Place]) -> list[Failure]:
    starts = {place.line for place in places}
    failures = []
    for place in places:
        is_unnamed = place.line < 0 and len(places) > 1
        text = "" if is_unnamed else _reason(notice, place, starts)
        code, status = quoted_codes(text)
        failures.append(
            Failure(address=place.address, text=text, code=code, status=status, remote_mta=remote_host(text))
        )
    return failures


def _reason(notice: Notice, place: _Place, starts: set[int]) -> str:
    """The words about one recipient: behind its address, else in lines that name it, else around it."""
    if place.standing is _Standing.LISTED:
        own = _paragraph(notice, place, starts)
        if own and quoted_codes(own) == (None, None):
            own = f"{own} {_again(notice, place, starts)}".strip()
        if len(own) > 12 or quoted_codes(own)[0]:
            return own
        if len(starts) > 1 and (elsewhere := _mentions(notice, place)):
            return elsewhere
        following = _following(notice, place.line + 1, starts)
        if following:
            return f"{own} {following}".strip()
    elif place.line >= 0 and quoted_codes(said := _following(notice, place.line, starts - {place.line})) != (
        None,
        None,
    ):
        return said
    return _following(notice, 0, set())


def _paragraph(notice: Notice, place: _Place, starts: set[int]) -> str:
    """The rest of the line and the lines behind it, up to a blank one."""
    said = [notice.lines[place.line].text[place.end :].lstrip(_BEHIND + ":;,. ")]
    for number in range(place.line + 1, min(place.line + 1 + _REASON_LINES, len(notice.lines))):
        text = notice.lines[number].text
        if number in starts or not text or (_RULE.match(text) and any(said)):
            break
        said.append(text)
    return " ".join(filter(None, said))


def _again(notice: Notice, place: _Place, starts: set[int]) -> str:
    """What stands behind the address where it is listed a second time, for administrators, with a reply code."""
    wanted = place.address.lower()
    for number in range(place.line + 1, len(notice.lines)):
        text = notice.lines[number].text
        if text[:400].lower().lstrip(_BEFORE).startswith(wanted):
            found = _Place(place.address, number, text.lower().index(wanted) + len(wanted), 0, place.standing)
            said = _paragraph(notice, found, starts)
            return said if quoted_codes(said) != (None, None) else ""
    return ""


def _mentions(notice: Notice, place: _Place) -> str:
    """Lines elsewhere that name the address beside a reply code."""
    wanted = place.address.lower()
    return " ".join(
        line.text
        for number, line in enumerate(notice.lines)
        if number != place.line and wanted in line.text.lower() and quoted_codes(line.text) != (None, None)
    )


def _following(notice: Notice, start: int, starts: set[int]) -> str:
    said: list[str] = []
    for number in range(start, len(notice.lines)):
        if number in starts or len(said) > _REASON_LINES:
            break
        if text := notice.lines[number].text:
            said.append(text)
    return " ".join(said)
