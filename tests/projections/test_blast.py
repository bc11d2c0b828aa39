"""The blast radius of a falsehood: what rests on it, who was told, who repeated it, which corrections are owed."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from deploy import cli
from projections.blast import BlastRadius, blast_radius
from tests.projections.falsehoods import chain, fill, star
from tests.projections.world import World, at

MANY = 100_000


def disclose(world: World, disclosure_id: str, occurred_at: float, customer_id: str = "C-1", **data: Any) -> None:
    """Somebody tells the customer something about the promise P-1 of C-1, or P-<customer> of another."""
    said = {
        "disclosure_id": disclosure_id,
        "customer_id": customer_id,
        "text": "The depot flooded.",
        "owner": "u-1",
        "apology": False,
        "channel": "phone",
        "basis": "known",
    }
    kind = "disclosure.correct" if "corrects" in data else "disclosure.make"
    about = {} if "corrects" in data else {"about": {"promise_id": f"P-{customer_id[2:]}"}}
    assert world.tell(kind, occurred_at, **said | about | data) == "recorded"


def falsify(world: World, disclosure_id: str, occurred_at: float, known_since: float) -> None:
    why = {"why": "It never rained.", "known_since": at(known_since)}
    assert world.tell("disclosure.falsify", occurred_at, disclosure_id=disclosure_id, **why) == "recorded"


def flooded(world: World) -> None:
    """C-1 is told of a flood; C-2 and C-3 are told what rests on that; it was known to be untrue at hour 4."""
    for number in (1, 2, 3):
        world.make(number, customer_id=f"C-{number}", due_at=200)
    disclose(world, "D-flood", 1)
    disclose(world, "D-late", 2, "C-2", based_on=["D-flood"], actor="u-2")
    disclose(world, "D-later", 5, "C-3", based_on=["D-late", "D-flood"], actor="u-3")
    disclose(world, "D-else", 3, "C-2")
    world.make(9, 6, 200, customer_id="C-3", based_on=["D-later"], actor="u-4")
    world.make(8, 6, 200, based_on=["D-else"])


def asked(world: World, disclosure_id: str) -> dict[str, Any]:
    world.catch_up()
    found = blast_radius(world.connection_of_tuples(), disclosure_id)
    assert found is not None
    return found.to_dict()


def items(found: dict[str, Any], *members: str) -> list[tuple[Any, ...]]:
    return [tuple(row[member] for member in ("id", *members)) for row in found["items"]]


def test_what_rests_on_a_falsehood_reaches_across_customers_and_to_promises(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    found = asked(world, "D-flood")
    assert items(found, "kind", "customer_id", "made_by", "repeated", "correction", "leaf_index") == [
        ("D-flood", "disclosure", "C-1", "u-1", False, "owed", 3),
        ("D-late", "disclosure", "C-2", "u-2", False, "owed", 4),
        ("D-later", "disclosure", "C-3", "u-3", True, "owed", 5),
        ("P-9", "promise", "C-3", "u-4", True, None, 7),
    ]
    del found["items"]
    assert found == {
        "disclosure_id": "D-flood",
        "falsified_at": at(7),
        "known_false_since": at(4),
        "rests_on_falsehoods": [],
        "told": ["C-1", "C-2", "C-3"],
        "repeated_by": ["u-3", "u-4"],
        "corrections": {"owed": 3, "attempted": 0, "delivered": 0},
    }


def test_before_it_is_falsified_nothing_is_owed(world: World) -> None:
    flooded(world)
    found = asked(world, "D-flood")
    assert items(found, "repeated", "correction") == [(i, False, None) for i in ("D-flood", "D-late", "D-later", "P-9")]
    assert found["corrections"] == {"owed": 0, "attempted": 0, "delivered": 0}
    assert blast_radius(world.connection_of_tuples(), "D-nobody") is None


def test_what_rests_on_a_falsehood_has_a_blast_radius_of_its_own(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    found = asked(world, "D-late")
    assert (found["falsified_at"], found["rests_on_falsehoods"]) == (None, ["D-flood"])
    assert items(found, "repeated", "correction") == [
        ("D-late", False, "owed"),
        ("D-later", True, "owed"),
        ("P-9", True, None),
    ]


def test_its_own_knowledge_decides_who_repeated_a_falsehood_that_rests_on_another(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=1)
    falsify(world, "D-late", 7, known_since=5)  # D-later was told at that very moment, not after it
    assert items(asked(world, "D-late"), "repeated") == [("D-late", False), ("D-later", False), ("P-9", True)]


def test_a_correction_settles_what_it_corrects_and_nothing_else(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    disclose(world, "D-sorry", 8, "C-2", corrects="D-late")
    found = asked(world, "D-flood")
    assert found["corrections"] == {"owed": 2, "attempted": 0, "delivered": 1}
    assert items(found, "correction", "corrected_by", "corrected_at")[:3] == [
        ("D-flood", "owed", None, None),
        ("D-late", "delivered", "D-sorry", at(8)),
        ("D-later", "owed", None, None),
    ]
    assert owed(world) == ["D-flood", "D-later"]
    disclose(world, "D-sorry-1", 9, corrects="D-flood")
    disclose(world, "D-sorry-3", 9, "C-3", corrects="D-later")
    found = asked(world, "D-flood")
    assert found["corrections"] == {"owed": 0, "attempted": 0, "delivered": 3}
    assert owed(world) == []


def test_an_attempt_to_reach_them_is_on_record_until_it_is_false_once_more(world: World) -> None:
    def outstanding() -> tuple[list[str], list[str], int]:
        """What is owed as three answer: the view, the findings, the scorecard."""
        findings = world.ask("SELECT subject FROM audit.findings WHERE code = 'correction-owed' ORDER BY subject")
        (card,) = world.ask("SELECT counted FROM audit.scorecard() WHERE measure = 'corrections_outstanding'")
        return owed(world), [row["subject"].removeprefix("disclosure:") for row in findings], card["counted"]

    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    attempt(world, "D-late", 9, "C-2")
    found = asked(world, "D-flood")
    assert items(found, "correction")[:3] == [("D-flood", "owed"), ("D-late", "attempted"), ("D-later", "owed")]
    assert found["corrections"] == {"owed": 2, "attempted": 1, "delivered": 0}
    assert outstanding() == (["D-flood", "D-later"], ["D-flood", "D-later"], 2)
    for tables in ("followups", "followups_due", "followup_history", "followups_due_as_of()"):
        about = world.ask(f"SELECT DISTINCT about_disclosure_id AS id, about_promise_id FROM audit.{tables}")
        assert about == [{"id": "D-late", "about_promise_id": None}], tables
    before = blast_radius(world.connection_of_tuples(), "D-flood", as_of=at(8))
    assert before is not None
    assert (before.owed, before.attempted) == (3, 0)
    falsify(world, "D-late", 12, known_since=11)
    assert asked(world, "D-flood")["corrections"] == {"owed": 3, "attempted": 0, "delivered": 0}
    assert outstanding() == (["D-flood", "D-late", "D-later"], ["D-flood", "D-late", "D-later"], 3)
    as_it_was = blast_radius(world.connection_of_tuples(), "D-flood", as_of=at(10))
    assert as_it_was is not None
    assert as_it_was.attempted == 1, "not known yet to be false once more"


def attempt(world: World, disclosure_id: str, occurred_at: float, customer_id: str = "C-1") -> None:
    """Somebody tries to reach the customer about the disclosure."""
    followup = {"followup_id": f"F-{disclosure_id}", "customer_id": customer_id, "owner": "u-1", "due_at": at(99)}
    about = {"about": {"disclosure_id": disclosure_id}}
    assert world.tell("followup.schedule", occurred_at, **followup, **about) == "recorded"
    tried = {"followup_id": f"F-{disclosure_id}", "channel": "phone", "reached": False}
    assert world.tell("followup.attempt", occurred_at, **tried) == "recorded"


@pytest.mark.parametrize("late", [False, True])
def test_an_attempt_before_it_was_known_false_is_none_in_whichever_order_they_are_told(
    world: World, late: bool
) -> None:
    flooded(world)
    if not late:
        attempt(world, "D-flood", 6)
    falsify(world, "D-flood", 9, known_since=8)
    if late:
        attempt(world, "D-flood", 6)
    assert items(asked(world, "D-flood"), "correction")[0] == ("D-flood", "owed")
    assert owed(world) == ["D-flood", "D-late", "D-later"]
    (card,) = world.ask("SELECT counted FROM audit.scorecard() WHERE measure = 'corrections_outstanding'")
    assert card["counted"] == 3


def test_an_attempt_about_an_untrue_correction_counts_for_what_it_corrected(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    disclose(world, "D-sorry", 8, corrects="D-flood")
    falsify(world, "D-sorry", 9, known_since=9)
    attempt(world, "D-sorry", 10)
    assert items(asked(world, "D-flood"), "correction")[0] == ("D-flood", "attempted")
    assert owed(world) == ["D-late", "D-later"]


def test_a_correction_that_is_untrue_itself_corrects_nothing_until_it_is_corrected(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    disclose(world, "D-sorry", 8, corrects="D-flood")
    falsify(world, "D-sorry", 9, known_since=9)
    assert items(asked(world, "D-flood"), "correction", "corrected_by")[0] == ("D-flood", "owed", None)
    assert owed(world) == ["D-flood", "D-late", "D-later", "D-sorry"]
    disclose(world, "D-truth", 10, corrects="D-sorry")
    assert items(asked(world, "D-flood"), "corrected_by", "corrected_at")[0] == ("D-flood", "D-truth", at(10))
    assert owed(world) == ["D-late", "D-later"]


def test_a_correction_that_rests_on_a_falsehood_corrects_nothing(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    falsify(world, "D-else", 7, known_since=7)
    disclose(world, "D-sorry", 8, corrects="D-flood", based_on=["D-else"])
    assert items(asked(world, "D-flood"), "correction")[0] == ("D-flood", "owed")
    assert owed(world) == ["D-else", "D-flood", "D-late", "D-later", "D-sorry"]


def owed(world: World) -> list[str]:
    return [row["disclosure_id"] for row in world.ask("SELECT * FROM audit.corrections_owed ORDER BY disclosure_id")]


def found_in_time(world: World, disclosure_id: str) -> BlastRadius:
    """The answer, for which server and client computed less than the bound: once in three runs is enough, since the
    machine may be busy with others.
    """
    with world.connection_of_tuples() as connection:
        for _ in range(3):
            started = busy_seconds(connection)
            found = blast_radius(connection, disclosure_id)
            if (seconds := busy_seconds(connection) - started) < BOUND_SECONDS:
                assert found is not None
                return found
    pytest.fail(f"it took {seconds:.1f} s")


def busy_seconds(connection: psycopg.Connection[Any]) -> float:
    """What the processor spent on this process and on its server process so far."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The goal is one second. Runs took from 0.6 to 1.1 s of processor time on one machine, as fast as it was that hour: the
