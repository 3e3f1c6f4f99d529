"""`mtascope report`: the daily summary."""

from __future__ import annotations

import smtplib
import time
from email.message import EmailMessage
from typing import Any

import click

from exporter.report import report_answer
from mta.events.errors import MtascopeError, SettingsError
from mta.events.instants import DAY, format_instant
from mtascope.output import data_option, emit, json_option, say
from mtascope.questions import answer, instant
from mtascope.resources import taxonomy
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.option("--since", default=None, help="RFC 3339, or how long ago. Default: the last whole day, UTC.")
@click.option("--until", default=None, help="RFC 3339, or how long ago.")
@click.option("--html", "as_page", is_flag=True, help="Print HTML instead of text.")
@click.option("--mail", "mail_to", metavar="TO", default=None, help="Send it to this address.")
@click.option("--from", "mail_from", metavar="FROM", default="mtascope@localhost", show_default=True)
@click.option("--smtp", metavar="HOST:PORT", default="127.0.0.1:2525", show_default=True, help="Where to send it.")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(  # noqa: PLR0913  (one parameter an option)
    since: str | None,
    until: str | None,
    mail_to: str | None,
    mail_from: str,
    smtp: str,
    data_dir: str | None,
    config: str | None,
    *,
    as_page: bool,
    as_json: bool,
) -> None:
    """What was sent, how it went per provider against the week before, why mail failed, what to do.

    Example: mtascope report --mail postmaster@example.com
    """
    today = time.time_ns() // 1000 // DAY * DAY
    end = instant("--until", until) or (today if since is None else time.time_ns() // 1000)
    begin = instant("--since", since) or end - DAY
    if begin >= end:
        raise SettingsError("the report's period is empty", where="--since", remedy="begin before --until")
    parameters = {"since": format_instant(begin), "until": format_instant(end)}
    found: dict[str, Any] = answer(
        load_settings(config, data_dir),
        "/v1/report",
        parameters,
        lambda store: report_answer(store, begin, end, taxonomy()),
    )
    if mail_to is not None:
        _send(found, mail_from, mail_to, smtp)
        say(f"sent to {mail_to} through {smtp}")
    if as_json:
        emit(found)
    elif mail_to is None:
        click.echo(found["html"] if as_page else found["text"], nl=False)


def _send(found: dict[str, Any], sender: str, recipient: str, smtp: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, recipient
    mail["Subject"] = (
        f"mtascope report of {found['since'][:10]}: {found['injected']} recipients, {len(found['to_do'])} to do"
    )
    mail.set_content(found["text"])
    mail.add_alternative(found["html"], subtype="html")
    host, _, port = smtp.rpartition(":")
    try:
        with smtplib.SMTP(host.strip("[]"), int(port), timeout=30) as client:
            client.send_message(mail)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        raise _NotSent(f"the report was not sent: {error}", where=smtp) from error


class _NotSent(MtascopeError):
    temporary = True
