"""The scorecard, against numbers worked out by hand. The period is the first hundred hours of the story."""

from typing import Any

import orjson
import pytest

from deploy import cli
from projections.runner import rebuild
from projections.scorecard import Measure, scorecard
from tests.projections.test_blast import attempt, disclose, falsify
from tests.projections.world import World, at


def tell(world: World, command: str, occurred_at: float, **data: Any) -> None:
    assert world.tell(command, occurred_at, **data) == "recorded"


def keep(world: World, number: int, claimed_at: float, customer_id: str = "C-1") -> None:
    tell(world, "promise.claim_kept", claimed_at, promise_id=f"P-{number}")
    tell(world, "promise.verify", claimed_at + 1, promise_id=f"P-{number}", verified_by=customer_id)


def promised(world: World) -> None:
    """Ten promises that count, of which four are kept; what does not count and why stands beside it."""
    for number in (1, 3, 6, 7, 9, 10, 12):
        world.make(number, customer_id="C-3" if number == 3 else "C-1")
    keep(world, 1, 20)
    world.make(2, kind="fix")
    keep(world, 2, 30)  # late
    tell(world, "promise.claim_kept", 20, promise_id="P-3")  # nobody said that it is so
    world.make(4, due_at=48, owner="u-2", verification="not_required")
    tell(world, "promise.claim_kept", 12, promise_id="P-4")
    world.make(5, owner="u-2")
    tell(world, "promise.break", 10, promise_id="P-5", reason_code="stock", text="None left.")
    tell(world, "promise.release", 10, promise_id="P-6", evidence="letter 1")  # does not count
    tell(world, "promise.release", 30, promise_id="P-7", evidence="letter 2")  # given up once it was late: counts
    world.make(8, condition={"text": "if you are in", "by": at(12)})  # does not count: they were not
    tell(world, "promise.warn", 8, promise_id="P-9", reason="Snow.")
    disclose(world, "D-9", 10, about={"promise_id": "P-9"})
    tell(world, "promise.reschedule", 12, promise_id="P-9", new_due_at=at(60), disclosure_id="D-9")
    keep(world, 9, 50)
    terms = {"promise_id": "P-11", "customer_id": "C-1", "kind": "deliver", "text": "Next week.", "owner": "u-1"}
    terms |= {"channel": "phone", "basis": "known"}
    new = terms | {"due_at": at(150)}
    tell(world, "promise.supersede", 20, promise_id="P-10", disclosure_id="D-9", promise=new)
    tell(world, "promise.warn", 23, promise_id="P-12", reason="Ice.")
    keep(world, 12, 101)  # after the period
    world.make(13, due_at=120)
    world.make(14, due_at=100)  # the next period's
    world.make(15, occurred_at=-24, due_at=0)
    tell(world, "promise.warn", 6, promise_id="P-15", reason="Fog.")  # six hours after it was due


def told(world: World) -> None:
    """Four problems and the six customers whom they touch."""
    for number, detected_at, known_since, by, affected in (
        (1, 10, 4, "us", ["C-1", "C-2"]),
        (2, 20, 20, "customer", ["C-3"]),
        (3, 30, 20, "us", ["C-4"]),
        (4, 60, 60, "us", ["C-5"]),
        (5, 100, 90, "customer", ["C-9"]),  # the next period's
    ):
        problem = {"problem_id": f"B-{number}", "known_since": at(known_since), "detected_by": by, "severity": 2}
        tell(world, "problem.detect", detected_at, **problem, summary="It leaks.", affected=affected, owner="u-5")
    for number, told_at, customer_id in ((1, 16, "C-1"), (2, 26, "C-3"), (3, 50, "C-4"), (4, 65, "C-6")):
        disclose(world, f"D-B{number}", told_at, customer_id, about={"problem_id": f"B-{number}"})
    disclose(world, "D-B1-2", 28, "C-2", about={"problem_id": "B-1"}, based_on=["D-9"])
    tell(world, "problem.reported", 20, customer_id="C-1", problem_id="B-1", text="It leaks here too.")
    tell(world, "problem.reported", 40, customer_id="C-4", problem_id="B-3", text="It leaks.")  # we had not told them
    tell(world, "problem.reported", 41, customer_id="C-7", text="Something else.")
    tell(world, "problem.affect", 70, problem_id="B-4", affected=["C-6"])
    disclose(world, "D-B4-late", 130, "C-5", about={"problem_id": "B-4"})
    falsify(world, "D-9", 60, known_since=55)
    disclose(world, "D-sorry", 70, "C-2", corrects="D-B1-2")
    disclose(world, "D-sorry-9", 110, corrects="D-9")