# bound is what no run may reach, not the goal.
BOUND_SECONDS = 3.0


def test_100_000_disclosures_in_one_chain_are_found_in_a_few_seconds(world: World) -> None:
    fill(world.connection, chain("D", MANY), "D-0")
    found = found_in_time(world, "D-0")
    assert len(found.items) == found.owed == MANY + 1
    assert [item.leaf_index for item in found.items] == list(range(MANY + 1)), "in the log's order"
    assert (len(found.told), found.repeated_by) == (500, [])


def test_100_000_disclosures_in_stars_of_chains_are_found_in_a_few_seconds(world: World) -> None:
    rays = star("D", 10_000)
    links = rays + [link for _, ray in rays[:9_000] for link in chain(ray, 9)] + star("E", 1000)
    fill(world.connection, links + [(ray, f"{ray}-0") for _, ray in rays[:9_000]], "D")
    found = found_in_time(world, "D")
    assert len(found.items) == 1 + 10_000 + 9_000 * 10


def test_it_is_asked_as_of_a_moment_as_far_as_known_then(world: World) -> None:
    flooded(world)
    world.now = at(20)
    falsify(world, "D-flood", 7, known_since=4)
    disclose(world, "D-sorry", 9, corrects="D-flood")
    world.now = at(40)
    disclose(world, "D-regret", 10, "C-2", corrects="D-late", based_on=["D-else"])
    falsify(world, "D-else", 12, known_since=11)
    world.catch_up()

    def found(as_of: float | None, known_at: float | None = None) -> list[tuple[str, str | None, bool]]:
        moments = {name: None if h is None else at(h) for name, h in (("as_of", as_of), ("known_at", known_at))}
        radius = blast_radius(world.connection_of_tuples(), "D-flood", **moments)
        return [] if radius is None else [(each.id, each.correction, each.repeated) for each in radius.items]

    assert found(0) == []
    assert found(3) == [("D-flood", None, False), ("D-late", None, False)]
    assert found(8)[:3] == [("D-flood", "owed", False), ("D-late", "owed", False), ("D-later", "owed", True)]
    assert [each for each in found(8) if each[0] == "P-9"] == [("P-9", None, True)]
    assert [correction for _, correction, _ in found(9)] == ["delivered", "owed", "owed", None]
    assert [correction for _, correction, _ in found(11)] == ["delivered", "delivered", "owed", None]
    assert [correction for _, correction, _ in found(12)] == ["delivered", "owed", "owed", None], (
        "it was untrue as well"
    )
    assert found(11, 30) == found(9)
    assert found(8, 19) == [(each, None, False) for each in ("D-flood", "D-late", "D-later", "P-9")]
    assert found(None, 30) == found(9)


