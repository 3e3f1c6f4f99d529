"""`mtascope parse`: logs in, events out, one JSON object a line; nothing is stored."""

from __future__ import annotations

import sys
from collections import Counter
from functools import lru_cache
from io import FileIO
from typing import Any

import click
import orjson

from collector.formats.registry import AUTO, format_names
from collector.ingest import ingest_paths, ingest_stream
from collector.settings import CollectorSettings
from mta.events.address import split_address
from mta.events.event import Event
from mta.events.instants import SECOND, format_instant
from mta.events.intake import Batch, Checkpoint, Receipt
from mta.events.provider import OTHER
from mtascope.output import Exit, say
from mtascope.resources import provider_map, reply_classifier

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
@click.option("--json", "as_json", is_flag=True, help="Accepted for symmetry: the output is always NDJSON.")
@click.argument("paths", metavar="[PATH|-]...", nargs=-1)
def command(paths: tuple[str, ...], *, format_name: str, as_json: bool) -> Exit:  # noqa: ARG001
    """Print the events in logs, with recipients in clear; nothing is stored.

    Reads files, folders or standard input (-), plain or zstd. Lines that cannot be read are named on standard error.

    Example: mtascope parse --format kumomta /var/log/kumomta | jq -r .type
    """
    settings = CollectorSettings(format=format_name, node="")
    printer = EventPrinter()
    try:
        receipt = _read(paths or ("-",), printer, settings)
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

    def load(self, batch: Batch) -> Receipt:
        """Print the batch; every understood record counts as stored."""
        lines = [orjson.dumps(event_fields(event)) for events in batch.records for event in events]
        if lines:
            sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
            sys.stdout.buffer.flush()
        paths = {checkpoint.source: checkpoint.path for checkpoint in batch.checkpoints}
        for refused in batch.quarantined:
            say(f"{paths.get(refused.source, '-')}: byte {refused.offset}: {refused.reason}: {refused.detail}")
        self.events += len(lines)
        self.ignored.update(batch.ignored)
        return Receipt(
            received=batch.received,
            stored=len(batch.records),
            quarantined=len(batch.quarantined),
            ignored=sum(batch.ignored.values()),
            events_stored=len(lines),
        )

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
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(printer.ignored.items()))
    ignored = f"{receipt.ignored} ignored" + (f" ({kinds})" if kinds else "")
    say(f"{receipt.received} records: {printer.events} events, {ignored}, {receipt.quarantined} refused")
