"""`mtascope trace`: what happened to one message."""

from __future__ import annotations

from typing import Any

import click

from analytics.trace import trace
from exporter.rows import traced_row
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.questions import answer
from mtascope.settings import load_settings

__all__ = ["command"]


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Recipients at most.")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def command(identifier: str, limit: int, data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Everything known about a message, by Message-ID, queue id or recipient, across hops and nodes.

    Example: mtascope trace 'someone@gmail.com'
    """
    found: dict[str, Any] = answer(
        load_settings(config, data_dir),
        "/v1/trace",
        {"id": identifier, "limit": limit},
        lambda store: {"messages": [traced_row(one) for one in trace(store, identifier, limit)]},
    )
    if as_json:
        emit(found)
    elif not found["messages"]:
        say(f"nothing is known of {identifier}")
    for message in () if as_json else found["messages"]:
        _print(message)
    return Exit.DONE if found["messages"] else Exit.REFUSED


def _print(message: dict[str, Any]) -> None:
    late = ", returned later" * message["returned"] + ", complained" * message["complained"]
    click.echo(f"{message['recipient']} at {message['provider']}: {message['outcome']}{late}")
    click.echo(f"  Message-ID {message['ids']['message_id'] or 'unknown'}")
    for event in message["events"]:
        reply = " ".join(str(event[part]) for part in ("code", "enhanced", "text") if event[part])
        host = f" {event['peer_host']}" if event["peer_host"] else ""
        cause = f" [{event['bounce_class']}]" if event["bounce_class"] else ""
        click.echo(f"  {event['time']}  {event['type']}{host}{cause}  {reply}")
