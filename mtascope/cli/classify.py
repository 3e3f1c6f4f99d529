"""`mtascope classify`: replies in, causes out; one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
import orjson

from mta.events.classifier import ReplyClassifier
from mta.events.reply import EnhancedStatus, SmtpReply, parse_reply
from mtascope.output import Exit, emit, say
from mtascope.resources import classifier_of, provider_map
from mtascope.settings import load_settings

__all__ = ["command"]

MAX_LINE = 65_536
"""Bytes of a line that are read; what is longer is refused, and the next line read as usual."""

_PHASES = frozenset({"connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot", "unknown"})


@click.command("classify")
@click.argument("source", metavar="[PATH|-]", type=click.File("rb"), default="-")
@click.option("--rules", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Rule file of your own, ours or KumoMTA's; may be given several times.")  # fmt: skip
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file whose [classify] holds.")
@click.option("--json", "as_json", is_flag=True, help="Accepted for symmetry: the output is always NDJSON.")
def command(source: BinaryIO, rules: tuple[Path, ...], config: str | None, *, as_json: bool) -> Exit:  # noqa: ARG001
    """Say which bounce class each SMTP reply belongs to.

    One reply a line, as a server wrote it or as {"text", "code", "enhanced", "peer", "phase", "provider"}.

    Example: echo '550 5.1.1 User unknown' | mtascope classify -
    """
    settings = load_settings(config).classify
    classifier = classifier_of(settings.model_copy(update={"rules": (*settings.rules, *rules)}))
    refused = 0
    for number, line in enumerate(_lines(source), start=1):
        if line is None:
            refused += 1
            say(f"line {number}: longer than {MAX_LINE} bytes")
            emit({"class": None, "error": f"longer than {MAX_LINE} bytes"})
            continue
        if not line.strip():
            continue
        try:
            emit(_classify(line, classifier))
        except ValueError as error:
            refused += 1
            say(f"line {number}: {error}")
            emit({"class": None, "error": str(error)})
    return Exit.REFUSED if refused else Exit.DONE


def _lines(source: BinaryIO) -> Iterator[bytes | None]:
    """Lines without their end; None stands for one that was too long and has been skipped."""
    while line := source.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = source.readline(MAX_LINE)
        yield None


def _classify(line: bytes, classifier: ReplyClassifier) -> dict[str, Any]:
    fields = _read_fields(line)
    reply = _reply(fields)
    peer = fields.get("peer") or None
    provider = fields.get("provider") or (provider_map().lookup("", peer).name if peer else None)
    phase = fields.get("phase")
    if phase is not None and phase not in _PHASES:
        raise ValueError(f"no phase {phase!r}: use one of {', '.join(sorted(_PHASES))}")
    found = classifier.classify(reply, provider=provider, peer=peer, phase=phase)
    return {
        "class": found.bounce_class,
        "group": found.group,
        "severity": found.severity,
        "rule": found.rule,
        "confidence": found.confidence,
        "provider": found.provider,
        "provider_code": found.provider_code,
        "retry_after_s": found.retry_after_s,
        "blocklist": found.blocklist,
    }


def _read_fields(line: bytes) -> dict[str, Any]:
    if not line.lstrip().startswith(b"{"):
        return {"text": line.decode("utf-8", "replace").strip()}
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from error
    if not (isinstance(fields, dict) and isinstance(fields.get("text", ""), str)):
        raise ValueError('an object needs "text", a string')  # noqa: TRY004 - wrong input, not a wrong argument
    return fields


def _reply(fields: dict[str, Any]) -> SmtpReply:
    """The reply that the fields describe; what is not given apart is read from the text."""
    read = parse_reply(fields.get("text") or "")
    code = read.code if fields.get("code") is None else int(fields["code"])
    enhanced = EnhancedStatus.parse(str(fields["enhanced"])) if fields.get("enhanced") else read.enhanced
    return SmtpReply(code, enhanced, read.text)
