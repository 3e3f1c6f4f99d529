"""The boards: valid for Grafana, readable at 3 a.m., and never naming what is not measured."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from dashboards.board import GRID_WIDTH, TAG, Board, queries
from dashboards.boards import BOARDS
from dashboards.build import build_boards
from exporter.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests" / "data" / "grafana"
GENERATED = ROOT / "dashboards" / "generated" / "boards"

every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def schema(name: str, definition: str = "") -> Draft7Validator:
    document = json.loads((SCHEMAS / f"{name}.jsonschema.json").read_bytes())
    if name == "dashboard":  # "any" became "object" there; Grafana's own boards hold strings and numbers too
        document["definitions"]["DynamicConfigValue"]["properties"]["value"] = True
        document["definitions"]["MatcherConfig"]["properties"]["options"] = True
    if definition:
        document["$ref"] = f"#/definitions/{definition}"
    return Draft7Validator(document)


def parsed(board: Board) -> dict:
    return json.loads(board.as_json())


def panels(board: Board) -> list[dict]:
    """Every panel that draws something, those inside repeated rows too."""
    listed = [inner for panel in parsed(board)["panels"] for inner in (panel, *panel.get("panels", []))]
    return [panel for panel in listed if panel["type"] != "row"]


def expressions(board: Board) -> list[str]:
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


def test_the_boards_that_operators_asked_for_exist():
    assert {board.uid for board in BOARDS} == {
        "mtascope-delivery",
        "mtascope-queue",
        "mtascope-infrastructure",
        "mtascope-isp",
        "mtascope-reasons",
        "mtascope-incidents",
        "mtascope-dmarc",
        "mtascope-senders",
        "mtascope-nodes",
        "mtascope-tls",
        "mtascope-collector",
    }


@every_board
def test_building_a_board_twice_gives_the_same_text(board):
    assert board.as_json() == board.as_json()


def test_the_checked_in_boards_are_what_the_code_makes(tmp_path):
    built = {path.name: path.read_text() for path in build_boards(tmp_path)}
    assert {path.name: path.read_text() for path in GENERATED.iterdir()} == built, "run: make generate"


@every_board
def test_a_board_satisfies_the_schema_that_grafana_publishes(board):
    document = parsed(board)
    for panel in panels(board):  # one by one first: a union of panel kinds explains nothing
        assert [error.message for error in schema("dashboard", "Panel").iter_errors(panel)] == []
    assert [error.message[:300] for error in schema("dashboard").iter_errors(document)] == []


@every_board
def test_the_options_of_every_panel_satisfy_the_schema_of_its_kind(board):
    for panel in panels(board):
        assert [e.message for e in schema(panel["type"], "Options").iter_errors(panel["options"])] == []
        if custom := panel["fieldConfig"]["defaults"].get("custom"):
            assert [e.message for e in schema(panel["type"], "FieldConfig").iter_errors(custom)] == []


@every_board
def test_every_query_satisfies_the_schema_of_prometheus_queries(board):
    check = schema("prometheus")
    errors = [e.message for panel in panels(board) for t in panel["targets"] for e in check.iter_errors(t)]
    assert errors == []


@every_board
def test_every_metric_on_a_board_is_in_the_catalogue(board):
    for expr in expressions(board):
        for name in re.findall(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{", expr):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in CATALOGUE or name in CATALOGUE, expr


@every_board
def test_every_panel_says_what_question_it_answers(board):
    for panel in panels(board):
        assert panel["title"], panel
        assert "?" in panel["description"], panel["title"]


@every_board
def test_panel_ids_are_unique(board):
    document = parsed(board)
    ids = [p["id"] for panel in document["panels"] for p in (panel, *panel.get("panels", []))]
    assert len(ids) == len(set(ids))
    assert all(ids)


@every_board
def test_panel_titles_are_unique_so_that_ids_are(board):
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles))


@every_board
def test_panels_lie_on_the_grid_without_overlap(board):
    taken: dict[tuple[int, int], str] = {}
    for panel in parsed(board)["panels"]:
        for placed in (panel, *panel.get("panels", [])):
            place = placed["gridPos"]
            assert place["x"] + place["w"] <= GRID_WIDTH
            for cell in (
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            ):
                assert cell not in taken, f"{placed['title']} lies on {taken.get(cell)}"
                taken[cell] = placed["title"]


@every_board
def test_a_board_asks_at_most_thirty_queries(board):
    assert len(expressions(board)) <= 30


@every_board
def test_every_ratio_reads_as_a_percentage_that_starts_at_zero(board):
    for panel in panels(board):
        if panel["type"] == "table" or not any(is_ratio(target["expr"]) for target in panel["targets"]):
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] == "percentunit", panel["title"]
        assert defaults["min"] == 0, panel["title"]


def is_ratio(expr: str) -> bool:
    """A share has its own metric below the line; a quotient of unlike things (time to drain) has not."""
    above, line, below = expr.partition(" / ")
    names = [set(re.findall(r"\b((?:mtascope|node)_\w+)\{", part)) for part in (above, below)]
    return bool(line) and bool(names[0] & names[1]) and "attempts_total" not in above


@every_board
def test_every_panel_has_words_for_no_data(board):
    assert all(panel["fieldConfig"]["defaults"]["noValue"] == "no data" for panel in panels(board))


@every_board
def test_every_unit_is_one_that_grafana_knows(board):
    document = json.loads((SCHEMAS / "units.jsonschema.json").read_bytes())
    known = {definition.get("const") for definition in document["definitions"].values()}
    assert {panel["fieldConfig"]["defaults"].get("unit", "short") for panel in panels(board)} <= known


@every_board
def test_all_data_comes_from_the_chosen_data_source(board):
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(board):
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])


@every_board
def test_the_data_source_can_be_chosen(board):
    first = parsed(board)["templating"]["list"][0]
    assert (first["name"], first["label"], first["type"], first["query"]) == (
        "datasource",
        "Data source",
        "datasource",
        "prometheus",
    )


@every_board
@pytest.mark.parametrize("name", ["job", "instance"])
def test_jobs_and_instances_can_be_chosen_several_at_a_time(board, name):
    variable = next(v for v in parsed(board)["templating"]["list"] if v["name"] == name)
    assert (variable["multi"], variable["includeAll"], variable["allValue"], variable["refresh"]) == (
        True,
        True,
        ".+",
        2,
    )
    assert variable["datasource"]["uid"] == "${datasource}"


@every_board
def test_every_selector_keeps_to_the_chosen_job_and_instance(board):
    for expr in expressions(board):
        for selector in re.findall(r"\b(?!ALERTS)[a-zA-Z_:][a-zA-Z0-9_:]*\{([^}]*)\}", expr):
            assert 'job=~"$job",instance=~"$instance"' in selector, expr


@every_board
def test_a_board_uses_only_variables_that_it_offers(board):
    offered = {variable["name"] for variable in parsed(board)["templating"]["list"]}
    used = {name for expr in expressions(board) for name in re.findall(r"\$(\w+)", expr) if not name.startswith("__")}
    assert used <= offered


@every_board
def test_counters_are_read_only_through_rate_or_increase(board):
    for expr in expressions(board):
        for name in re.findall(r"\w+_total\b", expr):
            if CATALOGUE[name].type == "counter":  # KumoMTA has gauges of such names
                asked = re.findall(rf"(\w*)\(?{name}\b", expr)
                assert set(asked) <= {"rate", "increase"}, expr


@every_board
def test_graphs_take_rates_over_the_interval_that_fits_the_screen(board):
    for panel in panels(board):
        if panel["type"] == "timeseries":
            for target in panel["targets"]:
                assert set(re.findall(r"\[([^\]]+)\]", target["expr"])) <= {"$__rate_interval"}, panel["title"]


@every_board
def test_boards_link_to_each_other_and_keep_time_and_variables(board):
    (link,) = parsed(board)["links"]
    assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == ("dashboards", [TAG], True, True)
    assert TAG in parsed(board)["tags"]


@every_board
def test_a_board_cannot_be_edited_away_from_its_code(board):
    assert parsed(board)["editable"] is False


@every_board
def test_queries_come_with_every_variable_filled_in(board):
    asked = queries(board.as_json())
    assert len(asked) == len(expressions(board))
    assert not [expr for _, expr in asked if "$" in expr]


def test_queries_ask_about_the_provider_that_the_caller_names():
    delivery = next(board for board in BOARDS if board.uid == "mtascope-delivery")
    asked = queries(delivery.as_json(), {"provider": "gmail", "window": "5m"})
    assert any('provider=~"gmail",window="5m"' in expr for _, expr in asked)


def test_each_provider_has_a_row_and_the_big_three_stay_open():
    document = parsed(next(board for board in BOARDS if board.uid == "mtascope-isp"))
    assert [panel["title"] for panel in document["panels"] if panel["type"] == "stat"] == [
        "Gmail delivery rate",
        "Outlook delivery rate",
        "Yahoo delivery rate",
    ]
    assert [(row["repeat"], row["collapsed"]) for row in document["panels"] if row.get("repeat")] == [
        ("provider", True)
    ]
