"""A board: its variables, links and annotations, and panels laid out in rows, as Grafana's classic JSON.

The JSON is a function of the code alone: uids are fixed, a panel's id follows from its title (so that links to a panel
and differences between versions survive an insertion), keys are sorted, and there is no version or time stamp.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from dashboards.panels import DATASOURCE
from dashboards.promql import SCOPE, metric

__all__ = ["GRID_WIDTH", "TAG", "Board", "Row", "queries"]

GRID_WIDTH = 24
TAG = "mtascope"
WINDOWS = ("5m", "15m", "1h", "6h", "1d", "3d")
FILLED_IN = {
    "__rate_interval": "5m",
    "__interval": "30s",
    "__range": "1h",
    "job": ".+",
    "instance": ".+",
    "provider": ".+",
    "window": "1h",
}
"""What `queries` puts in place of each variable unless told otherwise: everything, over an ordinary window."""


class PanelBuilder(Protocol):
    """What the SDK's panel builders have in common."""

    def grid_pos(self, grid_pos: model.GridPos) -> Any:
        """Place it."""

    def id(self, id_val: int) -> Any:
        """Number it."""

    def build(self) -> model.Panel:
        """Finish it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of panels, each with its width of the 24 columns; the widths of one line may wrap into the next.

    A row that repeats is drawn once for each value of that variable, and starts closed.
    """

    title: str
    panels: tuple[tuple[int, PanelBuilder], ...]
    height: int = 8
    repeat: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """One board.

    `uid` is its address in Grafana and never changes. `by_provider` and `by_window` say which of the optional variables
    it offers, `windows` which windows there are; `homes` are the metrics whose `job` and `instance` it offers to choose
    from.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    tags: tuple[str, ...] = ()
    by_provider: bool = True
    by_window: bool = True
    windows: tuple[str, ...] = WINDOWS
    homes: tuple[str, ...] = ("mtascope_build_info",)
    since: str = "now-6h"

    @property
    def filename(self) -> str:
        """The name of its JSON file."""
        return f"{self.uid}.json"

    def as_json(self) -> str:
        """The board for import or provisioning; the same text on every call."""
        return json.dumps(self._build(), cls=JSONEncoder, sort_keys=True, indent=2) + "\n"

    def _build(self) -> model.Dashboard:
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG, *self.tags])
            .readonly()
            .refresh("30s")
            .time(self.since, "now")
            .timezone("browser")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .link(_other_boards())
            .annotation(_firing_alerts())
        )
        for variable in self._variables():
            board.with_variable(variable)
        built: model.Dashboard = board.build()
        built.panels = list(self._placed())
        return built

    def _variables(self) -> Iterator[Any]:
        yield dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        names = '__name__=~"' + "|".join(metric(home).family.name for home in self.homes) + '"'
        yield _choice("job", "Job", f"label_values({{{names}}}, job)")
        yield _choice("instance", "Instance", f'label_values({{{names},job=~"$job"}}, instance)')
        if self.by_provider:
            seen = metric("mtascope_provider_events_total").like(**SCOPE)
            yield _choice("provider", "Provider", f"label_values({seen}, provider)")
        if self.by_window:
            hour = model.VariableOption(text="1h", value="1h", selected=True)
            yield dashboard.CustomVariable("window").label("Window").values(",".join(self.windows)).current(hour)

    def _placed(self) -> Iterator[model.Panel | model.RowPanel]:
        y = 0
        for row in self.rows:
            heading = dashboard.Row(row.title).id(_panel_id(f"row {row.title}"))
            heading.grid_pos(model.GridPos(h=1, w=GRID_WIDTH, x=0, y=y))
            panels = list(_laid_out(row, y + 1))
            if row.repeat:
                built = heading.repeat(row.repeat).build()
                built.collapsed, built.panels = True, panels
                yield built
                y += 1
            else:
                yield heading.collapsed(collapsed=False).build()
                yield from panels
                y = max(panel.grid_pos.y + panel.grid_pos.h for panel in panels if panel.grid_pos)


def queries(board_json: str, values: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Every expression of a board with its variables filled in, as (panel title, PromQL), ready to run."""
    filled = {**FILLED_IN, **(values or {})}
    variable = re.compile(r"\$\{?(" + "|".join(sorted(filled, key=len, reverse=True)) + r")\b\}?")
    return [
        (panel["title"], variable.sub(lambda found: filled[found[1]], target["expr"]))
        for panel in _every_panel(json.loads(board_json)["panels"])
        for target in panel.get("targets", ())
    ]


def _every_panel(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _every_panel(panel.get("panels", []))


def _laid_out(row: Row, y: int) -> Iterator[model.Panel]:
    """Its panels from left to right, wrapping where the grid ends; a panel that leaves no room begins a new line."""
    x = 0
    for width, panel in row.panels:
        if x + width > GRID_WIDTH:
            x, y = 0, y + row.height
        panel.grid_pos(model.GridPos(h=row.height, w=width, x=x, y=y))
        built = panel.build()
        built.id_val = _panel_id(built.title or "")
        yield built
        x += width


def _panel_id(title: str) -> int:
    """A number that stays with the title; a test checks that no two panels of a board share one."""
    return zlib.crc32(title.encode()) % 99_991 + 1


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    everything = model.VariableOption(text=["All"], value=["$__all"], selected=True)
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .definition(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(everything)
    )


def _other_boards() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("mtascope boards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(as_dropdown=False)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def _firing_alerts() -> dashboard.AnnotationQuery:
    firing = metric("ALERTS").where(alertstate="firing").like(alertname="Mtascope.+")
    return (
        dashboard.AnnotationQuery()
        .name("Alerts firing")
        .datasource(DATASOURCE)
        .enable(enable=True)
        .icon_color("red")
        .expr(str(firing))
        .step("60s")
        .title_format("{{alertname}}")
        .text_format("{{provider}} {{severity}}")
    )
