"""The machine-readable fields of delivery reports, as they are written in the wild (RFC 3464 and what passes for it).

`delivery_report` reads the standard form. Here blocks may run together or be torn apart by blank lines, fields may be
indented, misspelt or missing, addresses untyped: a recipient is whatever a Final- or Original-Recipient names.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.events.mail.addresses import find_addresses
from mta.events.mail.delivery_report import ReportedRecipient
from mta.events.mail.message import Fields
from mta.events.mail.report import bare_address, instant, named_mta
from mta.events.reply import EnhancedStatus

__all__ = ["StatusFields", "read_status_fields"]

_VALUE_LIMIT = 8_000
_FOLDS_LIMIT = 200
_RECIPIENTS = ("final-recipient", "original-recipient", "x-actual-recipient")
_OF_RECIPIENT = frozenset(
    {
        *_RECIPIENTS,
        "action",
        "status",
        "remote-mta",
        "diagnostic-code",
        "last-attempt-date",
        "final-log-id",
        "will-retry-until",
        "x-supplementary-info",
        "x-display-name",
        "x-postfix-queue-id",
    }
)
_BEGINS = frozenset({"final-recipient", "original-recipient", "action"})
_ACTIONS = {
    "fail": "failed",
    "error": "failed",
    "delay": "delayed",
    "deliver": "delivered",
    "relay": "relayed",
    "expand": "expanded",
}
_BY_CLASS = {2: "delivered", 4: "delayed", 5: "failed"}


@dataclass(frozen=True, slots=True)
class StatusFields:
    """What the fields say: `about` the mail, and about each recipient that they name."""

    about: Fields
    recipients: tuple[ReportedRecipient, ...]


def read_status_fields(text: str) -> StatusFields:
    """Read the fields of one or more status parts. Never raises; text without fields names no recipient."""
    about: list[tuple[str, str]] = []
    blocks: list[dict[str, str]] = []
    after_blank = False
    for name, value in _fields(text):
        if not name:
            after_blank = True
        elif name not in _OF_RECIPIENT and not blocks:
            about.append((name, value))
        else:
            if not blocks or _is_next(blocks[-1], name, after_blank=after_blank):
                blocks.append({})
            blocks[-1].setdefault(name, value)
            after_blank = False
    recipients = dict.fromkeys(each for block in blocks if (each := _recipient(block)) is not None)
    return StatusFields(Fields(tuple(about)), tuple(recipients))


def _fields(text: str) -> list[tuple[str, str]]:
    """Names in lower case and values, unfolded; blank lines are a field without a name."""
    found: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        if not line or line.isspace():
            if found and found[-1][0]:
                found.append(("", []))
            continue
        name, colon, value = line.partition(":")
        if line[0] in " \t" or not (colon and name.strip() and " " not in name.strip()):
            if found and found[-1][0] and len(found[-1][1]) < _FOLDS_LIMIT:
                found[-1][1].append(line.strip())
        else:
            found.append((name.strip().lower(), [value.strip()]))
    return [(name, " ".join(value)[:_VALUE_LIMIT]) for name, value in found]


def _is_next(block: dict[str, str], name: str, *, after_blank: bool) -> bool:
    """Whether a field begins the next recipient: it repeats what the block has, or opens one behind a blank line."""
    named = "final-recipient" in block or ("original-recipient" in block and name != "final-recipient")
    if name not in _BEGINS or not named:
        return False
    return name in block or after_blank


def _recipient(block: dict[str, str]) -> ReportedRecipient | None:
    final, original = (_address(block.get(name, "")) for name in ("final-recipient", "original-recipient"))
    actual = _address(block.get("x-actual-recipient", ""))
    known = [each for each in (final, original, actual) if "@" in each[1:]]
    address = next((each for each in known if "." in each.rpartition("@")[2]), known[0] if known else None)
    if address is None:
        return None
    status = EnhancedStatus.parse(block.get("status", ""))
    kind, semicolon, text = block.get("diagnostic-code", "").partition(";")
    if not semicolon or " " in kind.strip():
        kind, text = "", block.get("diagnostic-code", "")
    return ReportedRecipient(
        final_recipient=address,
        original_recipient=original or None,
        action=_action(block.get("action", ""), status),
        status=status,
        remote_mta=named_mta(block.get("remote-mta")),
        diagnostic_type=kind.strip().lower() or None,
        diagnostic=text.strip() or None,
        last_attempt=instant(block.get("last-attempt-date")),
        will_retry_until=instant(block.get("will-retry-until")),
    )


def _address(value: str) -> str:
    found = find_addresses(value)
    return found[0].address if found else bare_address(value)


def _action(value: str, status: EnhancedStatus | None) -> str:
    lowered = value.strip().lower()
    for beginning, action in _ACTIONS.items():
        if lowered.startswith(beginning) and lowered != "deliverable":
            return action
    return _BY_CLASS.get(status.klass, "failed") if status is not None else lowered.partition(" ")[0] or "failed"