def asked(world: World) -> None:
    for number, answered_at, answer in ((1, 40, "yes"), (2, 50, "no"), (3, 100, "yes")):
        contact = {"contact_id": f"T-{number}", "customer_id": f"C-{number}", "channel": "phone", "outcome": "done"}
        tell(world, "contact.record", 30, **contact, actor=f"u-{number}")
        tell(world, "survey.send", 31, contact_id=f"T-{number}", question="Would you hire them?", actor="robot")
        tell(world, "survey.answer", answered_at, contact_id=f"T-{number}", answer=answer, actor="robot")
    for number, declined_at, other in ((1, 30, {"refer_to": "Elsewhere Ltd"}), (2, 35, {}), (3, 105, {})):
        need = {"need_id": f"N-{number}", "customer_id": "C-1", "why": "We do not do that."}
        tell(world, "need.decline", declined_at, **need, **other)


def whole(world: World) -> World:
    promised(world)
    told(world)
    asked(world)
    world.catch_up()
    return world


@pytest.fixture(scope="module")
def story(shared_world: World) -> World:
    """For those who only ask."""
    return whole(shared_world)


@pytest.fixture
def longer(world: World) -> World:
    """The same for those who tell more of it."""
    return whole(world)


def card(
    world: World, start: float | None, stop: float | None, by: Any = None, known_at: float | None = None
) -> list[Measure]:
    first, last, known = (None if hours is None else at(hours) for hours in (start, stop, known_at))
    return scorecard(world.connection_of_tuples(), start=first, stop=last, by=by, known_at=known)


def figures(measures: list[Measure], group_id: str | None = None) -> dict[str, tuple[float | None, int, int]]:
    return {m.measure: (m.value, m.counted, m.out_of) for m in measures if m.group_id == group_id}


HOURS = 1 / 24
PERIOD = {
    "kept": (0.4, 4, 10),
    "not_yet_verified": (0.1, 1, 10),
    "kept_by_our_word": (0.25, 1, 4),
    "on_time": (0.3, 3, 10),
    "on_time_as_first_promised": (0.2, 2, 10),
    "notice_p50": (1 * HOURS, 3, 10),  # of -6, 1 and 16 hours
    "promised_time_p50": (24 * HOURS, 4, 10),  # of 24, 24, 24 and 48
    "actual_time_p50": (20 * HOURS, 4, 10),  # of 12, 20, 30 and 50
    "detect_to_disclose_p50": (12 * HOURS, 5, 6),  # of 0, 6, 12, 24 and 30
    "detect_to_disclose_p95": (30 * HOURS, 5, 6),
    "found_by_us_first": (0.5, 2, 4),
    "corrections_outstanding": (0.5, 1, 2),
    "would_hire": (0.5, 1, 2),
    "declined_with_referral": (0.5, 1, 2),
}


def test_each_measure_of_a_period_as_worked_out_by_hand(story: World) -> None:
    measures = card(story, 0, 100)
    assert figures(measures) == {name: (pytest.approx(value), *n) for name, (value, *n) in PERIOD.items()}
    assert [m.measure for m in measures] == list(PERIOD)
    assert {m.measure for m in measures if not m.small} == {
        "kept",
        "not_yet_verified",
        "on_time",
        "on_time_as_first_promised",
    }, "a share is small by its denominator, days by how many they come from"


def test_what_happened_after_the_period_is_not_in_it_but_in_the_present(story: World) -> None:
    figures_now = figures(card(story, None, None))
    # P-12 was kept after all; P-11, P-13 and P-14 are past due by now
    assert figures_now["kept"] == (pytest.approx(5 / 13), 5, 13)
    assert figures_now["corrections_outstanding"] == (0, 0, 2)
    assert figures_now["found_by_us_first"] == (0.4, 2, 5)
    assert figures_now["detect_to_disclose_p50"] == (pytest.approx(12 * HOURS), 6, 7)
    assert figures_now["would_hire"] == (pytest.approx(2 / 3), 2, 3)
    assert figures_now["declined_with_referral"] == (pytest.approx(1 / 3), 1, 3)


