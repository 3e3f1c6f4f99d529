"""`mtascope shaping`: files checked, a domain explained, effects of rules seen and ended."""

import orjson
import pytest
from click.testing import CliRunner

from mta.delivery.effects import Effect, EffectFile
from mta.delivery.shaping_rule import ActionKind
from mta.events.errors import SettingsError
from mta.events.instants import HOUR
from mta.worker import WorkerPaths, system_clock
from mtascope.cli.shaping import command
from mtascope.output import Exit

SHAPING = """
[provider.there]
match = [{MXSuffix = ".there.example"}]
connection_limit = 3
provider_max_message_rate = "50/s"
reconnect_strategy = "ConnectNextHost"
["slow.example"]
max_message_rate = "1/min"
[["slow.example".automation]]
regex = "slow"
action = "Suspend"
duration = "1h"
"""


@pytest.fixture
def run(tmp_path):
    """Runs the command on a settings file with a route and a shaping file."""
    (tmp_path / "shaping.toml").write_text(SHAPING)
    (tmp_path / "settings.toml").write_text(
        f'[mta]\nshaping = "{tmp_path}/shaping.toml"\nshaping_defaults = false\n'
        '[[mta.routes]]\ndomain = "*"\nhost = "mx.there.example"\naddress = "192.0.2.1"\n'
    )

    def invoke(*arguments):
        places = ["--data", str(tmp_path / "data"), "--config", str(tmp_path / "settings.toml")]
        return CliRunner().invoke(command, [*arguments, *places], standalone_mode=False)

    return invoke


def asked(result):
    return orjson.loads(result.stdout)


def test_a_file_is_checked_and_what_does_nothing_is_named(run):
    result = run("check", "--json")
    assert result.return_value == Exit.REFUSED
    assert asked(result)["does_nothing"] == ["provider.there.reconnect_strategy"]
    assert "reconnect_strategy" in run("check").stderr


def test_a_mistake_is_named_with_file_and_line(run, tmp_path):
    (tmp_path / "shaping.toml").write_text('["a.example"]\nconnection_limits = 1\n')
    with pytest.raises(SettingsError, match=r"shaping\.toml line 2"):
        raise run("check").exception


def test_what_holds_for_a_domain_is_shown(run):
    found = asked(run("show", "Slow.Example", "--json"))
    assert (found["site"], found["provider"], found["source"]) == ("mx.there.example", "there", "default")
    assert (found["limits"]["connection_limit"], found["limits"]["enable_tls"]) == (3, "Opportunistic")
    assert found["limits"]["max_message_rate"] == "1/60s,max_burst=1"
    assert found["rules"] == ["slow.example.automation 1"]
    assert "limit     provider_max_message_rate = 50/1s" in run("show", "slow.example").stdout


def test_effects_are_shown_and_ended(run, tmp_path):
    assert asked(run("effects", "--json")) == []
    now = system_clock()
    path = "default->mx.there.example [192.0.2.1]:25"
    effect = Effect("id1", ActionKind.SUSPEND_TENANT, path, now, now + HOUR, "rule 1", "421 slow", tenant="acme")
    EffectFile(WorkerPaths.under(tmp_path / "data").effects, system_clock).change(lambda _: [effect])
    assert "SuspendTenant tenant acme" in run("effects").stdout
    assert asked(run("show", "any.example", "--json"))["effects"][0]["reason"] == "421 slow"
    assert asked(run("cancel", "id1", "--json")) == {"id": "id1", "cancelled": True}
    assert run("cancel", "id1").return_value == Exit.REFUSED
    assert asked(run("effects", "--json")) == []
