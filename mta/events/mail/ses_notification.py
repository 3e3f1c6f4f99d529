"""Notifications of Amazon SES that arrive as mail: JSON in a text part, wrapped and signed by the mail service.

The fields are those of the SES documentation ("notification contents"): `bounce.bouncedRecipients`,
`complaint.complainedRecipients`, `delivery.recipients`.
"""

from __future__ import annotations

from typing import Any

import orjson

from mta.events.mail.failure import Failure, quoted_codes
from mta.events.reply import EnhancedStatus

__all__ = ["read_ses_notification"]

_RECIPIENT_LIMIT = 1_000
_KINDS = {
    "bounce": ("bouncedRecipients", "failed"),
    "complaint": ("complainedRecipients", "complained"),
    "delivery": ("recipients", "delivered"),
    "deliverydelay": ("delayedRecipients", "delayed"),
}


def read_ses_notification(text: str) -> list[Failure]:
    """The recipients that the notification is about; none where the text is none. Never raises."""
    fields = _object(text)
    kind = str(fields.get("notificationType") or fields.get("eventType") or "").lower().replace(" ", "")
    if kind not in _KINDS:
        return []
    name, action = _KINDS[kind]
    about = fields.get("deliveryDelay" if kind == "deliverydelay" else kind)
    listed = about.get(name) if isinstance(about, dict) else None
    entries = listed[:_RECIPIENT_LIMIT] if isinstance(listed, list) else []
    return [found for each in entries if (found := _failure(each, action)) is not None]


def _failure(entry: Any, action: str) -> Failure | None:
    if isinstance(entry, str):
        return Failure(address=entry, action=action)
    if not isinstance(entry, dict) or not isinstance(entry.get("emailAddress"), str):
        return None
    text = str(entry.get("diagnosticCode") or "").partition(";")[2].strip()
    code, quoted = quoted_codes(text)
    status = EnhancedStatus.parse(str(entry.get("status") or "")) or quoted
    return Failure(address=entry["emailAddress"], text=text, action=action, code=code, status=status)


def _object(text: str) -> dict[str, Any]:
    """The JSON object at the beginning; a mail service may have wrapped its lines and signed it."""
    body = text.partition("\n--\n")[0].strip()
    for candidate in (body, "".join(line.rstrip().removeprefix(" ") for line in body.split("\n"))):
        try:
            found = orjson.loads(candidate)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, dict):
            inner = found.get("Message")
            return (
                _object(inner) if isinstance(inner, str) and inner.startswith("{") and len(inner) < len(text) else found
            )
    return {}
