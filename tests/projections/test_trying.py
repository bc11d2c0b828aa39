"""Trying a draft: what would have been otherwise, with every difference worked out by hand.

The story plays from noon on (hours after it): problem X-1 is known at 0 and told at 30. Concern Q-1 is raised at 0 and
acknowledged at 10. P-1 is made at 0, due at 24 and claimed at 30; P-2 is due at 48 and claimed at 20.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy import cli
from deploy.commands.policies import read_draft
from ledger.domain.policies import Times
from projections.trying import Announced, Due, Moved, Trial, try_policy
from tests.projections.world import World, at

OFFICE = {
    "calendar_id": "de",
    "time_zone": "Europe/Berlin",
    "hours": [f"{day} 09:00-17:00" for day in ("mon", "tue", "wed", "thu", "fri")],
    "covers_until": "2026-12-31",
}
POLICY: dict[str, Any] = {
    "policy_id": "default",
    "approver": "u-2",
    "times": dict.fromkeys(Times.model_fields, 24) | {"silent_after_hours": 168, "neglected_after_hours": 2160},
    "warn_percents": [50],
    "escalation": [{"after_hours": 2, "to": "lead"}],
    "calendars": [OFFICE],
    "tzdata_version": "2025b",
}


def changed(times: dict[str, int] | None = None, **members: Any) -> dict[str, Any]:
    return POLICY | members | {"times": POLICY["times"] | (times or {})}


def tell(world: World, hours: float, command: str, **data: Any) -> None:
    world.now = at(hours)
    assert world.tell(command, hours, **data) == "recorded"


def told(world: World) -> None:
    tell(world, -1, "policy.publish", **POLICY)
    problem = {"problem_id": "X-1", "affected": ["C-1"], "known_since": at(0), "detected_by": "us"}
    tell(world, 0, "problem.detect", **problem, summary="No lorry.", severity=3, owner="u-1")
    tell(world, 0, "concern.raise", concern_id="Q-1", customer_id="C-1", text="Will it come?")
    world.make(1)
    world.make(2, due_at=48)
    tell(world, 10, "concern.acknowledge", concern_id="Q-1", restated="It will not come?")
    tell(world, 20, "promise.claim_kept", promise_id="P-2")
    tell(world, 30, "promise.claim_kept", promise_id="P-1")
    disclosure = {
        "disclosure_id": "D-1",
        "customer_id": "C-1",
        "about": {"problem_id": "X-1"},
        "text": "It comes later.",
    }
    tell(
        world, 30, "disclosure.make", **disclosure, owner="u-1", apology=False, channel="phone", basis="known",
        solution_ref="S-1",
    )  # fmt: skip


@pytest.fixture
def tried(world: World) -> Callable[..., Trial]:
    def trial(draft: dict[str, Any], since: float | None = None, until: float = 40) -> Trial:
        command = read_draft(orjson.dumps({"actor": "u-1", **draft}))
        seen: list[tuple[int, int]] = []
        found = try_policy(
            world.url,
            command,
            since=None if since is None else at(since),
            until=at(until),
            progress=lambda done, total: seen.append((done, total)),
        )
        assert seen == sorted(seen)
        assert seen[-1] == (2 * found.size, 2 * found.size)
        return found

    return trial


def counted(trial: Trial) -> dict[str, dict[str, int]]:
    return {name: dict(found) for name, found in trial.counts().items() if found}


def test_an_unchanged_draft_changes_nothing_and_nothing_is_written(world: World, tried: Callable[..., Trial]) -> None:
    told(world)
    world.catch_up()
    before = [world.rows(name) for name in ("findings", "promises")]
    head = world.ask("SELECT * FROM ledger.head")
    assert counted(tried(POLICY)) == {}
    assert counted(tried(changed({"disclose_within_hours": 12}, warn_percents=[1]), since=31)) == {}
    tried(changed({"disclose_within_hours": 12}))
    assert [world.rows(name) for name in ("findings", "promises")] == before
    assert world.ask("SELECT * FROM ledger.head") == head
    assert world.ask("SELECT name FROM projection.versions WHERE NOT live") == []


def test_a_stricter_draft(world: World, tried: Callable[..., Trial]) -> None:
    told(world)
    tell(world, 41, "promise.dispute", promise_id="P-1", text="It did not come.")  # too late to count until 40
    steps = [{"after_hours": 1, "to": "lead"}, {"after_hours": 5, "to": "boss"}, {"after_hours": 7, "to": "board"}]
    strict = changed(
        {"disclose_within_hours": 12, "acknowledge_within_hours": 6}, warn_percents=[25, 50], escalation=steps
    )
    trial = tried(strict)
    assert counted(trial) == {
        "opened": {"concern-unacknowledged": 1},
        "moved": {"undisclosed-problem": 1},
        "warnings_added": {"25": 2},
        "escalations_added": {"lead": 1, "boss": 1},
        "escalations_gone": {"lead": 1},
    }
    assert trial.opened[0].opened_at == at(6)  # acknowledged at 10, within 24 but not within 6
    assert trial.moved == [Moved(2, "undisclosed-problem", "problem:X-1", "C-1", at(24), at(12))]
    assert trial.warnings_added == [Announced("P-1", at(24), "25", at(6)), Announced("P-2", at(48), "25", at(12))]
    # P-1 was overdue from 24 to 30, so a board that is told at 31 never was
    assert trial.escalations_added == [
        Announced("P-1", at(24), "boss", at(29)),
        Announced("P-1", at(24), "lead", at(25)),
    ]
    assert trial.escalations_gone == [Announced("P-1", at(24), "lead", at(26))]
    # until 5 nothing of that had come; until 12 the first of the warnings
    assert counted(tried(strict, until=5)) == {}
    assert counted(tried(strict, until=11))["warnings_added"] == {"25": 1}


def test_a_looser_draft(world: World, tried: Callable[..., Trial]) -> None:
    told(world)
    trial = tried(
        changed({"disclose_within_hours": 36, "acknowledge_within_hours": 48}, warn_percents=[], escalation=[])
    )
    # P-1 was warned of at 12; P-2 was claimed at 20, before its half was over at 24
    assert counted(trial) == {
        "gone": {"undisclosed-problem": 1},
        "warnings_gone": {"50": 1},
        "escalations_gone": {"lead": 1},
    }
    assert trial.gone[0].opened_at == at(24)
    assert trial.warnings_gone == [Announced("P-1", at(24), "50", at(12))]


def test_before_any_policy_what_is_held_against_us_by_default_is_compared(
    world: World, tried: Callable[..., Trial]
) -> None:
    world.make(1, due_at=240)
    trial = tried(changed({"silent_after_hours": 10}))
    assert counted(trial) == {"opened": {"silent-customer": 1}}
    assert trial.opened[0].opened_at == at(10)
    # 75 per cent of 240 are over at 180, which is warned of without a policy; 168 hours of silence open a finding too
    later = tried(changed({"silent_after_hours": 10}, warn_percents=[]), until=200)
    assert counted(later) == {"moved": {"silent-customer": 1}, "warnings_gone": {"75": 1}}


def test_of_warnings_that_a_condition_held_back_the_highest_is_told(world: World, tried: Callable[..., Trial]) -> None:
    tell(world, -1, "policy.publish", **POLICY)
    world.make(1, due_at=100, condition={"text": "You send the form.", "by": at(70)})
    tell(world, 60, "promise.meet_condition", promise_id="P-1")
    tell(world, 65, "promise.warn", promise_id="P-1", reason="Snow.")
    # at 60, when it is active, a quarter and half of the time are over already
    assert counted(tried(changed(warn_percents=[25, 50]), until=99)) == {}
    assert counted(tried(changed(warn_percents=[25, 50, 80]), until=99)) == {"warnings_added": {"80": 1}}


def test_a_policy_published_meanwhile_counts_until_the_draft_would_have(
    world: World, tried: Callable[..., Trial]
) -> None:
    told(world)
    tell(world, 31, "policy.publish", **changed(warn_percents=[90]))
    world.make(3, occurred_at=32, due_at=42)  # 90 per cent are over at 41, half at 37
    for since, until, expected in ((None, 40, {"50": 1}), (None, 41.5, {"50": 1}), (33, 41.5, {})):
        found = counted(tried(POLICY, since=since, until=until))
        assert found.get("warnings_added", {}) == expected
    assert counted(tried(POLICY, until=41.5))["warnings_gone"] == {"90": 1}


def test_due_times_that_the_calendar_of_the_draft_gives_otherwise(world: World, tried: Callable[..., Trial]) -> None:
    tell(world, -1, "policy.publish", **POLICY)
    # Monday at 9 in Berlin, and eight hours a day: the sixteenth is over on Tuesday at 17. With seven hours a day
    # fourteen are, and two more on Wednesday at 11, which is 10:00 UTC, 70 hours after the first noon.
    terms = {"customer_id": "C-1", "kind": "fix", "text": "x", "owner": "u-1", "channel": "email", "basis": "known"}
    for promise_id, duration in (("P-1", "PT16H"), ("P-2", "PT1H")):
        tell(world, 20, "promise.make", promise_id=promise_id, due_in=duration, calendar_id="de", **terms)
    shorter = [OFFICE | {"hours": [line.replace("17:00", "16:00") for line in OFFICE["hours"]]}]
    assert tried(changed(calendars=shorter)).due_times == [Due("P-1", "de", "PT16H", at(52), at(70))]
    assert tried(changed(calendars=shorter), since=21).due_times == []
    ends = [OFFICE | {"covers_until": "2026-03-02"}]
    assert tried(changed(calendars=ends)).due_times == [Due("P-1", "de", "PT16H", at(52), None)]
    assert counted(tried(changed(calendars=[]))) == {}


def test_the_command_and_what_is_no_draft(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(world)
    file = tmp_path / "draft.json"

    def said(draft: Any, *arguments: str) -> tuple[int, str, str]:
        file.write_bytes(draft if isinstance(draft, bytes) else orjson.dumps(draft))
        world.for_commands(monkeypatch)
        monkeypatch.setattr("sys.argv", ["promise-ledger", "policy", "try", str(file), *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    until = ("--to", at(40).isoformat())
    draft = {"actor": "u-1", **changed({"disclose_within_hours": 12})}
    code, out, _ = said(draft, "--json", *until)
    answer = orjson.loads(out)
    (log,) = world.ask("SELECT size FROM ledger.head")
    assert (code, answer["size"], answer["counts"]["moved"]) == (0, log["size"], {"undisclosed-problem": 1})
    assert answer["moved"][0]["under_draft"] == "2026-03-02T00:00:00Z"
    event = {"specversion": "1.0", "id": "x", "source": "crm", "type": "policy.publish", "time": "2026-03-01T12:00:00Z"}
    assert orjson.loads(said(event | {"data": draft}, "--json", *until)[1])["moved"] == answer["moved"]
    assert "undisclosed-problem" in said(draft, *until)[1]
    assert "nothing would have been otherwise" in said({"actor": "u-1", **POLICY}, *until)[1]
    for wrong, word in (
        (b"{", "not JSON"),
        ({"actor": "u-1"}, "data."),
        ({"actor": "u-2", **POLICY}, "somebody else"),
        ({"actor": "u-1", **changed(warn_percents=[50, 50])}, "warn_percents do not rise"),
        (event | {"type": "promise.resume", "data": {"actor": "u-1", "promise_id": "P-1"}}, "promise.resume"),
    ):
        code, out, err = said(wrong, *until)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert word in err
