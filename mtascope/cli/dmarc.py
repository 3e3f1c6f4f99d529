"""`mtascope dmarc`: reports read, stored, and turned into advice."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import click

from dmarc.mailbox.folder import SourceFile, chunks_of, find_files, shown
from dmarc.reading import Reading, read_reports
from dmarc.reports import AggregateReport, Outcome, Record
from dmarc.values import printable
from mta.events.instants import format_instant, parse_instant
from mtascope.output import Exit, data_option, emit, json_option, say

if TYPE_CHECKING:  # looking at reports needs neither settings nor a store
    from dmarc.settings import ImapSettings
    from mtascope.settings import Settings

__all__ = ["command", "reading_fields", "record_fields"]


@click.group("dmarc")
def command() -> None:
    """Read DMARC aggregate, failure and TLS reports.

    Example: mtascope dmarc parse report.xml.gz
    """


@command.command("parse")
@click.argument("paths", metavar="[PATH|-]...", nargs=-1)
@click.option("--records", "with_records", is_flag=True, help="Add the records of each aggregate report as `rows`.")
@click.option("--json", "as_json", is_flag=True, help="Accepted for symmetry: the output is always NDJSON.")
def parse(paths: tuple[str, ...], *, with_records: bool, as_json: bool) -> Exit:  # noqa: ARG001
    """Read reports and print one line for each; nothing is stored.

    Reads files, folders, Maildirs, mbox files or standard input (-): XML, JSON, mails, gzip, zip, each within another.
    For TLS reports `records` are policies and `messages` sessions.

    Example: mtascope dmarc parse ~/Maildir | jq 'select(.outcome != "ok")'
    """
    outcomes: Counter[Outcome] = Counter()
    missing = False
    for source in _sources(paths or ("-",)):
        if isinstance(source, str):
            say(source)
            missing = True
            continue
        for line in _lines(source, with_records=with_records):
            outcomes[Outcome(line["outcome"])] += 1
            try:
                emit(line)
            except BrokenPipeError:  # the reader has seen enough (`| head`)
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - nothing may complain at exit
                return Exit.DONE
    say(", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome))
    if missing:
        return Exit.MISSING
    return Exit.REFUSED if outcomes[Outcome.QUARANTINED] else Exit.DONE


@command.command("ingest")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--maildir", "maildirs", multiple=True, type=click.Path(), help="A Maildir; same as naming it as PATH.")
@click.option("--imap", "url", help="A mailbox: imaps://user@host/Folder. Stored mails move to its folder Processed.")
@click.option("--password-file", type=click.Path(dir_okay=False), help="Holds the mailbox's password.")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def ingest(
    paths: tuple[str, ...],
    maildirs: tuple[str, ...],
    url: str | None,
    password_file: str | None,
    data_dir: str | None,
    config: str | None,
    *,
    as_json: bool,
) -> Exit:
    """Store the reports in files, folders, Maildirs, mbox files and mailboxes; repeating it changes no number.

    Example: mtascope dmarc ingest --maildir ~/Maildir
    """
    from mtascope.client import connect
    from mtascope.report_ingest import ingest_alone
    from mtascope.settings import load_settings

    settings = load_settings(config, data_dir)
    wanted = [str(Path(path).resolve()) for path in (*paths, *maildirs)]
    if not wanted and url is None:
        raise click.UsageError("name a file, a folder or a mailbox to read")
    if absent := [path for path in wanted if not Path(path).exists()]:
        say(f"{absent[0]}: no such file or folder")
        return Exit.MISSING
    imap = None if url is None else imap_settings(url, password_file)
    told = _Progress() if sys.stderr.isatty() else None
    owner = connect(settings.folder, timeout=None)
    answered: dict[str, Any] = (
        ingest_alone(_lean(settings), wanted, told, imap)
        if owner is None
        else owner.post("/v1/dmarc/ingest", {"paths": wanted, "imap": imap.model_dump(mode="json") if imap else None})
    )
    if told is not None:
        click.echo("\r\x1b[K", err=True, nl=False)
    if as_json:
        emit(answered)
    else:
        say(", ".join(f"{name} {value}" for name, value in answered.items()))
    return Exit.REFUSED if answered["quarantined"] else Exit.DONE


@command.command("advise")
@click.argument("domain")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 400), help="How far back to look.")
@click.option("--until", default=None, help="End of the period (RFC 3339); now unless told otherwise.")
@click.option("--dns/--no-dns", default=True, help="Look up who senders are that nothing else names.")
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def advise(
    domain: str, days: int, until: str | None, data_dir: str | None, config: str | None, *, dns: bool, as_json: bool
) -> None:
    """Say whether a domain's policy may be made stricter, and what stands in the way.

    Example: mtascope dmarc advise example.com
    """
    from mtascope.dmarc_reports import advice_answer
    from mtascope.questions import answer
    from mtascope.settings import load_settings

    settings = load_settings(config, data_dir)
    end = None if until is None else _instant(until)
    advice: dict[str, Any] = answer(
        settings,
        "/v1/dmarc/advice",
        {"domain": domain, "days": days, "until": until, "dns": dns},
        lambda store: advice_answer(store, settings, domain, days, end, dns=dns),
    )
    if as_json:
        emit(advice)
    else:
        click.echo("\n".join(_advice_lines(advice)))


@command.command("posture")
@click.argument("domain")
@click.option(
    "--selector", "selectors", multiple=True, help="A DKIM selector to look at; else those that reports show."
)
@data_option
@click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
@json_option
def posture(
    domain: str, selectors: tuple[str, ...], data_dir: str | None, config: str | None, *, as_json: bool
) -> Exit:
    """Look at what a domain publishes about its mail: SPF, DKIM, DMARC, MTA-STS, TLS-RPT and BIMI.

    Asks DNS, and fetches the MTA-STS policy. The exit code is 1 where something costs mail or protection now.

    Example: mtascope dmarc posture example.com --selector s1
    """
    from dmarc.posture import Level
    from mtascope.dmarc_reports import posture_answer
    from mtascope.questions import answer
    from mtascope.settings import load_settings

    settings = load_settings(config, data_dir)
    found: dict[str, Any] = answer(
        settings,
        "/v1/dmarc/posture",
        {"domain": domain, "selector": list(selectors)},
        lambda store: posture_answer(store, settings, domain, selectors),
    )
    if as_json:
        emit(found)
    else:
        for finding in found["findings"]:
            click.echo(printable(f"{finding['level']:<8} {finding['subject']:<8} {finding['text']}"))
    return Exit.REFUSED if found["worst"] == Level.PROBLEM else Exit.DONE


def _lean(settings: Settings) -> Settings:
    """With a store that gives back what it has written, for a command that only writes."""
    return settings.model_copy(
        update={"store": settings.store.model_copy(update={"threads": 1, "checkpoint_megabytes": 4})}
    )


def imap_settings(url: str, password_file: str | None) -> ImapSettings:
    """The mailbox that a URL names (RFC 5092): imaps, or imap with STARTTLS, which loopback does without."""
    from pydantic import ValidationError

    from dmarc.settings import ImapSettings

    parts = urlsplit(url)
    if parts.scheme not in ("imap", "imaps") or not parts.hostname or not parts.username or parts.password:
        raise click.UsageError("write --imap imaps://user@host/Folder, and the password into --password-file")
    plain = "none" if parts.hostname in ("localhost", "127.0.0.1", "::1") else "starttls"
    try:
        return ImapSettings.model_validate(
            {
                "name": "imap",
                "host": parts.hostname,
                "port": parts.port,
                "tls": "implicit" if parts.scheme == "imaps" else plain,
                "username": unquote(parts.username),
                "password_file": Path(password_file).resolve() if password_file else None,
                "folder": unquote(parts.path.strip("/")) or "INBOX",
            }
        )
    except ValidationError as error:
        raise click.UsageError(f"--imap: {error.errors()[0]['msg']}") from error


def _instant(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise click.UsageError(f"{text!r} is no time: write RFC 3339, 2026-01-31T12:00:00Z") from error


def _advice_lines(answer: dict[str, Any]) -> Iterator[str]:
    """The answer for people; names from reports lose what could drive a terminal."""
    yield printable(answer["summary"])
    yield f"{answer['messages']} messages on {answer['days']} days, {answer['passed']} pass DMARC."
    for blocker in answer["blockers"]:
        yield f"- {printable(blocker['text'])}"
    for failure in answer["own_failures"][:10]:
        yield f"- {printable(failure['text'])}"
    for change in answer["changes"]:
        yield f"* {printable(change)}"
    for source in answer["sources"][:20]:
        new = " (new)" if source["new"] else ""
        yield printable(
            f"  {source['kind']:<13} {source['name'][:40]:<40} {source['messages']:>9} messages, "
            f"{source['failed']:>7} fail{new}"
        )


class _Progress:
    """Tells how many mails were read, and how fast, some times a second."""

    _PAUSE = 0.1

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()

    def __call__(self, path: str, files: int) -> None:
        now = time.monotonic()
        if now - self._told < self._PAUSE:
            return
        self._told = now
        reading = f"; reading {printable(path)}" if path else ""
        click.echo(
            f"\r\x1b[K{files} mails read, {files / (now - self._began):.0f} a second{reading}", err=True, nl=False
        )


def _sources(paths: tuple[str, ...]) -> Iterator[SourceFile | str]:
    """Every file under the paths; a sentence for a path that is not there."""
    for path in paths:
        if path == "-":
            yield SourceFile("-", lambda: sys.stdin.buffer)
        elif Path(path).exists():
            yield from find_files(path)
        else:
            yield f"{shown(path)}: no such file or folder"


def _lines(source: SourceFile, *, with_records: bool) -> Iterator[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    try:
        with source.open() as stream:
            for item in read_reports(chunks_of(stream), now=time.time_ns() // 1000):
                if isinstance(item, Reading):
                    line = {"file": source.name, **reading_fields(item)}
                    if with_records and isinstance(item.report, AggregateReport):
                        line["rows"] = rows if item.outcome is not Outcome.QUARANTINED else []
                    yield line
                    rows = []
                elif with_records:
                    rows += map(record_fields, item)
    except OSError as error:
        say(f"{source.name}: {error.strerror}")


def reading_fields(reading: Reading) -> dict[str, Any]:
    """The promised keys of one report; None for what is not known."""
    report = reading.report
    fields: dict[str, Any] = {
        "member": reading.member or None,
        "kind": reading.kind,
        "outcome": reading.outcome,
        "error": None if reading.error is None else f"{reading.error.reason}: {reading.error}",
        "org_name": report.org_name if report else None,
        "report_id": report.report_id if report else None,
        "domain": report.domain if report else None,
        "begin": _time(report.begin) if report else None,
        "end": _time(report.end) if report else None,
        "records": report.records if report else 0,
        "messages": report.messages if report else 0,
        "pass": report.passed if report else 0,
        "warnings": reading.deviations.codes(),
    }
    if isinstance(report, AggregateReport):
        fields |= {"policy": asdict(report.policy), "generator": report.generator, "namespace": report.namespace}
    return fields


def record_fields(record: Record) -> dict[str, Any]:
    """One record as JSON."""
    fields = record._asdict()
    fields["count"] = fields.pop("messages")
    fields["auth"] = [result._asdict() for result in record.auth]
    fields["overrides"] = [override._asdict() for override in record.overrides]
    return fields


def _time(moment: int | None) -> str | None:
    return None if moment is None else format_instant(moment)
