"""`mtascope dashboards`: the Grafana boards as files, and as pictures."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import httpx

from mta.events.errors import MtascopeError
from mtascope.output import emit, json_option, say

if TYPE_CHECKING:
    from dashboards.picture import Ask

__all__ = ["command"]


@click.group()
def command() -> None:
    """Grafana boards, generated from code.

    Example: mtascope dashboards build --out /etc/grafana/dashboards
    """


@command.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@json_option
def build(out: Path, *, as_json: bool) -> None:
    """Write one JSON file for each board, for import or provisioning.

    Example: mtascope dashboards build --out ./boards
    """
    from dashboards.build import build_boards

    _tell(build_boards(out), as_json=as_json)


@command.command()
@click.option("--prometheus", required=True, help="Address of the server that scrapes the suite.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=1), help="How far back.")
@json_option
def draw(prometheus: str, out: Path, minutes: float, *, as_json: bool) -> None:
    """Draw each board over the data of a Prometheus server: a page, and a PNG where a Chromium is installed.

    The drawings are our own, not Grafana's; they are for reports and documentation.

    Example: mtascope dashboards draw --prometheus http://127.0.0.1:9090 --out ./pictures
    """
    from dashboards.boards import BOARDS
    from dashboards.picture import draw_board

    out.mkdir(parents=True, exist_ok=True)
    camera = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    now = time.time()
    files = []
    with httpx.Client(base_url=f"{prometheus.rstrip('/')}/api/v1/", timeout=30) as client:
        ask = _asker(client, now - minutes * 60, now)
        for board in BOARDS:
            page = out / f"{board.uid}.html"
            page.write_text(draw_board(board, ask), encoding="utf-8")
            files.append(_photograph(page, camera) if camera else page)
    _tell(files, as_json=as_json)


def _tell(files: list[Path], *, as_json: bool) -> None:
    if as_json:
        emit({"files": [str(path) for path in files]})
    else:
        for path in files:
            say(f"wrote {path}")


def _asker(client: httpx.Client, since: float, until: float) -> Ask:
    """Answers of that server, with every variable of the boards set to `all`."""
    from dashboards.board import FILLED_IN
    from dashboards.picture import Series, series_of

    step = max(1, round((until - since) / 180))
    filled = {**FILLED_IN, "__rate_interval": f"{max(15, 4 * step)}s", "window": "15m"}
    variable = re.compile(r"\$\{?(" + "|".join(sorted(filled, key=len, reverse=True)) + r")\b\}?")

    def ask(target: dict[str, Any]) -> list[Series]:
        expr = variable.sub(lambda found: filled[found[1]], target["expr"])
        when = {"time": until} if target.get("instant") else {"start": since, "end": until, "step": step}
        try:
            path = "query" if target.get("instant") else "query_range"
            answer = client.get(path, params={"query": expr, **when}).json()
        except (httpx.HTTPError, ValueError) as error:
            raise MtascopeError(f"no answer: {error}", where=str(client.base_url)) from error
        if answer["status"] != "success":
            raise MtascopeError(f"Prometheus refuses {expr!r}: {answer.get('error')}", where=str(client.base_url))
        return [series_of(target, found) for found in answer["data"]["result"]]

    return ask


def _photograph(page: Path, camera: str) -> Path:
    """The page as PNG beside it; the page itself is removed."""
    from dashboards.picture import WIDTH

    height = int(re.findall(r'height:(\d+)px">', page.read_text("utf8"))[0]) + 72
    picture = page.with_suffix(".png")
    subprocess.run(  # noqa: S603 - the browser that `which` found, and our own page
        [camera, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={picture}",
         f"--window-size={WIDTH},{height}", page.resolve().as_uri()],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    page.unlink()
    return picture
