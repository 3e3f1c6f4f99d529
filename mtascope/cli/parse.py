"""`mtascope parse`: logs in, events out, one JSON object a line; nothing is stored."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from io import FileIO
from typing import Any

import click
import orjson

from collector.formats.registry import AUTO, format_names
from collector.ingest import ingest_paths, ingest_stream
from collector.lookback import LookBack
from collector.settings import CollectorSettings
from mta.events.address import split_address
from mta.events.event import Event
from mta.events.instants import SECOND, format_instant
from mta.events.intake import Batch, Checkpoint, Receipt
from mta.events.provider import OTHER
from mtascope.output import Exit, say
from mtascope.resources import provider_map, reply_classifier

_NOT_UNDERSTOOD = ("unrecognised", "recipients-unknown")
"""Kinds of records that may be about mail and gave no event."""

__all__ = ["EventPrinter", "command", "event_fields"]


@click.command("parse")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(format_names()),
    default=AUTO,
    show_default=True,
    help="The dialect of the log.",
)
@click.option("--year", type=click.IntRange(1970, 9000), help="The year the log begins in, where its stamps have none.")
@click.option(
    "--timezone", default="", metavar="ZONE", help="The zone of stamps that tell none (default: this machine's)."
)
@click.option("--json", "as_json", is_flag=True, help="Accepted for symmetry: the output is always NDJSON.")
@click.argument("paths", metavar="[PATH|-]...", nargs=-1)
def command(
    paths: tuple[str, ...],
    *,
    format_name: str,
    year: int | None,
    timezone: str,
    as_json: bool,  # noqa: ARG001
) -> Exit:
    """Print the events in logs, with recipients in clear; nothing is stored.

    Reads files, folders or standard input (-), plain or compressed. Lines that cannot be read are named on standard
    error. What a log tells of a message once (sender, size, Message-ID) is filled into the events that follow it.

    Example: mtascope parse --format postfix /var/log/mail.log | jq -r .type
    """
    try:
        settings = CollectorSettings(format=format_name, node="", year=year, timezone=timezone)
    except ValueError as error:
        raise click.BadParameter(f"no time zone {timezone!r}", param_hint="--timezone") from error
    printer = EventPrinter()
    try:
        receipt = _read(paths or ("-",), printer, settings)
        printer.finish()
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stdout = None
        return Exit.DONE
    _summarise(receipt, printer)
    return Exit.REFUSED if receipt.quarantined else Exit.DONE


class EventPrinter:
    """An `EventStore` that prints what it is given: events on standard output, refused records on standard error."""

    def __init__(self) -> None:
        self.events = 0
        self.ignored: Counter[str] = Counter()
        self._look_back = LookBack()

    def load(self, batch: Batch) -> Receipt:
        """Print the batch; every understood record counts as stored."""
        printed = self._print(self._look_back.complete(event for events in batch.records for event in events))
        paths = {checkpoint.source: checkpoint.path for checkpoint in batch.checkpoints}
        for refused in batch.quarantined:
            say(f"{paths.get(refused.source, '-')}: byte {refused.offset}: {refused.reason}: {refused.detail}")
        self.ignored.update(batch.ignored)
        return Receipt(
            received=batch.received,
            stored=len(batch.records),
            quarantined=len(batch.quarantined),
            ignored=sum(batch.ignored.values()),
            events_stored=printed,
        )

    def finish(self) -> None:
        """Print what waited for more to be told of it."""
        self._print(self._look_back.rest())

    def _print(self, events: Iterable[Event]) -> int:
        lines = [orjson.dumps(event_fields(event)) for event in events]
        if lines:
            sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
            sys.stdout.buffer.flush()
        self.events += len(lines)
        return len(lines)

    def checkpoint(self, source: str) -> Checkpoint | None:  # noqa: ARG002 - nothing is remembered
        """Nothing was ever read."""
        return None


def event_fields(event: Event) -> dict[str, Any]:
    """The promised keys of an event, in their order; None for what is not known."""
    reply = event.reply
    about = event.original_recipient or event.recipient
    provider = _provider(split_address(about)[1], event.peer_host if event.type.is_attempt else None)
    bounce_class, bounce_group = _cause(event, provider)
    delay = event.delay
    return {
        "type": event.type.value,
        "time": format_instant(event.time),
        "queue_id": event.queue_id or None,
        "message_id": event.message_id,
        "sender": event.sender,
        "recipient": event.recipient or None,
        "recipient_domain": event.recipient_domain or None,
        "provider": provider,
        "code": reply.code if reply else None,
        "enhanced": str(reply.enhanced) if reply and reply.enhanced else None,
        "text": reply.text if reply else None,
        "bounce_class": bounce_class,
        "bounce_group": bounce_group,
        "peer_host": event.peer_host,
        "peer_ip": event.peer_ip,
        "attempt": event.attempt,
        "delay_s": None if delay is None else delay / SECOND,
        "size": event.size,
        "source": event.source,
        "pool": event.pool,
        "tenant": event.tenant,
        "campaign": event.campaign,
        "node": event.node or None,
        "tls_version": event.tls_version,
    }


@lru_cache(maxsize=65_536)
def _provider(domain: str, mx_host: str | None) -> str | None:
    """None where the map does not know; a domain alone is no evidence of anybody else."""
    name = provider_map().lookup(domain, mx_host).name
    return None if name == OTHER else name


def _cause(event: Event, provider: str | None) -> tuple[str | None, str | None]:
    """Class and group of a failure; (None, None) for everything else."""
    if not event.type.is_failure or event.reply is None:
        return None, None
    found = reply_classifier().classify(event.reply, provider=provider, peer=event.peer_host, type=event.type)
    return found.bounce_class, found.group


def _read(paths: tuple[str, ...], printer: EventPrinter, settings: CollectorSettings) -> Receipt:
    receipt = Receipt()
    for path in paths:
        if path == "-":
            with FileIO(0, closefd=False) as raw:
                receipt += ingest_stream(raw, "-", printer, settings)
        else:
            receipt += ingest_paths([path], printer, settings)[0]
    return receipt


def _summarise(receipt: Receipt, printer: EventPrinter) -> None:
    """Counts by kind, and how many of the lines that are about mail were understood."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(printer.ignored.items()))
    ignored = f"{receipt.ignored} ignored" + (f" ({kinds})" if kinds else "")
    say(f"{receipt.received} records: {printer.events} events, {ignored}, {receipt.quarantined} refused")
    missed = receipt.quarantined + sum(printer.ignored[kind] for kind in _NOT_UNDERSTOOD)
    about_mail = receipt.stored + missed
    if about_mail:
        say(f"{receipt.stored / about_mail:.2%} of {about_mail} records about mail understood")
