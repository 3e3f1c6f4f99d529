"""Panel factories: each makes one kind of panel look and behave the same on every board.

A panel is finished except for its id and its place, which the board gives it. Every factory returns a new object: the
SDK's builders share what they are handed, so nothing built is ever used twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

from dashboards.palette import BAD, GOOD, NEUTRAL, OUTCOMES, WATCH
from dashboards.rates import Share
from dashboards.thresholds import Line

__all__ = ["DATASOURCE", "Column", "Query", "bars", "graph", "number", "provider_table", "ranking", "verdict"]

DATASOURCE = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
NO_DATA = "no data"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel; `legend` names its series (Grafana's `{{label}}` is filled in)."""

    expr: str
    legend: str = ""
    instant: bool = False
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a title, an instant expression by provider, and how its values read."""

    title: str
    expr: str
    unit: str = "short"
    verdict: bool = False


def number(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    line: Line | None = None,
    colour: str = NEUTRAL,
    names: Mapping[str, str] | None = None,
    sparkline: bool = True,
) -> stat.Panel:
    """One number: now, with its recent course behind it. `names` puts words in place of values."""
    panel = _stat(title, description, unit).with_target(_target(Query(expr, title), "A"))
    panel.graph_mode(
        common_model.BigValueGraphMode.AREA if sparkline else common_model.BigValueGraphMode.NONE
    ).thresholds(_steps(line, colour))
    if unit == "percentunit":
        panel.min(0)
    return panel.mappings([_words(names)]) if names else panel


def verdict(title: str, description: str, share: Share) -> stat.Panel:
    """A share with its verdict: coloured by its line where volume allows one, else plain and marked as too few.

    One of its two queries answers at a time; the name under the number says which, and where the line is.
    """
    few = f"too few to judge (needs {share.line.floor})"
    panel = _stat(title, f"{description}\n\nComputed as {share.meaning}.", "percentunit")
    return (
        panel.min(0)
        .max(1)
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .text_mode(common_model.BigValueTextMode.VALUE_AND_NAME)
        .thresholds(_steps(share.line))
        .with_target(_target(Query(share.judged, str(share.line), instant=True), "A"))
        .with_target(_target(Query(share.unjudged, few, instant=True), "B"))
        .override_by_query("B", [_fixed(NEUTRAL), _property("displayName", few)])
    )


def graph(
    title: str,
    description: str,
    queries: Iterable[Query],
    *,
    unit: str = "short",
    line: Line | None = None,
    stacked: bool = False,
    outcomes: Iterable[str] = (),
    below_zero: str = "",
) -> timeseries.Panel:
    """Lines or, stacked, areas over time.

    `outcomes` are series named as in the palette, which colours them; `line` draws the bounds that alerts use;
    `below_zero` is a pattern of series drawn downwards.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(NO_DATA)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(common_model.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(_tooltip())
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .thresholds(_steps(line))
        .thresholds_style(_dashed(shown=line is not None))
    )
    if not below_zero:
        panel.min(0)
    if unit == "percentunit":
        panel.max(1)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    for outcome in outcomes:
        panel.override_by_name(outcome, [_fixed(OUTCOMES[outcome])])
    if below_zero:
        panel.override_by_regexp(below_zero, [_property("custom.transform", "negative-Y")])
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(query, ref))
    return panel


