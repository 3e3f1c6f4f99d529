"""People may ask in SQL, and can do nothing with it but ask."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.errors import QueryRefused, QueryTooLong
from analytics.explore import check, explore
from analytics.rates import Question, ask
from analytics.store import Store
from analytics.views import VIEWS
from mta.events.event import Event, EventType
from mta.events.intake import Batch
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000
DOCS = Path(__file__).parents[2] / "docs" / "sql.md"


@pytest.fixture
def told(store: Store) -> Store:
    """Three mails: two arrived, one bounced."""
    for number, (kind, code, text) in enumerate(
        ((EventType.DELIVERY, 250, "ok"), (EventType.DELIVERY, 250, "ok"), (EventType.BOUNCE, 550, "no such user"))
    ):
        common: dict[str, Any] = {"node": "n", "mta": "kumomta", "queue_id": f"q{number}", "created": START}
        mail = Event(type=kind, time=START + number, recipient=f"u{number}@gmail.com", attempt=1,
                     reply=SmtpReply(code, None, text), **common)  # fmt: skip
        store.load(Batch("test", [(mail,)]))
    return store


def test_a_view_tells_what_the_rates_tell(told: Store) -> None:
    table = explore(told, "SELECT provider, outcome, sum(n) AS mails FROM v_recipient GROUP BY ALL ORDER BY ALL")
    assert table.columns == ("provider", "outcome", "mails")
    assert table.rows == [("gmail", "bounced", 1), ("gmail", "delivered", 2)]
    [row] = ask(told, Question(by=()))
    assert (row.counts["delivered"], row.counts["bounced"]) == (2, 1)


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_answers_with_its_columns_and_is_documented(told: Store, name: str) -> None:
    table = explore(told, f"SELECT * FROM {name}")
    assert table.columns == tuple(VIEWS[name].columns)
    assert f"## {name}" in DOCS.read_text("utf8")
    for column in table.columns:
        assert f"`{column}`" in DOCS.read_text("utf8"), column


def test_ctes_subqueries_joins_and_series_are_answered(told: Store) -> None:
    text = """
        WITH failed AS (SELECT recipient_id, reply FROM v_event WHERE type = 'bounce')
        SELECT failed.reply, (SELECT count(*) FROM range(3)) FROM failed JOIN v_recipient USING (recipient_id)
    """
    assert explore(told, text).rows == [("no such user", 3)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM event",
        "SELECT * FROM main.v_event",
        "SELECT * FROM unit, v_event",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd.csv'",
        "FROM 'store.parquet'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM query('SELECT 1')",
        "WITH event AS (SELECT 1) SELECT * FROM (WITH x AS (FROM event) FROM x), event",
        "SELECT * FROM (WITH \"/etc/passwd.csv\" AS (SELECT 1) SELECT 1), '/etc/passwd.csv'",
        "WITH a AS MATERIALIZED (FROM read_blob('/etc/passwd')) FROM a",
        "SELECT nextval('dmarc.report_block')",
        "SELECT current_setting('temp_directory')",
        "DELETE FROM event",
        "SELECT 1; DROP TABLE event",
        "COPY v_event TO '/tmp/x'",
        "ATTACH '/tmp/x'",
        "SHOW TABLES",
        "SELECT nothing FROM v_event",
        "SELECT",
        "",
    ],
)
def test_whatever_is_no_select_over_the_views_is_refused(told: Store, text: str) -> None:
    with pytest.raises(QueryRefused):
        explore(told, text)
    assert told.query("SELECT count(*) FROM event") == [(3,)]


def test_a_query_that_takes_too_long_is_stopped(told: Store) -> None:
    endless = "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = 7"
    with pytest.raises(QueryTooLong, match=r"longer than 0\.2 s"):
        explore(told, endless, seconds=0.2)


def test_an_answer_is_cut_at_its_limit_and_says_so(told: Store) -> None:
    assert [explore(told, "SELECT * FROM v_event", limit=n).cut for n in (2, 3)] == [True, False]


WORDS = ["SELECT", "*", "FROM", "event", "v_event", "(", ")", ",", "WITH", "AS", "x", "'a.csv'", "UNION", "unit", "1"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_text_is_answered_or_refused_by_name(told: Store, text: str) -> None:
    with closing(told.cursor()) as con, suppress(QueryRefused):
        check(con, text)
        assert "'a.csv'" not in text
        assert not {"event", "unit"} & set(text.split()) or "v_event" in text