def test_consecutive_periods_count_each_promise_once(story: World) -> None:
    parts = [figures(card(story, start, stop)) for start, stop in ((None, 0), (0, 24), (24, 100), (100, None))]
    assert [part["kept"][2] for part in parts] == [0, 1, 9, 3]
    assert [part["would_hire"][2] for part in parts] == [0, 0, 2, 1]
    assert [part["found_by_us_first"][2] for part in parts] == [0, 2, 2, 1]


def test_an_empty_period_says_none_out_of_none(story: World) -> None:
    measures = card(story, 1000, 1001)
    assert figures(measures)["kept"] == (None, 0, 0)
    assert [m.measure for m in measures] == list(PERIOD)
    assert all(m.small for m in measures)


def test_by_owner(story: World) -> None:
    measures = card(story, 0, 100, "owner")
    first, second, fifth = (figures(measures, owner) for owner in ("u-1", "u-2", "u-5"))
    assert (first["kept"], second["kept"]) == ((0.375, 3, 8), (0.5, 1, 2))
    assert (first["would_hire"], second["would_hire"]) == ((1, 1, 1), (0, 0, 1)), "by whom the customer spoke to"
    assert (fifth["found_by_us_first"], fifth["detect_to_disclose_p50"][1:]) == ((0.5, 2, 4), (5, 6))
    assert first["corrections_outstanding"] == (0.5, 1, 2)
    assert fifth["kept"] == (None, 0, 0)
    assert {m.group_id for m in measures} == {"u-1", "u-2", "u-5"}


def test_by_kind_there_are_promises_alone(story: World) -> None:
    measures = card(story, 0, 100, "kind")
    assert {m.group_id for m in measures} == {"deliver", "fix"}
    assert figures(measures, "fix")["kept"] == (1, 1, 1)
    assert figures(measures, "fix")["on_time"] == (0, 0, 1)
    assert "would_hire" not in figures(measures, "fix")


def test_by_customer(story: World) -> None:
    measures = card(story, 0, 100, "customer")
    third, fourth, second = (figures(measures, customer) for customer in ("C-3", "C-4", "C-2"))
    assert (third["kept"], third["not_yet_verified"]) == ((0, 0, 1), (1, 1, 1))
    assert (fourth["found_by_us_first"], second["found_by_us_first"]) == ((0, 0, 1), (1, 1, 1))
    assert second["corrections_outstanding"] == (0, 0, 1)
    assert figures(measures, "C-1")["corrections_outstanding"] == (1, 1, 1)
    assert figures(measures, "C-6")["detect_to_disclose_p50"] == (0, 1, 1), "told before we knew that it touches them"
    assert figures(measures, "C-5")["detect_to_disclose_p50"] == (None, 0, 1), "not told yet"


def told_late(world: World) -> None:
    """At hour 200, of the first hundred hours: something for every measure."""
    world.now = at(200)
    world.make(16, due_at=24, verification="not_required", occurred_at=1, owner="u-9")
    tell(world, "promise.warn", 2, promise_id="P-16", reason="Hail.")
    tell(world, "promise.claim_kept", 11, promise_id="P-16")
    tell(world, "promise.warn", 1, promise_id="P-11", reason="Rain.")
    problem = {"problem_id": "B-9", "known_since": at(50), "detected_by": "us", "severity": 2, "owner": "u-9"}
    tell(world, "problem.detect", 50, **problem, summary="It leaks.", affected=["C-8"])
    tell(world, "problem.affect", 51, problem_id="B-1", affected=["C-8"])
    tell(world, "problem.reported", 61, customer_id="C-5", problem_id="B-4", text="It leaks.")
    disclose(world, "D-B3-first", 35, "C-4", about={"problem_id": "B-3"})
    falsify(world, "D-B2", 80, known_since=79)
    attempt(world, "D-B1", 90)
    contact = {"contact_id": "T-9", "customer_id": "C-9", "channel": "phone", "outcome": "done"}
    tell(world, "contact.record", 30, **contact, actor="u-9")
    tell(world, "survey.send", 31, contact_id="T-9", question="Would you hire them?", actor="robot")
    tell(world, "survey.answer", 32, contact_id="T-9", answer="yes", actor="robot")
    tell(world, "need.decline", 33, need_id="N-9", customer_id="C-9", why="We do not do that.", refer_to="Ltd")
    world.catch_up()


