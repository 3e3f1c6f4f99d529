"""Imports go down only. `make check` says so too, with import-linter; this also covers modules that are yet to come."""

from __future__ import annotations

from collections.abc import Iterator

import grimp
import pytest

from mtascope.names import PACKAGES

STRANGERS = ("analytics", "collector", "dmarc", "mta")


@pytest.fixture(scope="module")
def imports() -> list[tuple[str, str]]:
    """Every direct import of one module of ours by another."""
    graph = grimp.build_graph(*PACKAGES)
    return [(module, found) for module in graph.modules for found in graph.find_modules_directly_imported_by(module)]


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def crossing(imports: list[tuple[str, str]], package: str) -> Iterator[tuple[str, str]]:
    """Imports that leave `package`, other than into the language."""
    for importer, imported in imports:
        if within(importer, package) and not within(imported, package) and not within(imported, "mta.events"):
            yield importer, imported


def test_the_language_imports_nothing_of_ours(imports: list[tuple[str, str]]) -> None:
    assert list(crossing(imports, "mta.events")) == []


@pytest.mark.parametrize("package", STRANGERS)
def test_each_stranger_knows_only_itself_and_the_language(package: str, imports: list[tuple[str, str]]) -> None:
    assert list(crossing(imports, package)) == []


def test_the_exporter_knows_analytics_and_of_the_others_only_their_metrics(imports: list[tuple[str, str]]) -> None:
    allowed = {f"{part}.metrics" for part in STRANGERS}
    found = [
        (importer, imported)
        for importer, imported in crossing(imports, "exporter")
        if not within(imported, "analytics") and imported not in allowed
    ]
    assert found == []


def test_dashboards_name_only_what_the_catalogue_holds(imports: list[tuple[str, str]]) -> None:
    found = {imported for _, imported in crossing(imports, "dashboards")}
    assert found <= {"exporter.catalogue", "exporter.errors"}


def test_nobody_imports_the_front_door(imports: list[tuple[str, str]]) -> None:
    assert [pair for pair in imports if within(pair[1], "mtascope") and not within(pair[0], "mtascope")] == []
