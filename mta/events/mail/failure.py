"""What a report says of one recipient, whichever layout it was read from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.events.reply import EnhancedStatus

__all__ = ["Failure", "quoted_codes", "remote_host", "reporting_host"]

# A code stands at the beginning, behind a blank or bracket, and is no part of a number, an address or a time.
_CODE = re.compile(r"(?<![\w.:/@+-])(4[2-7]\d|5[0-7]\d)(?=[ \-:,)>]|$|#)")
_STATUS = re.compile(r"(?<![\w.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_CODE_AND_STATUS = re.compile(r"(?<![\w.:/@+-])([245]\d\d)[ \-:#('\"]{1,3}([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_HOST = re.compile(
    r"(?:\bhost:? |\bGiving up on |\bConnected to |\bwhile talking to |\bmailer |\bServer |\bSMTP Server <"
    r"|\bdomain [\w.-]{1,120}+ by )\"?([A-Za-z0-9][A-Za-z0-9.-]{2,250})",
)
_REPORTER = re.compile(
    r"(?:\bprogram at |\bmail system at host |\bgenerating server: |\bmail agent [\w.]{1,20} at |\bmail server at "
    r"|\bdelivery status notification from |\bprogram at host |^message from +)([a-z0-9][a-z0-9.-]{2,250})",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One recipient and the words about it. `action` is as in RFC 3464, None where the words leave it open."""

    address: str
    text: str = ""
    action: str | None = None
    code: int | None = None
    status: EnhancedStatus | None = None
    remote_mta: str | None = None


def quoted_codes(text: str) -> tuple[int | None, EnhancedStatus | None]:
    """Reply code and enhanced status code of the first refusal that the text quotes; those beside each other first."""
    if both := _CODE_AND_STATUS.search(text):
        return int(both[1]), EnhancedStatus(int(both[2]), int(both[3]), int(both[4]))
    code, status = _CODE.search(text), _STATUS.search(text)
    return (
        int(code[1]) if code else None,
        EnhancedStatus(int(status[1]), int(status[2]), int(status[3])) if status else None,
    )


def remote_host(text: str) -> str | None:
    """The host that refused, where the words name it."""
    for match in _HOST.finditer(text):
        name = match[1].rstrip(".")
        if "." in name and (name.count(".") == 3 or name.rpartition(".")[2].isalpha()):
            return name
    return None


def reporting_host(text: str) -> str | None:
    """The host that writes the report, where it introduces itself."""
    found = _REPORTER.search(text)
    return found[1].rstrip(".").lower() if found and "." in found[1].rstrip(".") else None