def test_what_was_not_known_yet_does_not_count(longer: World) -> None:
    groups = (None, "owner", "kind", "customer")
    falsify(longer, "D-B1", 60, known_since=55)
    longer.catch_up()
    before = [card(longer, 0, 100, by) for by in groups]
    told_late(longer)
    assert [card(longer, 0, 100, by, known_at=199) for by in groups] == before
    after, earlier = (figures(card(longer, 0, 100, known_at=hours)) for hours in (200, 199))
    assert after == figures(card(longer, 0, 100))
    assert [name for name in PERIOD if after[name] == earlier[name]] == []


def test_known_at_alone_asks_what_the_card_would_have_shown_then(longer: World) -> None:
    falsify(longer, "D-B1", 60, known_since=55)
    attempt(longer, "D-B1", 98)
    longer.catch_up()
    assert card(longer, None, None, known_at=90) == card(longer, None, 90)
    assert card(longer, None, None, known_at=90) != card(longer, None, None, known_at=99)


def test_a_disputed_promise_is_not_kept_any_more(world: World) -> None:
    world.make(1, verification="not_required")
    tell(world, "promise.claim_kept", 20, promise_id="P-1")
    tell(world, "promise.dispute", 50, promise_id="P-1", text="Nothing came.")
    world.catch_up()
    assert figures(card(world, 0, 50))["kept"] == (1, 1, 1), "the dispute lies at its end, which is not in it"
    assert figures(card(world, 0, 51))["kept"] == (0, 0, 1)


def test_a_promise_that_the_customer_released_counts_where_it_was_overdue_or_claimed_too_late(world: World) -> None:
    for number, claimed_at, released_at in ((1, None, 10), (2, 12, 30), (3, None, 31), (4, 26, 32)):
        world.make(number)
        if claimed_at is not None:
            tell(world, "promise.claim_kept", claimed_at, promise_id=f"P-{number}")
        tell(world, "promise.release", released_at, promise_id=f"P-{number}", evidence="letter")
    world.catch_up()
    assert figures(card(world, 0, 100))["kept"] == (0, 0, 2), "the last two"


def test_a_promise_whose_condition_was_not_met_counts_only_where_it_was_broken(world: World) -> None:
    condition = {"text": "if you are in", "by": at(12)}
    for number in range(1, 5):
        world.make(number, condition=condition)
    disclose(world, "D-1", 2)
    terms = {"customer_id": "C-1", "kind": "deliver", "text": "x", "owner": "u-1", "channel": "phone", "basis": "known"}
    for number in (1, 2):
        if number == 2:
            tell(world, "promise.meet_condition", 10, promise_id="P-2")
        new = terms | {"promise_id": f"P-{number + 10}", "due_at": at(150)}
        tell(world, "promise.supersede", 11, promise_id=f"P-{number}", disclosure_id="D-1", promise=new)
    tell(world, "promise.release", 30, promise_id="P-3", evidence="letter 1")  # the timer was off since hour 12
    tell(world, "promise.break", 11, promise_id="P-4", reason_code="stock", text="None left.")
    world.catch_up()
    assert figures(card(world, 0, 100))["kept"] == (0, 0, 2)  # P-2 and P-4


def test_undisclosed_problems_can_be_asked_for(story: World) -> None:
    rows = story.ask("SELECT problem_id, customer_id, known_since FROM audit.affected_customers WHERE told_at IS NULL")
    assert rows == [{"problem_id": "B-5", "customer_id": "C-9", "known_since": at(90)}]


def test_rebuilt_equals_live(story: World) -> None:
    live = story.rows("scorecard"), card(story, 0, 100), card(story, None, None, "owner")
    assert all(live[0].values())
    rebuild(story.url, story.secrets, "scorecard")
    assert (story.rows("scorecard"), card(story, 0, 100), card(story, None, None, "owner")) == live


