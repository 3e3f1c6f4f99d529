"""`mtascope bounce`: mails that came back in, what they tell out; one JSON object a recipient."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mta.events.errors import ParseError
from mta.events.instants import format_instant
from mta.events.mail.bounce import BouncedRecipient, BounceReport, read_bounce
from mta.events.mail.bounce_class import classify_recipient
from mta.events.mail.message import MailLimits
from mtascope.cli.mails import Mail, mails_in
from mtascope.output import Exit, emit, say
from mtascope.resources import bounce_phrases, reply_classifier

__all__ = ["command"]

_PROGRESS_EVERY = 500


@click.command("bounce")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Accepted for symmetry: the output is always NDJSON.")
def command(paths: tuple[Path, ...], *, as_json: bool) -> Exit:  # noqa: ARG001
    """Read mails as bounces and complaints; nothing is stored.

    A PATH is a mail, an mbox, a Maildir or a folder of mails. Recipients are printed in clear.

    Example: mtascope bounce ~/Maildir returned.mbox one.eml
    """
    refused = 0
    show = sys.stderr.isatty() and not sys.stdout.isatty()
    for number, mail in enumerate(mails_in(paths, MailLimits().size), start=1):
        if show and number % _PROGRESS_EVERY == 0:
            click.echo(f"\r{number} mails", err=True, nl=False)
        for line, error in _lines(mail):
            emit(line)
            if error is not None:
                refused += 1
                say(f"{mail.file}: {error}")
    return Exit.REFUSED if refused else Exit.DONE


def _lines(mail: Mail) -> Iterator[tuple[dict[str, Any], str | None]]:
    if mail.error is not None:
        yield _none(mail, mail.error), mail.error
        return
    try:
        report = read_bounce(mail.data, bounce_phrases())
    except ParseError as error:
        yield _none(mail, str(error)), str(error)
        return
    if not report.recipients:
        yield _none(mail, None), None
    for recipient in report.recipients:
        yield _line(mail, report, recipient), None


def _none(mail: Mail, error: str | None) -> dict[str, Any]:
    return {"file": mail.file, "kind": "none", **dict.fromkeys(_KEYS), "error": error}


_KEYS = (
    "recipient",
    "action",
    "status",
    "code",
    "diagnostic",
    "class",
    "group",
    "remote_mta",
    "reporting_mta",
    "original_message_id",
    "feedback_type",
    "source_ip",
    "arrival",
)


def _line(mail: Mail, report: BounceReport, recipient: BouncedRecipient) -> dict[str, Any]:
    found = classify_recipient(recipient, report, reply_classifier())
    return {
        "file": mail.file,
        "kind": recipient.kind,
        "recipient": recipient.address,
        "action": recipient.action,
        "status": None if recipient.status is None else str(recipient.status),
        "code": recipient.code,
        "diagnostic": recipient.diagnostic or None,
        "class": found.name,
        "group": found.group,
        "remote_mta": recipient.remote_mta,
        "reporting_mta": report.reporting_mta,
        "original_message_id": report.original_message_id,
        "feedback_type": report.feedback_type,
        "source_ip": report.source_ip,
        "arrival": None if report.arrival_date is None else format_instant(report.arrival_date),
    }
