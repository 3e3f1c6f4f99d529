"""`mtascope token`: who may ask the API for what."""

from __future__ import annotations

import click

from exporter.access import TokenFile
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.settings import load_settings

__all__ = ["command"]

_config_option = click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file.")


@click.group()
def command() -> None:
    """Make, list and remove tokens of the API; of each only a hash is kept.

    Example: mtascope token add grafana --scope read
    """


def _file(data_dir: str | None, config: str | None) -> TokenFile:
    settings = load_settings(config, data_dir)
    return TokenFile(settings.http_with_tokens.tokens_file or settings.folder.tokens)


@command.command("add")
@click.argument("name")
@click.option("--scope", default="read", show_default=True, metavar="SCOPE", help="read, admin or tenant:NAME.")
@data_option
@_config_option
@json_option
def add(name: str, scope: str, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Make a token and print it: it is shown this once. It works at once.

    Example: mtascope token add acme --scope tenant:acme
    """
    secret = _file(data_dir, config).add(name, scope)
    if as_json:
        emit({"name": name, "scope": scope, "token": secret})
    else:
        say(f"the token of {name} ({scope}), which is not shown again:")
        click.echo(secret)


@command.command("list")
@data_option
@_config_option
@json_option
def show(data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """Names and scopes of all tokens.

    Example: mtascope token list
    """
    tokens = _file(data_dir, config).tokens()
    if as_json:
        emit([{"name": token.name, "scope": token.scope} for token in tokens])
    for token in () if as_json else tokens:
        click.echo(f"{token.name:24} {token.scope}")


@command.command("remove")
@click.argument("name")
@data_option
@_config_option
@json_option
def remove(name: str, data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Let the holder of a token in no longer.

    Example: mtascope token remove acme
    """
    removed = _file(data_dir, config).remove(name)
    if as_json:
        emit({"name": name, "removed": removed})
    else:
        say(f"{name} is removed" if removed else f"there is no token {name}")
    return Exit.DONE if removed else Exit.REFUSED
