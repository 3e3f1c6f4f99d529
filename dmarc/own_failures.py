"""Our own addresses that fail, at whom, and since when: what the fleet's logs and the reports tell only together.

A failing stream is one address as one reporter saw it, whose newest days fail for the most part. It is told where DMARC
fails with it, or where it used to pass: a bounce domain of somebody else's, say, never agrees with the author, and
that is nobody's fault as long as the signature holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dmarc.senders import OwnAddress
from mta.events.instants import format_instant

__all__ = ["OwnDay", "OwnFailure", "failing_streams"]

_FLOOR = 20
"""Messages before a stream is called failing."""
_BAD_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDay:
    """What one reporter saw of one of our addresses on one day; volumes are messages, spread over days."""

    source_ip: str
    reporter: str
    day: int
    messages: float
    dkim_failed: float
    spf_failed: float
    failed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFailure:
    """One failing stream; `since` is the first of the days that fail, `passed_before` whether there were others."""

    source_ip: str
    source: str | None
    pool: str | None
    node: str | None
    reporter: str
    mechanism: str
    since: str
    messages: int
    failed: int
    """Messages that did not align by this mechanism."""
    lost: int
    """Messages that failed DMARC."""
    passed_before: bool
    text: str


def failing_streams(days: Iterable[OwnDay], own: Mapping[str, OwnAddress]) -> list[OwnFailure]:
    """Every failing stream, the largest first."""
    streams: dict[tuple[str, str], list[OwnDay]] = defaultdict(list)
    for day in days:
        streams[day.source_ip, day.reporter].append(day)
    found = [
        failure
        for (address, _), seen in streams.items()
        for mechanism in ("dkim", "spf")
        if (failure := _failure(mechanism, sorted(seen, key=lambda day: day.day), own.get(address, OwnAddress())))
    ]
    return sorted(found, key=lambda failure: (-failure.lost, -failure.failed, failure.source_ip, failure.reporter))


def _failure(mechanism: str, days: Sequence[OwnDay], address: OwnAddress) -> OwnFailure | None:
    def failed(day: OwnDay) -> float:
        return day.dkim_failed if mechanism == "dkim" else day.spf_failed

    start = len(days)
    while start > 0 and failed(days[start - 1]) > _BAD_SHARE * days[start - 1].messages:
        start -= 1
    run = days[start:]
    messages, lost = round(sum(day.messages for day in run)), round(sum(day.failed for day in run))
    passed_before = start > 0
    if messages < _FLOOR or not (lost >= _BAD_SHARE * messages or passed_before):
        return None
    since, total = format_instant(run[0].day)[:10], round(sum(map(failed, run)))
    return OwnFailure(
        source_ip=run[0].source_ip,
        source=address.source,
        pool=address.pool,
        node=address.node,
        reporter=run[0].reporter,
        mechanism=mechanism,
        since=since,
        messages=messages,
        failed=total,
        lost=lost,
        passed_before=passed_before,
        text=_sentence(run[0], address, mechanism, since, f"{total} of {messages}", passed_before=passed_before),
    )


def _sentence(
    first: OwnDay, address: OwnAddress, mechanism: str, since: str, amount: str, *, passed_before: bool
) -> str:
    ours = [f"{name} {value}" for name, value in (("pool", address.pool), ("node", address.node)) if value]
    where = f" ({', '.join(ours)})" if ours else ""
    before = "; before that it passed" if passed_before else ", in all reports of the period"
    return (
        f"Our address {first.source_ip}{where} fails {mechanism.upper()} alignment at {first.reporter or 'a reporter'} "
        f"since {since}: {amount} messages{before}."
    )
