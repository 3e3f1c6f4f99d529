"""A board as a picture: what its panels would show, drawn from a Prometheus server's answers.

This is no Grafana. It is a small renderer of the four kinds of panel that our boards have (number, graph, bars, table),
made so that somebody who reads the documentation sees what a board looks like with data in it; the page says so.
Colours, thresholds, units and the grid come from the board's own JSON. Whoever calls brings the answers:
nothing is asked here.
"""

from __future__ import annotations

import html
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.board import GRID_WIDTH, Board

__all__ = ["WIDTH", "Ask", "Series", "draw_board", "readable", "series_of"]

_COLOURS = {
    "green": "#56a64b", "red": "#e0434f", "orange": "#ff9830", "yellow": "#e6c325", "blue": "#5794f2",
    "light-blue": "#8ab8ff", "semi-dark-blue": "#3274d9", "dark-blue": "#1f60c4", "super-light-blue": "#c0d8ff",
    "dark-purple": "#8f3bb8", "text": "#d0d4dc",
}  # fmt: skip
_PALETTE = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642",
            "#cca300", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477")  # fmt: skip
_UNIT_STEP = {"bytes": 1024, "Bps": 1024}
WIDTH = 1440
"""Pixels that a page is wide."""
_ROW_HEIGHT = 30
_TOP_SERIES = 12
"""A legend with more would hide the graph."""

_STYLE = """
body{background:#111217;color:#d0d4dc;font:13px/1.4 system-ui,sans-serif;margin:0;width:1440px}
h1{font-size:20px;font-weight:500;margin:14px 12px 2px}p.note{color:#8e949f;margin:0 12px 8px}
.panel{position:absolute;box-sizing:border-box;padding:2px 4px}.in{background:#181b1f;border:1px solid #2c3036;
border-radius:3px;height:100%;box-sizing:border-box;padding:6px 8px;overflow:hidden}
.title{font-weight:500;font-size:13px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row{font-weight:500;font-size:15px;padding:6px 8px}
.big{font-size:30px;font-weight:500;text-align:center;padding-top:12px}
.sub{color:#8e949f;text-align:center;font-size:11px}.none{color:#8e949f;text-align:center;padding-top:24px}
table{border-collapse:collapse;width:100%;font-size:12px}
td,th{padding:3px 8px;text-align:right;border-bottom:1px solid #25292e}
td:first-child,th:first-child{text-align:left}.legend{font-size:11px;line-height:1.35;color:#b5bac4}
.legend i{display:inline-block;width:10px;height:3px;margin:0 4px 3px 8px}
.bar{display:flex;align-items:center;margin:3px 0}
.bar b{width:38%;font-weight:400;overflow:hidden;white-space:nowrap;text-overflow:ellipsis;font-size:12px}
.bar u{height:14px;border-radius:2px;display:block}.bar s{text-decoration:none;padding-left:6px;font-size:12px}
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of an answer: its name as the legend writes it, its labels, and (instant in seconds, value) pairs."""

    name: str
    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


def series_of(target: Mapping[str, Any], found: Mapping[str, Any]) -> Series:
    """One entry of `result` in Prometheus' answer, named as the target's legend says."""
    labels = found["metric"]
    legend = target.get("legendFormat", "") or ", ".join(labels.values())
    name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda label: str(labels.get(label[1], "")), legend)
    points = found.get("values") or [found["value"]]
    return Series(name.strip(), labels, tuple((float(moment), float(value)) for moment, value in points))


Ask = Callable[[dict[str, Any]], list[Series]]
"""The answer to a panel's target."""


def draw_board(board: Board, ask: Ask) -> str:
    """The page of a board."""
    document = json.loads(board.as_json())
    panels = document["panels"]  # those inside a repeated row stay closed, as they do in Grafana
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    drawn = "".join(_placed(panel, ask) for panel in panels)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(board.title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(board.title)}</h1>"
        f'<p class="note">{html.escape(board.description)} A rendering of this board over data of the demo, not a '
        f'screenshot of Grafana.</p><div style="position:relative;height:{bottom * _ROW_HEIGHT + 8}px">{drawn}</div>'
        "</html>"
    )


