"""Expressions can only name what is measured, and measure it in the way its type allows."""

import pytest

from dashboards.promql import metric, quantile, rate, scoped, total
from exporter.errors import CatalogueError


def test_a_metric_that_no_part_declares_fails_the_build_and_names_the_nearest():
    with pytest.raises(CatalogueError, match="did you mean mtascope_provider_events_total"):
        metric("mtascope_provider_event_total")


def test_a_label_that_the_metric_has_not_fails_the_build():
    with pytest.raises(CatalogueError, match="no label tenant"):
        metric("mtascope_window_recipients").where(tenant="a")


def test_grouping_by_a_label_that_the_metric_has_not_fails_the_build():
    with pytest.raises(CatalogueError, match="no label domain"):
        total(metric("mtascope_window_recipients"), "domain")


def test_a_gauge_has_no_rate():
    with pytest.raises(CatalogueError, match="only counters have a rate"):
        rate(metric("mtascope_window_recipients"))


def test_only_histograms_have_quantiles():
    with pytest.raises(CatalogueError, match="no histogram"):
        quantile(0.9, metric("mtascope_store_bytes"))


def test_matchers_are_written_in_the_order_given():
    series = (
        metric("mtascope_window_attempts").where(window="1h", outcome=("deferred", "bounced")).without(provider="other")
    )
    assert str(series) == ('mtascope_window_attempts{window="1h",outcome=~"deferred|bounced",provider!="other"}')


def test_a_scoped_series_keeps_to_job_instance_and_provider():
    assert str(scoped("mtascope_in_flight_recipients")) == (
        'mtascope_in_flight_recipients{job=~"$job",instance=~"$instance",provider=~"$provider"}'
    )


def test_a_scoped_series_without_provider_keeps_to_job_and_instance():
    assert str(scoped("mtascope_store_bytes")) == 'mtascope_store_bytes{job=~"$job",instance=~"$instance"}'


def test_what_the_exporter_collects_from_the_mta_can_be_told_apart_by_node():
    assert total(metric("mtascope_mta_spool_bytes"), "node") == "sum by (node) (mtascope_mta_spool_bytes)"
