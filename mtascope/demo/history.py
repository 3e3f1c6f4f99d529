"""Four weeks of plausible mail before the demo began: what the watch for incidents learns from.

The demo's own mail is real: sent, delivered, logged, collected. A month of it could not be sent in a few seconds, so
the past exists only as the counts by step that the watch is fed (`analytics/steps.py`). No recipient, event or figure
is made up, and everything that is counted against each other in the reckoning begins at zero.

The past has the habits of the same providers, campaigns and rates, a rhythm of day and week, and clumps; it meets the
run at the volume that the run will have. It follows from the seed (`data/history.sql`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from importlib.resources import files

import duckdb

from analytics.steps import STEP
from mta.events.classifier import ReplyClassifier
from mta.events.instants import DAY
from mta.events.reply import SmtpReply
from mta.events.taxonomy import Taxonomy
from mtascope.demo.campaigns import Campaigns
from mtascope.demo.providers import Behaviour, Profile

__all__ = ["WEEKS", "Habit", "habits", "write_history"]

WEEKS = 4


@dataclass(frozen=True, slots=True)
class Habit:
    """What mail of one campaign to one provider does: mails a step, and what becomes of each of them."""

    name: str
    provider: str
    tenant: str
    pool: str
    mails: float
    lost: float
    """Share that bounces, but for what the provider refuses for who we are."""
    refused: float
    deferrals: float
    """Attempts put off, a mail."""
    complaints: float


def habits(
    profiles: Iterable[Profile], campaigns: Campaigns, a_step: float, classifier: ReplyClassifier, taxonomy: Taxonomy
) -> Iterator[Habit]:
    """Every campaign at every provider, where `a_step` mails are sent in 5 minutes."""
    profiles = list(profiles)
    whole = sum(one.weight for one in profiles) * sum(one.weight for one in campaigns.campaigns)
    for profile in profiles:
        refusals = [one for one in profile.behaviours if one.code >= 500]
        blocks = [one for one in refusals if _severity(one, profile, classifier, taxonomy) == "block"]
        deferrals = sum(one.share * one.attempts for one in profile.behaviours if one.code < 500)
        refused = sum(one.share for one in blocks)
        lost = sum(one.share for one in refusals) - refused
        for one in campaigns.campaigns:
            mails = a_step * profile.weight * one.weight / whole
            yield Habit(
                one.name, profile.name, one.tenant, one.pool, mails, lost, refused, deferrals, profile.complaint_share
            )


def write_history(con: duckdb.DuckDBPyConnection, past: Iterable[Habit], until: int, seed: int) -> None:
    """Append the counts of the four weeks before `until`."""
    end = until // STEP * STEP
    con.execute(
        "CREATE OR REPLACE TEMP TABLE habit (name VARCHAR, provider VARCHAR, tenant VARCHAR, pool VARCHAR, "
        "mails DOUBLE, lost DOUBLE, refused DOUBLE, deferrals DOUBLE, complaints DOUBLE)"
    )
    con.executemany("INSERT INTO habit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [astuple(one) for one in past])
    con.execute("SET VARIABLE seed = ?", [seed])
    con.execute("SET VARIABLE since = make_timestamp(?)", [end - WEEKS * 7 * DAY])
    con.execute("SET VARIABLE until = make_timestamp(?)", [end])
    con.execute((files("mtascope.demo") / "data" / "history.sql").read_text("utf8"))
    con.execute("DROP TABLE habit")


def _severity(one: Behaviour, profile: Profile, classifier: ReplyClassifier, taxonomy: Taxonomy) -> str:
    text = " ".join(line[4:] for line in one.reply.split("\r\n")).replace("{ip}", "192.0.2.1")
    return taxonomy[classifier.classify(SmtpReply(one.code, None, text), provider=profile.name).bounce_class].severity
