"""Every command explains itself, is on the page of commands, and speaks JSON."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mtascope.cli import COMMANDS, _root

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "commands.md").read_text()


def leaves(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """The command, or its subcommands where it is a group of them."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [leaf for sub, found in command.commands.items() for leaf in leaves(f"{name} {sub}", found)]


ALL = [leaf for name in COMMANDS for leaf in leaves(name, importlib.import_module(f"mtascope.cli.{name}").command)]


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_a_command_has_help_with_an_example_and_json_for_programs(name: str, command: click.Command) -> None:
    assert "Example:" in (command.help or "")
    streams = {"parse", "classify", "bounce", "detect", "dmarc parse"}  # NDJSON is their output
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options or name in streams


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_is_on_the_page_of_commands(name: str) -> None:
    assert f"`{name}" in PAGE


def test_every_module_of_commands_is_a_command() -> None:
    assert "demo" in CliRunner().invoke(_root, ["--help"]).output
    found = {path.stem for path in (ROOT / "mtascope" / "cli").glob("*.py") if "@click" in path.read_text()}
    assert found - {"__init__"} == set(COMMANDS)