def _placed(panel: dict[str, Any], ask: Ask) -> str:
    grid, column = panel["gridPos"], WIDTH / GRID_WIDTH
    place = (
        f"left:{grid['x'] * column:.0f}px;top:{grid['y'] * _ROW_HEIGHT}px;"
        f"width:{grid['w'] * column:.0f}px;height:{grid['h'] * _ROW_HEIGHT}px"
    )
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        mark = "&#9656;" if panel.get("collapsed") else "&#9662;"
        return f'<div class="panel row" style="{place}">{mark} {title}</div>'
    answers = [ask(target) for target in panel["targets"]]
    draw = {"stat": _number, "timeseries": _graph, "bargauge": _bars, "table": _table}[panel["type"]]
    inside = draw(panel, answers)
    return f'<div class="panel" style="{place}"><div class="in"><div class="title">{title}</div>{inside}</div></div>'


# --- the four kinds ---


def _number(panel: dict[str, Any], answers: list[list[Series]]) -> str:
    for answer, target in zip(answers, panel["targets"], strict=True):
        if answer:
            value = answer[0].last
            judged = not target.get("legendFormat", "").startswith("too few")
            colour = _threshold(panel, value) if judged else _COLOURS["text"]
            words = _mapped(panel, value) or readable(value, _unit(panel))
            under = target.get("legendFormat", "") if len(answers) > 1 else ""
            return f'<div class="big" style="color:{colour}">{words}</div><div class="sub">{html.escape(under)}</div>'
    return _none(panel)


def _graph(panel: dict[str, Any], answers: list[list[Series]]) -> str:
    series = sorted((one for answer in answers for one in answer), key=lambda one: -one.last)[:_TOP_SERIES]
    if not series:
        return _none(panel)
    series.sort(key=lambda one: one.name)
    width = panel["gridPos"]["w"] * WIDTH / GRID_WIDTH - 28
    height = panel["gridPos"]["h"] * _ROW_HEIGHT - 62
    stacked = panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking", {}).get("mode") == "normal"
    times = sorted({moment for one in series for moment, _ in one.points})
    columns = [dict(one.points) for one in series]
    below = [_is_below(panel, one.name) for one in series]
    lines: list[tuple[list[float], list[float]]] = []
    floor = [0.0] * len(times)
    for column, under in zip(columns, below, strict=True):
        values = [column.get(moment, 0.0 if stacked else math.nan) * (-1 if under else 1) for moment in times]
        top = [low + value for low, value in zip(floor, values, strict=True)] if stacked else values
        lines.append((floor if stacked else [0.0] * len(times), top))
        floor = top if stacked else floor
    known = [value for _, top in lines for value in top if not math.isnan(value)] or [0.0]
    highest, lowest = max(*known, 0.0), min(*known, 0.0)
    highest = highest if highest > lowest else lowest + 1
    x = [_along(moment, times[0], times[-1], 44, width) for moment in times]

    def y(value: float) -> float:
        return float(6 + (height - 22) * (highest - value) / (highest - lowest))

    drawn = [_axis(value, y(value), width, _unit(panel)) for value in (lowest, (highest + lowest) / 2, highest)]
    for (base, top), one, number in zip(lines, series, range(len(series)), strict=True):
        drawn.append(_line(x, base, top, y, _series_colour(panel, one.name, number), filled=stacked))
    clock = (
        f'<text x="44" y="{height - 2:.0f}" fill="#8e949f" font-size="10">{_clock(times[0])}</text>'
        f'<text x="{width:.0f}" y="{height - 2:.0f}" fill="#8e949f" font-size="10" text-anchor="end">'
        f"{_clock(times[-1])}</text>"
    )
    legend = "".join(
        f'<i style="background:{_series_colour(panel, one.name, number)}"></i>{html.escape(one.name)}'
        for number, one in enumerate(series)
    )
    picture = f'<svg width="{width:.0f}" height="{height:.0f}">{"".join(drawn)}{clock}</svg>'
    return f'{picture}<div class="legend">{legend}</div>'


def _bars(panel: dict[str, Any], answers: list[list[Series]]) -> str:
    series = sorted((one for answer in answers for one in answer), key=lambda one: -one.last)
    if not series:
        return _none(panel)
    room = max(1, int((panel["gridPos"]["h"] * _ROW_HEIGHT - 40) / 20))
    highest = max(one.last for one in series) or 1
    return "".join(
        f'<div class="bar"><b>{html.escape(one.name)}</b>'
        f'<u style="width:{max(0.5, 44 * one.last / highest):.1f}%;background:'
        f'{_series_colour(panel, one.name, 5)}"></u><s>{readable(one.last, _unit(panel))}</s></div>'
        for one in series[:room]
    )


