"""The ways to tell: each takes one notification and returns when the other side has taken it.

DeliveryFailed says why it did not; the courier tries again. Redirects are not followed, answers are not kept: where an
alert goes is what the settings say and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import smtplib
import ssl
import time
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Any, Protocol

import orjson

from analytics.incidents.journal import Notification
from exporter.alerting.errors import DeliveryFailed
from exporter.alerting.settings import AlertingSettings, MailSettings, WebhookSettings
from exporter.alerting.words import details, sentence, severity
from mta.events.errors import SettingsError

__all__ = ["Alertmanager", "Channel", "MailChannel", "Webhook", "channels_of"]

_HOLD_S = 300
"""Alertmanager takes an alert for over that nobody has repeated for so long; it is repeated every minute."""


class Channel(Protocol):
    """One receiver."""

    def send(self, notification: Notification) -> None:
        """Returns when it was taken; raises DeliveryFailed when it was not."""

    def hold(self, incidents: Sequence[Mapping[str, Any]]) -> None:
        """Repeat those that are open, where the receiver forgets them otherwise."""


def channels_of(settings: AlertingSettings) -> dict[str, Channel]:
    """The channels that are set, by name. SettingsError names a secret that cannot be read."""
    found: dict[str, Channel] = {}
    for number, url in enumerate(settings.alertmanager):
        found[f"alertmanager-{number}"] = Alertmanager(url, settings)
    for number, hook in enumerate(settings.webhook):
        found[f"webhook-{number}"] = Webhook(hook, settings)
    if settings.mail is not None:
        found["mail"] = MailChannel(settings.mail, settings)
    return found


class Alertmanager:
    """Alertmanager's API v2: an alert an incident, resolved when the incident ends."""

    def __init__(self, url: str, settings: AlertingSettings) -> None:
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._settings = settings

    def send(self, notification: Notification) -> None:
        """Fire, or resolve."""
        self._post([self._alert(orjson.loads(notification.body), over=notification.change == "closed")])

    def hold(self, incidents: Sequence[Mapping[str, Any]]) -> None:
        """Say again that these fire."""
        if incidents:
            self._post([self._alert(incident, over=False) for incident in incidents])

    def _post(self, alerts: list[dict[str, Any]]) -> None:
        _post(self._url, orjson.dumps(alerts), {}, self._settings.timeout_s)

    def _alert(self, row: Mapping[str, Any], *, over: bool) -> dict[str, Any]:
        now = time.time()
        labels = {"alertname": "MtascopeIncident", "severity": severity(row), "incident": row["id"]}
        labels |= {name: row[name] for name in ("kind", "provider")} | row["scope"]
        return {
            "labels": labels,
            "annotations": {"summary": sentence(row), "description": "\n".join(details(row))},
            "startsAt": min(row["opened"], _stamp(now)),
            "endsAt": _stamp(now if over else now + _HOLD_S),
            "generatorURL": self._settings.page,
        }


class Webhook:
    """A POST of `{change, incident}`. With a secret, `X-Mtascope-Signature: t=SECONDS,v1=HEX` signs `SECONDS.BODY`.

    `X-Mtascope-Delivery` is the same for every attempt of one notification, so that a receiver can drop a repetition.
    """

    def __init__(self, hook: WebhookSettings, settings: AlertingSettings) -> None:
        self._hook = hook
        self._settings = settings
        self._secret = None if hook.secret_file is None else _secret(hook.secret_file, "alerting.webhook.secret_file")

    def send(self, notification: Notification) -> None:
        """POST it."""
        incident = orjson.loads(notification.body)
        body = orjson.dumps({"change": notification.change, "summary": sentence(incident), "incident": incident})
        headers = {"X-Mtascope-Delivery": hashlib.blake2b(notification.id.encode(), digest_size=16).hexdigest()}
        if self._secret is not None:
            at = int(time.time())
            signed = hmac.new(self._secret, f"{at}.".encode() + body, "sha256").hexdigest()
            headers["X-Mtascope-Signature"] = f"t={at},v1={signed}"
        _post(self._hook.url, body, headers, self._settings.timeout_s)

    def hold(self, incidents: Sequence[Mapping[str, Any]]) -> None:
        """A webhook is told once."""


class MailChannel:
    """A mail for each change; those of one incident are one thread."""

    def __init__(self, mail: MailSettings, settings: AlertingSettings) -> None:
        self._mail = mail
        self._settings = settings
        self._password = None if mail.password_file is None else _secret(mail.password_file, "alerting.mail")

    def send(self, notification: Notification) -> None:
        """Hand it to the MTA."""
        mail = self._mail
        try:
            with smtplib.SMTP(mail.host, mail.port, timeout=self._settings.timeout_s) as session:
                if mail.starttls:
                    session.starttls(context=ssl.create_default_context())
                if mail.user is not None and self._password is not None:
                    session.login(mail.user, self._password.decode())
                session.send_message(self._message(notification))
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(str(error) or type(error).__name__, where=f"{mail.host}:{mail.port}") from error

    def hold(self, incidents: Sequence[Mapping[str, Any]]) -> None:
        """A mail stays where it is."""

    def _message(self, notification: Notification) -> EmailMessage:
        incident = orjson.loads(notification.body)
        domain = self._mail.sender.rpartition("@")[2]
        thread = f"<incident-{notification.incident_id}@{domain}>"
        message = EmailMessage()
        message["From"] = self._mail.sender
        message["To"] = ", ".join(self._mail.recipients)
        message["Subject"] = f"[mtascope] {notification.change}: {sentence(incident).partition(' since ')[0]}"
        message["Date"] = formatdate()
        name = hashlib.blake2b(notification.id.encode(), digest_size=12).hexdigest()
        message["Message-ID"] = thread if notification.change == "opened" else f"<{name}@{domain}>"
        if notification.change != "opened":
            message["In-Reply-To"] = message["References"] = thread
        message["Auto-Submitted"] = "auto-generated"
        lines = [sentence(incident), "", *details(incident), "", f"{self._settings.page}", f"incident {incident['id']}"]
        message.set_content("\n".join(lines))
        return message


def _post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> None:
    import httpx  # takes long to load, and every command reads these settings

    try:
        answer = httpx.post(
            url, content=body, headers={"Content-Type": "application/json", **headers}, timeout=timeout, trust_env=False
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeliveryFailed(str(error) or type(error).__name__, where=url) from error
    if not answer.is_success:
        raise DeliveryFailed(f"answered {answer.status_code}", where=url)


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _secret(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", where=f"{where} {path}") from error
