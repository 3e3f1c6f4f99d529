"""`mtascope detect`: the spike detector alone, on counts from a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from analytics.spikes import Change, ChangeKind, SpikeDetector
from analytics.spikes.counts import MAX_LINE, Counts, CountsReader, StepClock
from mta.events.errors import LimitExceeded, ParseError
from mtascope.output import Exit, emit, say

__all__ = ["command"]

_MAX_SERIES = 100_000


@click.command("detect")
@click.option("--series", "path", required=True, metavar="FILE|-", help="Counts; - reads standard input.")
@click.option("--openings", is_flag=True, help="Print an incident also when it opens, with closed null.")
@click.option("--json", "as_json", is_flag=True, help="Accepted for symmetry: the output is always NDJSON.")
def command(path: str, *, openings: bool, as_json: bool) -> Exit:  # noqa: ARG001
    """Find bounce spikes in counts, deciding at each 5-minute step from the past only.

    Reads NDJSON or CSV with t, series, sent, bounced, in time order; the steps of the first day or so only teach the
    detector. Prints a line for each incident when it closes, and at the end those that are still open (closed is null).

    Example: mtascope detect --series counts.csv
    """
    printer = _Printer(openings=openings)
    try:
        with _opened(path) as source:
            refused = _judge(source, printer)
        printer.finish()
    except FileNotFoundError:
        say(f"mtascope: {path}: there is no such file")
        return Exit.MISSING
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        sys.stdout = None
        return Exit.DONE
    return Exit.REFUSED if refused else Exit.DONE


class _Printer:
    """Remembers when incidents opened, as their `t` was written, and prints them."""

    def __init__(self, *, openings: bool) -> None:
        self._openings = openings
        self._open: dict[str, tuple[Any, Change]] = {}

    def take(self, t: Any, change: Change) -> None:
        if change.kind is ChangeKind.CLOSED:
            opened, _ = self._open.pop(change.series)
            emit(_line(change, opened, t))
            return
        opened = self._open[change.series][0] if change.series in self._open else t
        self._open[change.series] = (opened, change)
        if self._openings and change.kind is ChangeKind.OPENED:
            emit(_line(change, opened, None))

    def finish(self) -> None:
        for opened, change in self._open.values():
            emit(_line(change, opened, None))


def _line(change: Change, opened: Any, closed: Any) -> dict[str, Any]:
    return {
        "series": change.series,
        "opened": opened,
        "closed": closed,
        "level": round(change.level, 6),
        "baseline": round(change.baseline, 6),
        "bounced": change.bounced,
        "sent": change.sent,
    }


def _judge(source: BinaryIO, printer: _Printer) -> int:
    """Feed the detector; how many lines were refused."""
    detector, clock = SpikeDetector(), StepClock()
    latest: dict[str, int] = {}
    refused = 0
    for number, found in _settled(_counts(source), clock):
        try:
            if isinstance(found, ParseError):
                raise found
            step = clock.step(found.t)
            _check_order(latest, found, step)
        except ParseError as error:
            refused += 1
            say(f"line {number}: {error}")
            continue
        latest[found.series] = step
        change = detector.observe(found.series, step, found.sent, found.bounced)
        if change is not None:
            printer.take(found.t, change)
    return refused


def _check_order(latest: dict[str, int], counts: Counts, step: int) -> None:
    last = latest.get(counts.series)
    if last is None:
        if len(latest) >= _MAX_SERIES:
            raise LimitExceeded(f"more than {_MAX_SERIES} series", where="series")
    elif step <= last:
        again = "has this step already" if step == last else "is further already"
        raise ParseError(f"{counts.t!r}: {counts.series} {again}", where="t", remedy="sort by t; one row a step")


def _counts(source: BinaryIO) -> Iterator[tuple[int, Counts | ParseError]]:
    """Line numbers, and what each line says."""
    reader, number = CountsReader(), 0
    while line := source.readline(MAX_LINE + 1):
        number += 1
        try:
            counts = reader.read(line)
        except ParseError as error:
            while len(line) > MAX_LINE and not line.endswith(b"\n"):
                line = source.readline(MAX_LINE + 1)
            yield number, error
            continue
        if counts is not None:
            yield number, counts


def _settled(
    rows: Iterator[tuple[int, Counts | ParseError]], clock: StepClock
) -> Iterator[tuple[int, Counts | ParseError]]:
    """The same rows, held back until the clock knows what a small `t` counts: at most the rows of the first step."""
    held: list[tuple[int, Counts | ParseError]] = []
    for row in rows:
        held.append(row)
        if not isinstance(row[1], Counts) or not clock.knows(row[1].t):
            continue
        yield from held
        break
    else:
        yield from held
    yield from rows


def _opened(path: str) -> BinaryIO:
    return sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: PTH123 - the caller closes it
