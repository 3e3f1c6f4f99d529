"""The reckoning: who agrees with whom, and which differences have a name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from mtascope.demo.reckoning import reckon


@dataclass
class Log:
    types: Counter[str] = field(default_factory=Counter)
    local: Counter[str] = field(default_factory=Counter)


RETURNED = {"made": 0, "pending": 0, "sent": 0, "refused": 0, "unknown": 0, "dropped": 0}


def provider(**counts: Any) -> dict[str, Any]:
    known = dict.fromkeys(
        ("unique", "doubles", "repeats", "deferred", "rejected", "connections_refused", "connections_most"), 0
    )
    return {**known, "complaints": RETURNED, "late_bounces": RETURNED, **counts}


def a_run() -> dict[str, Any]:
    """Ten recipients: seven taken (one returned, one complained about), two refused, one still deferred."""
    return {
        "generator": {"accepted": 10, "unknown": 0},
        "providers": {
            "providers": {
                "gmail": provider(unique=5, deferred=3, rejected=2),
                "yahoo": provider(unique=1, complaints={**RETURNED, "sent": 1}),
                "other": provider(unique=1, late_bounces={**RETURNED, "sent": 1}),
            }
        },
        "log": Log(
            Counter(Reception=10, Delivery=7, TransientFailure=4, Bounce=2, Feedback=1, OOB=1),
            Counter(TransientFailure=1),
        ),
        "total": {
            "injected": 10,
            "in_flight": 1,
            "delivered": 7,
            "bounced": 2,
            **dict.fromkeys(("expired", "admin_bounced", "suppressed", "transferred"), 0),
            "attempt_deferrals": 3,
            "attempt_bounces": 2,
            "complained": 1,
            "oob_bounced": 1,
        },
        "rates": [
            {"provider": "gmail", "delivered": 5},
            {"provider": "yahoo", "delivered": 1},
            {"provider": "mx:smallhost.example", "delivered": 1},
        ],
        "metrics": {
            "reception/local": 10.0,
            "delivery/remote": 7.0,
            "deferral/remote": 3.0,
            "deferral/local": 1.0,
            "bounce/remote": 2.0,
            "complaint/remote": 1.0,
            "oob_bounce/remote": 1.0,
        },
    }


def differing(run: dict[str, Any], **changes: Any) -> list[str]:
    return [line["what"] for line in reckon(**{**run, **changes}) if not line["agrees"]]


def test_when_all_counted_alike_every_line_agrees() -> None:
    lines = reckon(**a_run())
    assert all(line["agrees"] for line in lines)
    assert all(line["because"] is None for line in lines)
    assert lines[0]["counts"] == {"generator": 10, "log": 10, "store": 10, "metrics": 10}


def test_without_a_scrape_the_others_are_compared() -> None:
    lines = reckon(**{**a_run(), "metrics": None})
    assert all(line["agrees"] and "metrics" not in line["counts"] for line in lines)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (("generator", "accepted"), "recipients that the MTA accepted"),
        (("log", "Delivery"), "recipients that providers took"),
        (("log", "TransientFailure"), "attempts that providers deferred"),
        (("log", "Bounce"), "recipients that providers rejected"),
        (("log", "Feedback"), "complaints that came back by mail"),
        (("log", "OOB"), "late bounces that came back by mail"),
        (("log", "Expiration"), "recipients given up after deferrals"),
        (("total", "in_flight"), "injected is the sum of the outcomes"),
        (("metrics", "delivery/remote"), "recipients that providers took"),
        (("gmail", "unique"), "recipients that providers took"),
        (("gmail", "rejected"), "recipients that providers rejected"),
        (("gmail", "doubles"), "recipients that providers judged twice"),
    ],
)
def test_one_count_too_many_on_any_side_is_found(path: tuple[str, str], what: str) -> None:
    run = a_run()
    side, name = path
    counts = (
        run["log"].types if side == "log" else run["providers"]["providers"]["gmail"] if side == "gmail" else run[side]
    )
    counts[name] += 1
    assert what in differing(run)


def test_a_provider_whose_mail_is_booked_under_another_is_found() -> None:
    run = a_run()
    run["rates"][0]["delivered"], run["rates"][1]["delivered"] = 4, 2
    assert differing(run) == ["providers whose deliveries are told alike"]


def test_lost_replies_explain_what_the_generator_could_not_know() -> None:
    run = a_run()
    run["generator"] = {"accepted": 8, "unknown": 2}
    line = reckon(**run)[0]
    assert line["agrees"]
    assert line["difference"] == 2
    assert "before the generator could read the reply" in line["because"]
    run["generator"] = {"accepted": 7, "unknown": 2}
    assert differing(run) == ["recipients that the MTA accepted"]


def test_refused_connections_explain_deferrals_that_no_provider_judged() -> None:
    run = a_run()
    run["providers"]["providers"]["gmail"] = provider(unique=5, deferred=2, rejected=2, connections_refused=1)
    assert differing(run) == []


def test_doubles_and_lost_records_are_explained_by_a_restart_and_by_nothing_else() -> None:
    run = a_run()
    run["providers"]["providers"]["gmail"] = provider(
        unique=5, deferred=4, rejected=3, repeats=1, doubles=1, connections_most=2
    )
    assert differing(run) == ["recipients that providers judged twice", "attempts that providers deferred"]
    assert differing(run, restarts=1) == []
    run["providers"]["providers"]["gmail"]["connections_most"] = 0
    assert differing(run, restarts=1), "more was judged twice than can have been under way"
