"""The demo's summary: what the store says, and whether everybody who counted on their own agrees with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from exporter.alerting.words import details, sentence
from mtascope.demo.log_counts import LogCounts
from mtascope.demo.reckoning import reckon

__all__ = ["describe", "summarise"]

_OUTCOMES = ("in_flight", "delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred")


def summarise(  # noqa: PLR0913
    *,
    generator: Mapping[str, Any],
    providers: Mapping[str, Any],
    log: LogCounts,
    status: Mapping[str, Any],
    rates: Sequence[Mapping[str, Any]],
    total: Mapping[str, Any],
    incidents: Sequence[Mapping[str, Any]] = (),
    page: str,
    urls: Mapping[str, str],
    restarts: Mapping[str, int],
) -> dict[str, Any]:
    """Everything that `mtascope demo --json` prints."""
    receipt = status["collector"]["receipt"]
    agreement = reckon(
        generator=generator,
        providers=providers,
        log=log,
        total=total,
        rates=rates,
        metrics=_page_counts(page),
        restarts=sum(restarts.values()),
    )
    adds_up = total["injected"] == sum(total[name] for name in _OUTCOMES)
    return {
        "injected": total["injected"],
        **{name: total[name] for name in _OUTCOMES},
        "identity_holds": adds_up and status["store"]["identity_holds"] and all(line["agrees"] for line in agreement),
        "attempts": total["attempts"] + total["local_attempts"],
        "events_stored": status["store"]["events"],
        "duplicates": receipt["duplicates"],
        "quarantined": receipt["quarantined"],
        "restarts": dict(restarts),
        "agreement": agreement,
        "providers": {
            row["provider"]: {name: row[name] for name in ("injected", "delivered", "bounced", "deferred")}
            for row in rates
        },
        "incidents": list(incidents),
        "urls": dict(urls),
    }


def _page_counts(page: str) -> dict[str, float]:
    """Sums of the provider event counters on `/metrics`, by `type/origin`."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        if family.name == "mtascope_provider_events":
            for sample in family.samples:
                key = f"{sample.labels['type']}/{sample.labels['origin']}"
                sums[key] = sums.get(key, 0.0) + sample.value
    return sums


def describe(summary: Mapping[str, Any]) -> str:
    """The summary for people."""
    outcomes = ", ".join(f"{name} {summary[name]}" for name in _OUTCOMES if summary[name])
    events = ", ".join(f"{name.replace('_', ' ')} {summary[name]}" for name in ("attempts", "events_stored"))
    kept = ", ".join(f"{name} {summary[name]}" for name in ("duplicates", "quarantined"))
    lines = [f"injected {summary['injected']}: {outcomes}", f"{events}, {kept}", ""]
    for line in summary["agreement"]:
        mark = "agrees " if line["agrees"] else "DIFFERS"
        lines.append(f"  {mark}  {line['what']}: " + ", ".join(f"{who} {n}" for who, n in line["counts"].items()))
        if line["because"]:
            lines.append(f"           {line['because']}")
    lines.append("")
    for row in summary["incidents"]:
        lines += [f"  incident {sentence(row)}", *(f"           {line}" for line in details(row))]
    lines.append("the counting identity holds" if summary["identity_holds"] else "THE COUNTS DO NOT AGREE")
    return "\n".join(lines)