def test_a_circle_ends(world: World) -> None:
    """No command can make one, for what a disclosure rests on exists before it; whoever edits the tables can."""
    fill(world.connection, [*chain("D", 3), ("D-3", "D-0")], "D-0")
    found = found_in_time(world, "D-0")
    assert [item.id for item in found.items] == ["D-0", "D-1", "D-2", "D-3"]
    assert len(owed(world)) == 4


def test_the_search_uses_the_links_by_index(world: World) -> None:
    fill(world.connection, star("D", 3000), "D")
    world.connection.execute("SET enable_seqscan = off")  # the tables of a test are too small for an index to pay
    plan = world.ask("EXPLAIN SELECT * FROM audit.blast_radius('D.7')")
    assert "Seq Scan" not in str(plan)


def test_moments_are_utc(world: World) -> None:
    flooded(world)
    (row, *_) = asked(world, "D-flood")["items"]
    assert isinstance(row["made_at"], datetime)
    assert row["made_at"] == at(1)


def test_the_command_is_bad_news_while_corrections_are_owed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        world.catch_up()
        world.for_commands(monkeypatch)
        monkeypatch.setattr("sys.argv", ["promise-ledger", "blast-radius", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().out

    flooded(world)
    assert said("D-flood", "--json")[0] == 0
    falsify(world, "D-flood", 7, known_since=4)
    code, out = said("D-late", "--json")
    assert (code, [item["id"] for item in orjson.loads(out)["items"]]) == (1, ["D-late", "D-later", "P-9"])
    assert orjson.loads(out)["corrections"] == {"owed": 2, "attempted": 0, "delivered": 0}
    assert "known to be false since 2026-03-01 16:00Z; told" in said("D-flood")[1]
    for corrected, customer_id in (("D-flood", "C-1"), ("D-late", "C-2"), ("D-later", "C-3")):
        disclose(world, f"{corrected}-sorry", 8, customer_id, corrects=corrected)
    assert said("D-flood", "--json")[0] == 0
    assert said("D-nobody") == (1, "")
