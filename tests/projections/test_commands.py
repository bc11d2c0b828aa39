"""Problems, concerns, outages, findings and delivery times on the command line."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy import cli
from tests.projections.troubles import detect, disclosure, tell
from tests.projections.world import World, at

Command = Callable[..., Any]


def a_case(world: World) -> None:
    """B-1 touches C-1, told of it at 5, C-2, from whom it is withheld until 30, and C-3, who knows nothing."""
    detect(world, "B-1", 4, "C-1", "C-2", "C-3", known_since=at(2))
    tell(world, "disclosure.make", 5, **disclosure("B-1", "C-1", "D-1"))
    withheld = {"disclosure_id": "D-2", "problem_id": "B-1", "customer_id": "C-2", "why": "A trial is on."}
    tell(world, "disclosure.withhold", 6, **withheld, approver="u-9", review_at=at(30))
    tell(world, "concern.raise", 7, concern_id="K-1", customer_id="C-1", text="Again?", problem_id="B-1", severity=1)
    tell(world, "concern.raise", 8, concern_id="K-2", customer_id="C-1", text="Who pays?")
    tell(world, "concern.acknowledge", 9, concern_id="K-2", restated="The bill.")
    tell(world, "problem.take_ownership", 10, problem_id="B-1", owner="u-2")
    tell(world, "outage.declare", 11, outage_id="O-1", tool="crm")
    note = {"outage_id": "O-1", "customer_id": "C-3", "text": "Call me.", "read_back": True}
    for number, captured_at in ((1, 12), (2, 13)):
        tell(world, "note.take", captured_at, **note, capture_id=f"N-{number}", captured_at=at(captured_at))
    tell(world, "note.clear", 14, outage_id="O-1", capture_id="N-1", by=["K-1"])
    tell(world, "outage.end", 15, outage_id="O-1")
    world.catch_up()


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    a_case(world)
    world.for_commands(monkeypatch)

    def run(*arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", ["promise-ledger", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        if end.value.code:
            return int(end.value.code), said.err
        return json.loads(said.out) if "--json" in arguments else said.out

    return run


NOON_OF_THE_NEXT_DAY = ("--as-of", "2026-03-02T12:00:00Z")


def test_the_commands_say_who_knows_of_a_problem_and_who_does_not(command: Command) -> None:
    (problem,) = command("problems", *NOON_OF_THE_NEXT_DAY, "--json")
    counts = {
        name: problem[name] for name in ("affected", "told", "withheld", "undisclosed", "verified", "concerns_open")
    }
    assert counts == {"affected": 3, "told": 1, "withheld": 1, "undisclosed": 1, "verified": 0, "concerns_open": 1}
    assert (problem["owner"], problem["state"], problem["text"]) == ("u-2", "open", "It leaks.")
    one = command("problems", "B-1", *NOON_OF_THE_NEXT_DAY, "--json")
    assert [(each["customer_id"], each["disclosure"]) for each in one["customers"]] == [
        ("C-1", "told"),
        ("C-2", "withheld"),
        ("C-3", "undisclosed"),
    ]
    (untold,) = command("problems", "--undisclosed", *NOON_OF_THE_NEXT_DAY, "--json")
    assert (untold["customer_id"], untold["owner"], untold["days_known"]) == ("C-3", "u-2", 0.92)
    past_review = command("problems", "--undisclosed", "--customer", "C-2", "--as-of", "2026-03-02T18:00:01Z", "--json")
    assert [each["withheld_until"] for each in past_review] == ["2026-03-02T18:00:00Z"]
    (earlier,) = command("problems", "--as-of", "2026-03-01T16:30:00Z", "--json")
    assert (earlier["told"], earlier["undisclosed"], earlier["owner"]) == (0, 3, "u-1")
    assert "undisclosed" in command("problems")
    assert "C-2" in command("problems", "B-1")
    assert command("problems", "B-9") == (1, "promise-ledger: there is no problem B-9\n")
    before = ("--as-of", "2026-02-01T00:00:00Z")
    assert command("problems", "B-1", *before) == (1, "promise-ledger: there was no problem B-1 then\n")
    unknown = ("--known-at", "2026-02-01T00:00:00Z")
    assert command("problems", "B-1", *unknown) == (1, "promise-ledger: there was no problem B-1 then\n")
    assert command("problems", "--customer", "C-1")[0] == 2


def test_the_findings_of_one_code_say_what_they_rest_on(world: World, command: Command) -> None:
    offer = {"offering_id": "S-1", "lead_time": "P5D", "valid_from": at(16)}
    tell(world, "offering.publish", 16, **offer)
    made = {"kind": "fix", "text": "Soon.", "owner": "u-1", "channel": "phone", "basis": "known", "offering_id": "S-1"}
    tell(world, "promise.make", 17, promise_id="P-1", customer_id="C-1", due_at=at(65), **made)
    world.catch_up()
    said = command("findings", "--code", "overpromised", "--as-of", "2026-03-03T12:00:00Z")
    assert "promised_seconds 172800, lead_time_seconds 432000" in " ".join(said.split())


def test_the_commands_say_how_far_each_concern_has_come(command: Command) -> None:
    both = command("concerns", *NOON_OF_THE_NEXT_DAY, "--json")
    assert [(each["concern_id"], each["state"], each["days_open"], each["text"]) for each in both] == [
        ("K-1", "raised", 0.71, "Again?"),
        ("K-2", "acknowledged", 0.67, "Who pays?"),
    ]
    assert [each["concern_id"] for each in command("concerns", "--problem", "B-1", "--json")] == ["K-1"]
    assert [each["concern_id"] for each in command("concerns", "--state", "acknowledged", "--json")] == ["K-2"]
    assert command("concerns", "--known-at", "2026-03-01T11:00:00Z", "--json") == []
    matrix = command("concerns", "--matrix", *NOON_OF_THE_NEXT_DAY, "--json")
    assert [
        (each["problem_id"], each["raised"], each["acknowledged"], each["longest_days_open"]) for each in matrix
    ] == [
        ("B-1", 1, 0, 0.71),
        (None, 0, 1, 0.67),
    ]
    assert "longest days open" in command("concerns", "--matrix")
    assert command("concerns", "--matrix", "--state", "raised")[0] == 2


def test_the_commands_count_both_counters_of_an_outage(command: Command) -> None:
    (outage,) = command("outages", "--json")
    assert {name: outage[name] for name in ("notes", "notes_to_clear", "customers_to_follow_up", "list_done")} == {
        "notes": 2,
        "notes_to_clear": 1,
        "customers_to_follow_up": 1,
        "list_done": False,
    }
    assert outage["waiting_since"] == "2026-03-02T00:00:00Z"
    listed = command("outages", "O-1", "--json")["list"]
    assert [(each["capture_id"], each["became"], each["text"]) for each in listed] == [
        ("N-1", ["K-1"], "Call me."),
        ("N-2", None, "Call me."),
    ]
    (before,) = command("outages", "--as-of", "2026-03-02T00:30:00Z", "--json")
    assert (before["notes"], before["notes_to_clear"], before["ended_at"]) == (1, 1, None)
    assert "customers to follow up" in command("outages")
    assert "N-2" in command("outages", "O-1")
    assert command("outages", "O-9") == (1, "promise-ledger: there is no outage O-9\n")


def test_the_words_of_the_erased_are_marked(world: World, command: Command) -> None:
    world.tamper(
        "UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = '2026-04-01' WHERE customer_id = 'C-1'"
    )
    mark = "[erased on 2026-04-01]"
    assert {each["text"] for each in command("concerns", "--json")} == {mark}
    assert [each["text"] for each in command("problems", "--json")] == [mark]
    assert [each["text"] for each in command("outages", "O-1", "--json")["list"]] == ["Call me.", "Call me."]


def test_promised_time_stands_beside_what_it_took(world: World, command: Command) -> None:
    for number, due_at, claimed_at, kind in ((1, 24, 12, "deliver"), (2, 48, 72, "deliver"), (3, 24, 24, "fix")):
        world.make(number, due_at=due_at, kind=kind, verification="not_required")
        tell(world, "promise.claim_kept", claimed_at, promise_id=f"P-{number}")
    world.make(4, due_at=24)  # not kept yet: it counts nowhere
    world.catch_up()
    columns = ("kept", "promised_days_p50", "actual_days_p50", "promised_days_p90", "actual_days_p90", "small")
    found = {(each["kind"], each["owner"]): each for each in command("delivery-times", "--json")}
    assert len(found) == 6
    assert [found["deliver", "u-1"][column] for column in columns] == [2, 1.0, 0.5, 2.0, 3.0, True]
    assert found["deliver", None]["later_than_promised"] == 1
    assert [found[None, None][column] for column in columns] == [3, 1.0, 1.0, 2.0, 3.0, True]
    early = command("delivery-times", "--as-of", "2026-03-02T00:00:00Z", "--json")[0]
    assert early["kind"] is None
    assert (early["owner"], early["kept"]) == (None, 1)
    assert "actual days p50" in command("delivery-times")
