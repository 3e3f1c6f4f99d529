"""Our package names are ours, and everything that is imported is declared."""

from __future__ import annotations

import importlib
from pathlib import Path

from mtascope.names import PACKAGES, clashes

ROOT = Path(__file__).parents[2]


def test_no_other_installed_distribution_owns_one_of_our_package_names() -> None:
    assert clashes() == {}


def test_every_top_level_package_of_ours_is_on_the_list() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found == set(PACKAGES)


def test_each_package_is_imported_from_this_tree() -> None:
    for name in PACKAGES:
        module = importlib.import_module(name)
        assert Path(module.__file__ or "").resolve().is_relative_to(ROOT.resolve())
