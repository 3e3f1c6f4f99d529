"""Parameters of MAIL and RCPT beyond those that aiosmtpd knows: delivery reports (RFC 3461), priority (RFC 6710). Pure.

They are taken off the command before the stock method sees it, which refuses whatever it does not know. `AUTH=` (RFC
4954 section 5) must be understood by a server that offers AUTH; it is checked, and nothing is concluded from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

__all__ = ["MailParameters", "RcptParameters", "mail_parameters", "rcpt_parameters"]

_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
_ENVID = re.compile(rf"{_XTEXT}{{1,100}}")
_ORCPT = re.compile(rf"[A-Za-z0-9-]{{1,40}};{_XTEXT}{{1,500}}")
_UTF8_ORCPT = re.compile(r"utf-8;[!-<>-~\u0080-\U0010ffff]{1,500}", re.IGNORECASE)
_CONDITIONS = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_PRIORITY = re.compile(r"0|-?[1-9]")


@dataclass(frozen=True, slots=True)
class MailParameters:
    """What MAIL asked for; the words are those of `Envelope`."""

    ret: str = ""
    envid: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """What RCPT asked for; the words are those of `Message`."""

    notify: str = ""
    orcpt: str = ""


def mail_parameters(options: str) -> tuple[MailParameters, str]:
    """What MAIL's parameters ask for, and those that are not ours to read. ValueError says what is wrong with one."""
    found, rest = _split(options, _MAIL)
    said = MailParameters()
    for name, value in found.items():
        said = _MAIL[name](said, value)
    return said, rest


def rcpt_parameters(options: str) -> tuple[RcptParameters, str]:
    """The same for RCPT."""
    found, rest = _split(options, _RCPT)
    said = RcptParameters()
    for name, value in found.items():
        said = _RCPT[name](said, value)
    return said, rest


def _split(options: str, known: Mapping[str, object]) -> tuple[dict[str, str], str]:
    found: dict[str, str] = {}
    rest: list[str] = []
    for option in options.split():
        name, _, value = option.partition("=")
        if name.upper() not in known:
            rest.append(option)
        elif name.upper() in found:
            raise ValueError(f"{name.upper()} is there twice")
        else:
            found[name.upper()] = value
    return found, " ".join(rest)


def _ret(said: MailParameters, value: str) -> MailParameters:
    if value.upper() not in {"FULL", "HDRS"}:
        raise ValueError("RET is FULL or HDRS")
    return replace(said, ret=value.upper())


def _envid(said: MailParameters, value: str) -> MailParameters:
    if not _ENVID.fullmatch(value):
        raise ValueError("ENVID is xtext of at most 100 characters")
    return replace(said, envid=value)


def _priority(said: MailParameters, value: str) -> MailParameters:
    if not _PRIORITY.fullmatch(value):
        raise ValueError("MT-PRIORITY is a number from -9 to 9")
    return replace(said, priority=int(value))


def _auth(said: MailParameters, value: str) -> MailParameters:
    if value != "<>" and not _ENVID.fullmatch(value):
        raise ValueError("AUTH is <> or xtext")
    return said


def _notify(said: RcptParameters, value: str) -> RcptParameters:
    conditions = value.upper().split(",")
    if conditions != ["NEVER"] and (not set(conditions) <= _CONDITIONS or len(set(conditions)) < len(conditions)):
        raise ValueError("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY")
    return replace(said, notify=",".join(conditions))


def _orcpt(said: RcptParameters, value: str) -> RcptParameters:
    if not (_ORCPT.fullmatch(value) or _UTF8_ORCPT.fullmatch(value)):
        raise ValueError("ORCPT is a type of address, a semicolon and xtext")
    return replace(said, orcpt=value)


_MAIL: Mapping[str, Callable[[MailParameters, str], MailParameters]] = {
    "RET": _ret,
    "ENVID": _envid,
    "MT-PRIORITY": _priority,
    "AUTH": _auth,
}
_RCPT: Mapping[str, Callable[[RcptParameters, str], RcptParameters]] = {"NOTIFY": _notify, "ORCPT": _orcpt}
