"""The one command, `mtascope`. Each subcommand is a module of this folder, imported only when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from mta.events.errors import MtascopeError
from mtascope import __version__
from mtascope.output import Exit
from mtascope.supervised import end_with_the_supervisor

__all__ = ["main"]

COMMANDS = {
    "demo": "Run everything on simulated mailbox providers and seeded traffic.",
    "up": "Run the whole suite on this machine until Ctrl-C.",
    "mta": "Run the bundled MTA alone.",
    "queue": "What waits in the bundled MTA: look, hold back, give up, put elsewhere.",
    "shaping": "Limits and rules of the way out: check files, show what holds, end what rules did.",
    "collect": "Follow log folders and hand what is new to the store.",
    "ship": "Follow logs here and send them to a collector on another machine.",
    "serve": "Own the store: API, console and metrics.",
    "ingest": "Load log files or folders once, exactly once however often repeated.",
    "parse": "Print the events in a log; nothing is stored.",
    "classify": "Say which bounce class an SMTP reply belongs to.",
    "dmarc": "Read DMARC, TLS and failure reports; advise on enforcing.",
    "bounce": "Read mails as bounces and complaints.",
    "incidents": "Bounce spikes in the stored mail, with what changed.",
    "detect": "Find bounce spikes in counts from a file.",
    "rates": "Delivery, bounce, deferral and complaint rates.",
    "trace": "What happened to a message: by Message-ID, queue id or recipient.",
    "errors": "Why mail failed: the replies behind failures, most frequent first.",
    "top": "What waits: the fullest queues, their age and last reply.",
    "providers": "Who serves which domain: by the map, by what was seen, and what nobody knows.",
    "query": "Ask in SQL: one SELECT over the documented views.",
    "report": "The daily summary: totals, providers against last week, reasons, what to do.",
    "status": "Health of each part.",
    "dashboards": "Generate Grafana boards.",
    "rules": "Generate Prometheus recording and alert rules.",
    "token": "Make, list and remove tokens of the API.",
    "suppress": "Whom not to send to: add, remove, list, import and export.",
    "backup": "Write store and keys to one file.",
    "restore": "Bring a backup back into a new data directory.",
    "erase": "Forget whose mail it was: remove one recipient's pseudonyms.",
    "doctor": "Check installation, settings, ports, disk and name clashes.",
}
"""Name of each subcommand (its module here has the same name, its click command is `command`) and its one-line help."""


class _LazyGroup(click.Group):
    """Imports a subcommand's module when it is first asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mtascope")
def _root() -> None:
    """Tell whether mail arrives, at which mailbox provider it does not, since when, and why.

    Example: mtascope demo --for 30s
    """


def main() -> None:
    """Entry point: named errors become one line on standard error and an exit code that means something."""
    end_with_the_supervisor()
    try:
        code = _root.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except MtascopeError as error:
        click.echo(f"mtascope: {error}", err=True)
        sys.exit(Exit.MISSING if error.temporary else Exit.USAGE)
    sys.exit(code if isinstance(code, int) else Exit.DONE)