def bars(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str = "short",
    outcomes: Iterable[str] = (),
    line: Line | None = None,
) -> bargauge.Panel:
    """One bar for each series, now."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .no_value(NO_DATA)
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .display_mode(common_model.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
        .thresholds(_steps(line, "blue"))
        .with_target(_target(Query(query.expr, query.legend, instant=True), "A"))
    )
    for outcome in outcomes:
        panel.override_by_name(outcome, [_fixed(OUTCOMES[outcome])])
    return panel


def provider_table(title: str, description: str, columns: Iterable[Column], *, link: str) -> table.Panel:
    """One row for each provider, joined from one instant query a column; the name leads to `link`."""
    panel = ranking(title, description, "provider", columns)
    return panel.override_by_name("Provider", [_property("links", [{"title": "Open this provider", "url": link}])])


def ranking(title: str, description: str, key: str, columns: Iterable[Column]) -> table.Panel:
    """One row for each value of the label `key`, joined from one instant query a column, the largest first."""
    listed = tuple(zip("ABCDEFGHIJ", columns, strict=False))
    panel = table.Panel().title(title).description(description).datasource(DATASOURCE).no_value(NO_DATA)
    panel.align(common_model.FieldTextAlignment.AUTO).filterable(filterable=True).thresholds(_steps(None))
    panel.with_transformation(
        model.DataTransformerConfig(id_val="joinByField", options={"byField": key, "mode": "outer"})
    )
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {f"Time {n}": True for n in range(1, len(listed) + 1)} | {"Time": True},
                "renameByName": {key: key.capitalize()} | {f"Value #{ref}": column.title for ref, column in listed},
            },
        )
    )
    for ref, column in listed:
        panel.with_target(_target(Query(column.expr, instant=True), ref, table_format=True))
        panel.override_by_name(column.title, _column_looks(column))
    return panel.sort_by([common.TableSortByFieldState().display_name(listed[0][1].title).desc(desc=True)])


VERDICT_WORDS = {"0": ("fine", GOOD), "1": ("watch", WATCH), "2": ("bad", BAD)}


def _column_looks(column: Column) -> list[model.DynamicConfigValue]:
    looks = [_property("unit", column.unit)]
    if column.unit == "percentunit":
        looks.append(_property("min", 0))
    if column.verdict:
        words = {value: {"text": text, "color": colour} for value, (text, colour) in VERDICT_WORDS.items()}
        looks += [
            _property("mappings", [{"type": "value", "options": words}]),
            _property("custom.cellOptions", {"type": "color-text"}),
            _property("noValue", "too few"),
        ]
    return looks


def _stat(title: str, description: str, unit: str) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(NO_DATA)
        .color_mode(common_model.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    )


def _target(query: Query, ref: str, *, table_format: bool = False) -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(DATASOURCE).ref_id(ref).expr(query.expr)
    target.editor_mode(prometheus_model.QueryEditorMode.CODE)
    if query.legend:
        target.legend_format(query.legend)
    if table_format:
        target.format(prometheus_model.PromQueryFormat.TABLE)
    return target.instant() if query.instant else target.range()


def _steps(line: Line | None, base: str = GOOD) -> dashboard.ThresholdsConfig:
    """The line as Grafana's steps, from minus infinity upwards."""
    if line is None:
        steps = [model.Threshold(None, base)]
    elif line.warning == line.critical:
        steps = [model.Threshold(None, GOOD), model.Threshold(line.critical, BAD)]
    elif line.high_is_bad:
        steps = [model.Threshold(None, GOOD), model.Threshold(line.warning, WATCH), model.Threshold(line.critical, BAD)]
    else:
        steps = [model.Threshold(None, BAD), model.Threshold(line.critical, WATCH), model.Threshold(line.warning, GOOD)]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _words(names: Mapping[str, str]) -> model.ValueMap:
    return model.ValueMap({value: model.ValueMappingResult(text=text) for value, text in names.items()})


def _fixed(colour: str) -> model.DynamicConfigValue:
    return _property("color", {"mode": "fixed", "fixedColor": colour})


def _property(name: str, value: Any) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(common_model.LegendDisplayMode.LIST)
        .placement(common_model.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI).sort(common_model.SortOrder.DESCENDING)
    )


def _dashed(*, shown: bool) -> common.GraphThresholdsStyleConfig:
    mode = common_model.GraphThresholdsStyleMode
    return common.GraphThresholdsStyleConfig().mode(mode.DASHED if shown else mode.OFF)
