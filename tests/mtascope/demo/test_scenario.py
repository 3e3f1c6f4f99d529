"""Scenarios: what changes when."""

from __future__ import annotations

import pytest

from mta.events.errors import SettingsError
from mtascope.demo.campaigns import load_campaigns
from mtascope.demo.providers import load_profiles
from mtascope.demo.scenario import CYCLE, Scenario, load_scenario, read_scenarios, scenario_names


def test_the_four_promised_scenarios_exist() -> None:
    assert scenario_names() == ("steady", "gmail-defers", "ip-blocklisted", "bad-list")


def test_nothing_changes_on_a_steady_day() -> None:
    steady = load_scenario("steady")
    assert not any(steady.active(second, 30) for second in range(31))


def _gmail(scenario: Scenario, elapsed: float, run: float | None) -> list[str]:
    return [each.name for each in scenario.overlay("gmail", "dot", None, scenario.active(elapsed, run))]


@pytest.mark.parametrize("run", [30.0, 600.0, None])
def test_gmail_defers_in_the_middle_of_a_run_of_any_length(run: float | None) -> None:
    scenario = load_scenario("gmail-defers")
    length = run or CYCLE
    assert _gmail(scenario, 0.0, run) == []
    assert _gmail(scenario, 0.4 * length, run) == ["gmail-defers"]
    assert _gmail(scenario, 0.95 * length, run) == []


def test_a_run_without_an_end_repeats_its_scenario() -> None:
    scenario = load_scenario("gmail-defers")
    assert _gmail(scenario, 7 * CYCLE + 0.4 * CYCLE, None) == ["gmail-defers"]


def test_only_mail_of_the_listed_pool_is_blocked() -> None:
    scenario = load_scenario("ip-blocklisted")
    now = scenario.active(15, 30)
    assert [each.name for each in scenario.overlay("yahoo", "dot", "shared", now)] == ["blocklisted"]
    assert scenario.overlay("yahoo", "dot", "transactional", now) == []
    assert scenario.overlay("gmail", "dot", "shared", now) == []


def test_a_bad_list_makes_people_complain_about_its_pool() -> None:
    scenario = load_scenario("bad-list")
    assert scenario.complaint_share("yahoo", "shared", scenario.active(15, 30)) == 0.02
    assert scenario.complaint_share("yahoo", "marketing", scenario.active(15, 30)) == 0.0
    assert scenario.complaint_share("yahoo", "shared", scenario.active(1, 30)) == 0.0


@pytest.mark.parametrize("name", scenario_names())
def test_scenarios_speak_of_providers_pools_and_campaigns_that_exist(name: str) -> None:
    providers = {profile.name for profile in load_profiles()}
    campaigns = load_campaigns()
    for phase in load_scenario(name).phases:
        assert set(phase.providers) <= providers
        assert phase.pool is None or phase.pool in campaigns.pools
        assert phase.campaign is None or phase.campaign in {each.name for each in campaigns.campaigns}


def test_an_unknown_scenario_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"sunny.*gmail-defers"):
        load_scenario("sunny")


@pytest.mark.parametrize(
    "phase",
    [
        "since = 0.5\nuntil = 0.5",
        'since = 0\nuntil = 1\npool = "shared"\nbehaviour = { name = "b", share = 1, reply = "550 no" }',
        "since = 0\nuntil = 2",
    ],
)
def test_an_impossible_phase_is_refused(phase: str) -> None:
    with pytest.raises(SettingsError):
        read_scenarios(f'[[scenario]]\nname = "x"\nsummary = "y"\n[[scenario.phase]]\n{phase}')