def test_the_command_prints_every_measure_with_its_denominator(
    story: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        story.for_commands(monkeypatch)
        monkeypatch.setattr("sys.argv", ["promise-ledger", "scorecard", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out = capsys.readouterr()
        return out.out if not end.value.code else f"{end.value.code}: {out.err}"

    period = ("--from", at(0).isoformat(), "--to", at(100).isoformat())
    found = orjson.loads(said(*period, "--json"))
    assert found["measures"][0] == {
        "group_id": None,
        "measure": "kept",
        "value": 0.4,
        "unit": "share",
        "counted": 4,
        "out_of": 10,
        "small": False,
    }
    assert (found["from"], found["to"], found["by"]) == ("2026-03-01T12:00:00Z", "2026-03-05T16:00:00Z", None)
    lines = [line.split() for line in said(*period).splitlines()]
    assert ["kept", "40.0", "%", "4", "10"] in lines
    assert ["notice", "p50", "1", "h", "3", "10", "small"] in lines
    assert "u-2" in said(*period, "--by", "owner")
    unknown = orjson.loads(said(*period, "--known-at", at(-1).isoformat(), "--json"))
    assert (unknown["known_at"], unknown["measures"][0]["out_of"]) == ("2026-03-01T11:00:00Z", 0)
    assert said("--by", "weather").startswith("2: ")


def test_notice_is_to_the_due_time_that_the_customer_was_warned_of(world: World) -> None:
    world.make(1)
    tell(world, "promise.warn", 8, promise_id="P-1", reason="Snow.")
    disclose(world, "D-1", 10)
    tell(world, "promise.reschedule", 12, promise_id="P-1", new_due_at=at(60), disclosure_id="D-1")
    world.catch_up()
    assert figures(card(world, 0, 100))["notice_p50"] == (pytest.approx(16 * HOURS), 1, 1)


def test_notice_is_to_the_due_time_of_that_moment_whatever_is_recorded_late(world: World) -> None:
    for number, late in ((1, True), (2, False)):
        world.make(number)
        disclose(world, f"D-{number}", 2, about={"promise_id": f"P-{number}"})
        moved = {"promise_id": f"P-{number}", "disclosure_id": f"D-{number}"}
        told = [(6, {"new_due_at": at(30)}), (12, {"new_due_at": at(60)})]
        for hour, due in reversed(told) if late else told:
            tell(world, "promise.reschedule", hour, **moved, **due)
        tell(world, "promise.warn", 8, promise_id=f"P-{number}", reason="Snow.")
    world.catch_up()
    assert figures(card(world, 0, 100))["notice_p50"] == (pytest.approx(22 * HOURS), 2, 2)


def test_a_later_claim_or_warning_is_not_in_the_period_though_what_came_before_is_told_after_it(world: World) -> None:
    world.make(1)
    world.make(2)
    tell(world, "promise.warn", 130, promise_id="P-1", reason="Snow.")
    tell(world, "promise.claim_kept", 140, promise_id="P-1")
    tell(world, "promise.claim_kept", 90, promise_id="P-2")
    for number in (1, 2):
        tell(world, "promise.read_back", 20, promise_id=f"P-{number}", confirmed=True)
    world.catch_up()
    early = figures(card(world, 0, 100))
    assert (early["not_yet_verified"], early["notice_p50"]) == ((0.5, 1, 2), (None, 0, 2))
    late = figures(card(world, 0, 150))
    assert (late["not_yet_verified"], late["notice_p50"]) == ((1, 2, 2), (pytest.approx(-106 * HOURS), 1, 2))


def test_each_fact_says_which_event_it_comes_from(story: World) -> None:
    query = "SELECT topic FROM {} AS f JOIN ledger.events ON notification_id = f.leaf_index + 1 WHERE {} ORDER BY 1"
    for view, which, topics in (
        ("audit.affected_customers", "f.customer_id IN ('C-5', 'C-6')", ["customers_affected", "detected"]),
        ("audit.problem_detections", "f.problem_id = 'B-4'", ["detected"]),
        ("audit.customer_signals", "f.about_id = 'B-3'", ["reported"]),
    ):
        assert [row["topic"] for row in story.ask(query.format(view, which))] == [f"problem.{each}" for each in topics]
