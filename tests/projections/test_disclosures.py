"""What we told whom: the read table of disclosures, its marks, and the same after a rebuild at any moment."""

import random
from datetime import timedelta
from typing import Any

import pytest

from projections import applying, states
from projections.runner import Runner, rebuild
from tests.projections.test_blast import disclose, falsify, flooded
from tests.projections.world import World, at


def row(world: World, disclosure_id: str) -> dict[str, Any]:
    world.catch_up()
    (found,) = world.ask("SELECT * FROM audit.disclosures WHERE disclosure_id = %s", disclosure_id)
    return found


def test_a_disclosure_says_who_was_told_what_about_what_resting_on_what(world: World) -> None:
    flooded(world)
    disclose(
        world,
        "D-full",
        8,
        "C-2",
        based_on=["D-flood", "D-late"],
        basis="assumed",
        reason_class="weather",
        control="beyond",
        apology=True,
        solution_ref="S-1",
        next_update_at=at(20),
        outage_id="O-1",
        actor="u-7",
        owner="u-8",
        channel="letter",
        case_id="case-1",
    )
    world.make(5, 9, 200, customer_id="C-3", based_on=["D-full"])
    assert row(world, "D-full") == {
        "disclosure_id": "D-full",
        "customer_id": "C-2",
        "owner": "u-8",
        "made_at": at(8),
        "made_by": "u-7",
        "channel": "letter",
        "text": "The depot flooded.",
        "about_problem_id": None,
        "about_promise_id": "P-2",
        "about_concern_id": None,
        "reason_class": "weather",
        "control": "beyond",
        "apology": True,
        "solution_ref": "S-1",
        "next_update_at": at(20),
        "outage_id": "O-1",
        "basis": "assumed",
        "based_on": ["D-flood", "D-late"],
        "promises": ["D-full:next-update", "P-5"],
        "acknowledged_at": None,
        "falsified_at": None,
        "known_false_since": None,
        "contaminated": False,
        "corrects": None,
        "corrected_by": [],
        "case_id": "case-1",
        "version": 1,
        "made_leaf_index": 9,
        "leaf_index": 9,
    }