def _table(panel: dict[str, Any], answers: list[list[Series]]) -> str:
    key = panel["transformations"][0]["options"]["byField"]
    names = panel["transformations"][1]["options"]["renameByName"]
    titles = [names[f"Value #{target['refId']}"] for target in panel["targets"]]
    rows: dict[str, dict[str, float]] = {}
    for title, answer in zip(titles, answers, strict=True):
        for one in answer:
            rows.setdefault(one.labels.get(key, ""), {})[title] = one.last
    if not rows:
        return _none(panel)
    looks = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]}
             for o in panel["fieldConfig"]["overrides"]}  # fmt: skip
    head = "".join(f"<th>{html.escape(title)}</th>" for title in (names[key], *titles))
    room = int((panel["gridPos"]["h"] * _ROW_HEIGHT - 56) / 25)
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>" + "".join(_cell(looks.get(t, {}), row.get(t)) for t in titles) + "</tr>"
        for name, row in sorted(rows.items(), key=lambda item: -item[1].get(titles[0], 0))[:room]
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(looks: dict[str, Any], value: float | None) -> str:
    if value is None or math.isnan(value):
        return f"<td>{html.escape(str(looks.get('noValue', '')))}</td>"
    for mapping in looks.get("mappings", ()):
        if word := mapping["options"].get(f"{value:g}"):
            return f'<td style="color:{_COLOURS.get(word["color"], "inherit")}">{html.escape(word["text"])}</td>'
    return f"<td>{readable(value, looks.get('unit', 'short'))}</td>"


# --- small things ---


def _none(panel: dict[str, Any]) -> str:
    return f'<div class="none">{html.escape(panel["fieldConfig"]["defaults"].get("noValue", "no data"))}</div>'


def _unit(panel: dict[str, Any]) -> str:
    return str(panel["fieldConfig"]["defaults"].get("unit", "short"))


def readable(value: float, unit: str) -> str:
    """A value as a person reads it: `percentunit`, `s`, `bytes`, `Bps` and plain numbers."""
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        for name, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
            if abs(value) >= seconds:
                return f"{value / seconds:.3g} {name}"
        return f"{value * 1000:.3g} ms"
    step = _UNIT_STEP.get(unit, 1000)
    marks = ("", "Ki", "Mi", "Gi", "Ti") if step == 1024 else ("", "K", "M", "G", "T")
    power = min(len(marks) - 1, int(math.log(abs(value), step))) if abs(value) >= step else 0
    suffix = {"bytes": "B", "Bps": "B/s"}.get(unit, "")
    return f"{value / step**power:.3g} {marks[power]}{suffix}".strip()


def _mapped(panel: dict[str, Any], value: float) -> str:
    for mapping in panel["fieldConfig"]["defaults"].get("mappings") or ():
        if word := mapping["options"].get(f"{value:g}"):
            return html.escape(word["text"])
    return ""


def _threshold(panel: dict[str, Any], value: float) -> str:
    colour = "green"
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return _COLOURS.get(colour, "#d0d4dc")


def _series_colour(panel: dict[str, Any], name: str, number: int) -> str:
    for override in panel["fieldConfig"].get("overrides", ()):
        if override["matcher"]["options"] == name:
            for prop in override["properties"]:
                if prop["id"] == "color":
                    return _COLOURS.get(prop["value"]["fixedColor"], "#5794f2")
    return _PALETTE[number % len(_PALETTE)]


def _is_below(panel: dict[str, Any], name: str) -> bool:
    return any(
        override["matcher"]["id"] == "byRegexp" and re.fullmatch(override["matcher"]["options"], name)
        for override in panel["fieldConfig"].get("overrides", ())
    )


def _along(moment: float, first: float, last: float, left: float, right: float) -> float:
    return left + (right - left) * (moment - first) / max(last - first, 1)


def _axis(value: float, y: float, width: float, unit: str) -> str:
    return (
        f'<line x1="44" x2="{width:.0f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#25292e"/>'
        f'<text x="40" y="{y + 3:.1f}" fill="#8e949f" font-size="10" text-anchor="end">{readable(value, unit)}</text>'
    )


def _line(
    x: list[float], base: list[float], top: list[float], y: Callable[[float], float], colour: str, *, filled: bool
) -> str:
    known = [n for n, value in enumerate(top) if not math.isnan(value)]
    path = " ".join(f"{x[n]:.1f},{y(top[n]):.1f}" for n in known)
    area = ""
    if filled:
        back = " ".join(f"{x[n]:.1f},{y(base[n]):.1f}" for n in reversed(known))
        area = f'<polygon points="{path} {back}" fill="{colour}" fill-opacity="0.45"/>'
    return f'{area}<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>'


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(moment))
