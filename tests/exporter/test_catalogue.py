"""One catalogue: every metric once, documented, and found by name."""

from pathlib import Path

import pytest

from exporter.catalogue import CATALOGUE, Catalogue, Metric, Section
from exporter.errors import CatalogueError

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def section(*names: str, title: str = "A part") -> Section:
    return Section(title, "From a test.", tuple(Metric(name, "gauge", "A number.") for name in names))


def test_the_documentation_page_is_what_the_code_makes():
    assert PAGE.read_text() == CATALOGUE.as_markdown(), "run: make generate"


def test_a_metric_that_two_parts_declare_is_refused():
    with pytest.raises(CatalogueError, match="a_number is declared twice"):
        Catalogue(section("a_number"), section("a_number", title="Another part"))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(CatalogueError, match="did you mean queue_depth"):
        Catalogue(section("queue_depth"))["queue_dept"]


def test_a_label_that_a_metric_has_not_is_refused():
    with pytest.raises(CatalogueError, match="up has no label provider"):
        CATALOGUE.check_labels("up", {"provider": "gmail", "job": "mtascope"})


def test_live_facts_of_the_mta_carry_the_node_that_the_exporter_adds():
    assert CATALOGUE["mtascope_mta_queue_messages"].labels == ("node", "state")


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda metric: metric.name)
def test_names_begin_with_their_part(metric):
    ours = metric.name.startswith(("mtascope_", "mtascope_mta_", "mtascope_collector_", "mtascope_dmarc_"))
    assert ours != metric.foreign


def test_no_label_could_hold_a_person_or_a_message():
    labels = {label for metric in CATALOGUE.values() for label in metric.labels}
    assert not labels & {"recipient", "sender", "queue_id", "message_id", "text", "reply", "address"}