def test_what_became_of_it_is_marked(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    assert world.tell("disclosure.acknowledge", 8, disclosure_id="D-late") == "recorded"
    disclose(world, "D-sorry", 9, corrects="D-flood")
    flood, late, sorry = (row(world, each) for each in ("D-flood", "D-late", "D-sorry"))
    assert (flood["falsified_at"], flood["known_false_since"], flood["contaminated"]) == (at(7), at(4), False)
    assert (flood["corrected_by"], sorry["corrects"], sorry["about_promise_id"]) == (["D-sorry"], "D-flood", "P-1")
    assert (late["falsified_at"], late["contaminated"], late["acknowledged_at"]) == (None, True, at(8))
    assert (row(world, "D-later")["contaminated"], row(world, "D-else")["contaminated"]) == (True, False)
    falsify(world, "D-late", 10, known_since=10)
    assert row(world, "D-late")["contaminated"] is True, "false itself, and resting on a falsehood"


def test_what_rests_on_a_falsehood_told_afterwards_is_contaminated_too(world: World) -> None:
    flooded(world)
    falsify(world, "D-late", 7, known_since=7)
    disclose(world, "D-again", 8, "C-2", based_on=["D-later"])
    assert row(world, "D-again")["contaminated"] is True
    assert row(world, "D-flood")["contaminated"] is False


def test_a_basis_named_twice_is_one_link(world: World) -> None:
    flooded(world)
    disclose(world, "D-twice", 8, based_on=["D-flood", "D-flood"])
    world.catch_up()
    assert len(world.ask("SELECT * FROM audit.disclosure_links WHERE dependent_id = 'D-twice'")) == 1


def test_falsehoods_and_corrections_as_of_either_clock(world: World) -> None:
    flooded(world)
    world.now = at(20)
    falsify(world, "D-flood", 7, known_since=4)
    world.now = at(30)
    disclose(world, "D-sorry", 9, corrects="D-flood")
    world.now = at(40)
    falsify(world, "D-sorry", 12, known_since=12)
    world.now = at(50)
    disclose(world, "D-after", 13, based_on=["D-late"])
    world.catch_up()

    def false(as_of: float | None, known_at: float | None = None) -> list[tuple[str, bool, bool]]:
        moments = [None if hours is None else at(hours) for hours in (as_of, known_at)]
        rows = world.ask("SELECT * FROM audit.corrections_as_of(%s::timestamptz, %s::timestamptz)", *moments)
        return sorted((row["disclosure_id"], row["falsified"], row["corrected_at"] is None) for row in rows)

    others = [("D-late", False, True), ("D-later", False, True)]
    assert ("D-after", False, True) in false(13)
    assert ("D-after", False, True) not in false(12.9), "nobody had been told it yet"
    assert false(6.9) == []
    assert false(7) == [("D-flood", True, True), *others]
    assert false(8, 20) == [("D-flood", True, True), *others]
    assert false(8, 19) == []
    assert false(9) == [("D-flood", True, False), *others]
    assert false(9, 29) == [("D-flood", True, True), *others]
    assert false(None, 30) == [("D-flood", True, False), *others]
    assert false(12) == [("D-flood", True, True), *others, ("D-sorry", True, True)]
    early = world.ask("SELECT disclosure_id FROM audit.falsehoods_as_of(%s, %s)", at(4), at(50))
    assert early == [], "falsified at 7, whatever it was known since"


def test_the_history_of_a_disclosure_has_each_event_with_what_it_led_to(world: World) -> None:
    flooded(world)
    falsify(world, "D-flood", 7, known_since=4)
    disclose(world, "D-sorry", 9, corrects="D-flood")
    world.catch_up()
    rows = world.ask("SELECT * FROM audit.disclosure_history WHERE disclosure_id = 'D-flood' ORDER BY leaf_index")
    assert [(row["type"], row["version"], row["falsified_at"], row["corrected_by"]) for row in rows] == [
        ("disclosure.made", 1, None, []),
        ("disclosure.falsified", 2, at(7), []),
        ("disclosure.corrected", 3, at(7), ["D-sorry"]),
    ]


def test_an_erased_text_is_gone_and_the_row_stays(world: World) -> None:
    flooded(world)
    world.catch_up()
    world.connection.execute("DELETE FROM read_texts_v1.texts WHERE customer_id = 'C-1'")
    assert (row(world, "D-flood")["text"], row(world, "D-late")["text"]) == (None, "The depot flooded.")


def test_one_customers_disclosures_are_an_index_lookup(world: World) -> None:
    world.connection.execute("SET enable_seqscan = off")  # the tables of a test are too small for an index to pay
    plan = world.ask("EXPLAIN SELECT * FROM audit.disclosures WHERE customer_id = 'C-1'")
    assert "disclosures_customer" in str(plan)
    assert "Seq Scan" not in str(plan)


def test_rebuilt_equals_live_at_any_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told at random: disclosures that rest on others, falsehoods, corrections of them and of corrections."""
    monkeypatch.setattr(applying, "LIVE_BATCH", 7)
    monkeypatch.setattr(states, "REMEMBERED", 3)  # so that states are read back from their tables as well
    flooded(world)
    chance, ids = random.Random(5), ["D-flood", "D-late"]
    customer = {"D-flood": "C-1", "D-late": "C-2"}
    for number in range(90):
        world.now = at(10) + timedelta(minutes=number)
        new, old = f"D-{number}", chance.choice(ids)
        what = chance.randrange(3)
        if what == 0 and world.tell("disclosure.falsify", 10, disclosure_id=old, known_since=at(9), why="No.") != "":
            continue
        if what == 1:
            customer[new] = customer[old]
            disclose(world, new, 10, customer[old], corrects=old, based_on=chance.sample(ids, chance.randrange(2)))
        else:
            customer[new] = f"C-{chance.randint(1, 3)}"
            disclose(world, new, 10, customer[new], based_on=chance.sample(ids, 2))
        ids.append(new)
        if number % 30 == 0:
            Runner(world.url, world.secrets).catch_up(chance.randrange(8 + number))
    world.catch_up()
    live = world.rows("disclosures"), asked(world)
    rebuild(world.url, world.secrets, "disclosures")
    assert (world.rows("disclosures"), asked(world)) == live
    assert all(live[0].values())
    assert {row["contaminated"] for row in live[1][0]} == {True, False}
    assert len(live[1][1]) > 10


def asked(world: World) -> list[list[dict[str, Any]]]:
    views = ("disclosures", "corrections_owed")
    return [world.ask(f"SELECT * FROM audit.{view} ORDER BY disclosure_id") for view in views]
