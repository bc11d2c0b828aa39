"""What `disclosure.check` answers is what happens when the disclosure is made: not a finding more, none less."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson
import psycopg
import pytest

from ledger.app import Submission
from ledger.checked import Checked, NotNow
from ledger.domain.disclosures import CheckDisclosure, MakeDisclosure
from ledger.receipts import Refusal
from projections.findings import disclosure_check
from projections.findings.disclosure_check import MOST_CLOSED, Checker
from projections.findings.registry import FINDINGS
from projections.findings.report import FINDINGS_REPORT
from projections.reports import ALL
from projections.runner import rebuild
from tests.projections.findings.test_report import any_story
from tests.projections.world import World, at

HISTORY = """
SELECT code, severity, subject, customer_id, case_id, opened_at, closed_at, opened_by, coalesce(detail, '{}') AS detail
FROM audit.finding_history WHERE
"""
RAISED = HISTORY + "opened_by >= %s AND NOT prevented AND coalesce(closed_at > %s, true)"
CLOSED = HISTORY + "opened_by < %s AND closed_by >= %s"
TELLING: dict[str, Any] = {
    "disclosure_id": "D-9",
    "customer_id": "C-1",
    "about": {"problem_id": "X-1"},
    "text": "The lorry is late.",
    "owner": "u-1",
    "apology": False,
    "channel": "phone",
    "basis": "known",
    "next_step": "We call you.",
    "next_update_at": at(40),
}


def question(making: Submission) -> Submission:
    """The question about what `making` would make."""
    assert isinstance(making.command, MakeDisclosure)
    return making._replace(command=CheckDisclosure.of(making.command))


def foretold(world: World, making: Submission) -> Checked:
    """The answer of a checker that has seen nothing before."""
    with closing(Checker(world.url, clock=lambda: world.now)) as checker:
        return checker.check(question(making))


def of(number: int, value: Any) -> Any:
    """The same in a world of its own within the world: X-1 is X-1.7."""
    if isinstance(value, dict):
        return {name: of(number, each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [of(number, each) for each in value]
    return f"{value}.{number}" if isinstance(value, str) and re.fullmatch("[A-Z]-[0-9]", value) else value


def telling(world: World, number: int = 0, /, **changes: Any) -> Submission:
    return world.submission("disclosure.make", at(10), **of(number, TELLING | changes))


def size(world: World) -> int:
    return int(world.ask("SELECT size FROM ledger.head")[0]["size"])


def rows(answer: Any) -> list[str]:
    """Findings as texts that can be compared, in an order of their own."""
    plain = ([(name, value) for name, value in sorted(row.items()) if name != "rule"] for row in answer)
    return sorted(orjson.dumps(row, option=orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS).decode() for row in plain)


def assert_so(world: World, answer: Checked, first: int) -> None:
    """What was recorded from leaf `first` on did what `answer` said."""
    world.catch_up([FINDINGS_REPORT])
    said = [each.model_dump() for each in (*answer.findings, *answer.later)]
    assert {each["opened_by"] for each in said} <= {None}
    raised = [row | {"opened_by": None} for row in world.ask(RAISED, first, world.now)]
    assert rows(said) == rows(raised)
    closed = world.ask(CLOSED, first, first)
    assert rows(each.model_dump() for each in answer.closes) == rows(closed)


def begin(world: World, number: int = 0) -> None:
    """A grave problem that C-1 was not told of and its cause, a falsehood, an outage that is over, a concern."""
    world.now = at(10)
    detected = {"known_since": at(-10), "detected_by": "us", "summary": "It stands.", "owner": "u-1", "severity": 1}
    cause = {"cause_class": "stock", "control": "within", "basis": "verified"}
    terms = {"kind": "deliver", "text": "It comes.", "due_at": at(24), "owner": "u-1", "channel": "phone"}
    promise = terms | {"promise_id": "P-1", "customer_id": "C-1", "basis": "known"}
    told = TELLING | {"about": {"promise_id": "P-1"}, "next_step": None, "next_update_at": None}
    solved = told | {"solution_ref": "S-1"}
    commands: list[tuple[str, float, dict[str, Any]]] = [
        ("promise.make", 0, promise),
        ("problem.detect", 0, {"problem_id": "X-1", "affected": ["C-1", "C-2"], **detected}),
        ("problem.record_cause", 1, {"problem_id": "X-1", **cause}),
        ("concern.raise", 1, {"concern_id": "Q-1", "customer_id": "C-1", "text": "When?", "severity": 3}),
        ("outage.declare", -60, {"outage_id": "O-1", "tool": "crm"}),
        ("outage.end", -50, {"outage_id": "O-1"}),
        ("disclosure.make", 2, solved | {"disclosure_id": "D-1"}),
        ("disclosure.make", 3, solved | {"disclosure_id": "D-2", "based_on": ["D-1"]}),
        ("disclosure.make", 3, told | {"disclosure_id": "D-3"}),
        ("disclosure.falsify", 5, {"disclosure_id": "D-1", "known_since": at(4), "why": "It was not so."}),
    ]
    for command, occurred_at, data in commands:
        assert world.tell(command, occurred_at, **of(number, data)) == "recorded", command


FALSE = {"rests-on-falsehood", "repeated-falsehood", "correction-owed"}
# What is told otherwise than TELLING: the findings open at once, some of those to come, some of those closed.
SAYINGS: dict[str, tuple[dict[str, Any], set[str], set[str], set[str]]] = {
    "well": ({}, set(), {"overdue", "no-warning"}, {"undisclosed-problem"}),
    "the cause as it is": ({"reason_class": "stock", "control": "within"}, set(), set(), set()),
    "another reason": ({"reason_class": "weather"}, {"divergent-reason"}, set(), set()),
    "beyond our control": ({"control": "beyond"}, {"divergent-reason"}, set(), set()),
    "on a falsehood": ({"based_on": ["D-1"]}, FALSE, set(), set()),
    "on what rests on one": ({"based_on": ["D-2"]}, FALSE, set(), set()),
    "an outage that was over": ({"outage_id": "O-1"}, {"false-outage-claim"}, set(), set()),
    "an outage that never was": ({"reason_class": "outage"}, {"false-outage-claim", "divergent-reason"}, set(), set()),
    "nothing more": (
        {"next_step": None, "next_update_at": None},
        {"disclosure-without-way-forward"},
        set(),
        set(),
    ),
    "a step without a date": ({"next_update_at": None}, {"disclosure-without-way-forward"}, set(), set()),
    "owned by the customer": ({"owner": "C-1"}, {"unowned"}, set(), set()),
    "in writing": ({"channel": "letter"}, {"written-only-severe"}, set(), set()),
    "assumed": ({"basis": "assumed"}, set(), {"assumption-open"}, set()),
    "a way forward for what waited": (
        {"about": {"promise_id": "P-1"}},
        set(),
        set(),
        {"disclosure-without-way-forward"},
    ),
    "of a case": ({"case_id": "CASE-7", "owner": "C-1"}, {"unowned"}, set(), set()),
    "to a stranger": ({"customer_id": "C-7"}, set(), {"silent-customer", "neglected-customer"}, set()),
    "about a concern": ({"about": {"concern_id": "Q-1"}, "channel": "post"}, set(), set(), set()),
}


@pytest.mark.parametrize("lag", ["the tables are behind", "all is applied"])
def test_the_answer_is_what_making_it_does(world: World, lag: str) -> None:
    for number, (saying, (changes, at_once, later, closed)) in enumerate(SAYINGS.items()):
        begin(world, number)
        if lag == "all is applied":
            world.catch_up([FINDINGS_REPORT])
        making = telling(world, number, **changes)
        answer, first = foretold(world, making), size(world)
        assert answer.log_size == first
        assert {each.code for each in answer.findings} == at_once, saying
        assert later <= {each.code for each in answer.later}, saying
        assert closed <= {each.code for each in answer.closes}, saying
        assert answer.clean == (not at_once)
        assert all(each.rule == FINDINGS[each.code].rule for each in answer.findings)
        (outcome,) = world.ledger.submit([making])
        assert outcome.status == "recorded", saying
        assert_so(world, answer, first)


@pytest.fixture
def checker(world: World) -> Iterator[Checker]:
    """One that is asked several times."""
    with closing(Checker(world.url, clock=lambda: world.now)) as checker:
        yield checker


def test_of_any_story_each_disclosure_does_what_was_foretold(world: World, checker: Checker) -> None:
    """Most are asked while the tables are behind."""
    asked = refused = raised = closed = behind = 0
    for number, submission in enumerate(any_story(world, 7, 200)):
        world.now = at(number / 4)
        if not isinstance(submission.command, MakeDisclosure):
            world.ledger.submit([submission])
            continue
        first = size(world)
        behind += world.ask("SELECT position < %s AS behind FROM projection.versions WHERE name = 'findings'", first)[
            0
        ]["behind"]
        answer = checker.check(question(submission))
        (outcome,) = world.ledger.submit([submission])
        asked += 1
        if isinstance(outcome, Refusal):
            assert answer.refused is not None
            assert (answer.refused.code, answer.refused.message) == (outcome.code, outcome.message)
            assert answer.findings == answer.later == answer.closes == ()
            refused += 1
        else:
            assert answer.refused is None
            assert_so(world, answer, first)
            raised, closed = raised + len(answer.findings), closed + len(answer.closes)
    assert min(refused, raised, behind) > 5
    assert closed > 1
    assert asked > 30


def test_a_disclosure_told_long_ago_closes_and_raises_what_was_between(world: World) -> None:
    """A silence that was seen is closed by a word recorded late; a confirmation overdue by now is open at once."""
    begin(world)
    world.now = at(400)
    making = world.submission(
        "disclosure.make", at(200), **of(0, TELLING | {"next_update_at": at(210), "basis": "assumed"})
    )
    answer, first = foretold(world, making), size(world)
    assert {"overdue", "no-warning", "assumption-open", "silent-customer"} <= {each.code for each in answer.findings}
    assert "silent-customer" in {each.code for each in answer.closes}
    world.ledger.submit([making])
    assert_so(world, answer, first)


def test_what_would_be_over_at_once_is_not_raised(world: World) -> None:
    """Somebody spoke with them at 12; that they were written to at 10 was alone in writing until then."""
    begin(world)
    world.now = at(13)
    assert world.ledger.submit([world.submission("disclosure.make", at(12), **of(0, TELLING))])[0].status == "recorded"
    changes = {"disclosure_id": "D-8", "channel": "letter", "next_step": None, "next_update_at": None}
    making = world.submission("disclosure.make", at(10), **of(0, TELLING | changes))
    answer, first = foretold(world, making), size(world)
    assert (answer.findings, answer.later) == ((), ())
    assert world.ledger.submit([making])[0].status == "recorded"
    assert_so(world, answer, first)
    over = world.ask(HISTORY + "opened_by >= %s ORDER BY code", first)
    assert [(row["code"], row["opened_at"], row["closed_at"]) for row in over] == [
        ("disclosure-without-way-forward", at(10), at(12)),
        ("written-only-severe", at(10), at(12)),
    ]


def test_a_link_of_the_unapplied_past_is_followed_beside_those_of_the_tables(world: World) -> None:
    """D-4 rests on D-2, which the tables have; D-1 is false as of the log's end alone."""
    begin(world)
    told = of(
        0, TELLING | {"about": {"promise_id": "P-1"}, "next_step": None, "next_update_at": None, "solution_ref": "S-1"}
    )
    for disclosure_id, base in (("D-10", []), ("D-11", ["D-10"])):
        assert (
            world.tell("disclosure.make", 6, **told | {"disclosure_id": disclosure_id, "based_on": base}) == "recorded"
        )
    world.catch_up([FINDINGS_REPORT])
    for disclosure_id, base in (("D-12", "D-11"), ("D-13", "D-12")):
        assert (
            world.tell("disclosure.make", 7, **told | {"disclosure_id": disclosure_id, "based_on": [base]})
            == "recorded"
        )
    falsified = {"disclosure_id": "D-10", "known_since": at(8), "why": "It was not so."}
    assert world.tell("disclosure.falsify", 9, **falsified) == "recorded"
    making = telling(world, based_on=["D-13"])
    answer, first = foretold(world, making), size(world)
    assert "repeated-falsehood" in {each.code for each in answer.findings}
    world.ledger.submit([making])
    assert_so(world, answer, first)


def test_an_outage_of_the_unapplied_past_is_a_reason(world: World) -> None:
    begin(world)
    world.catch_up([FINDINGS_REPORT])
    assert world.tell("outage.declare", 9, outage_id="O-2", tool="crm") == "recorded"
    making = telling(world, about={"promise_id": "P-1"}, reason_class="outage")
    answer, first = foretold(world, making), size(world)
    assert "false-outage-claim" not in {each.code for each in answer.findings}
    world.ledger.submit([making])
    assert_so(world, answer, first)


def test_nothing_is_written_by_asking(world: World) -> None:
    begin(world)
    world.catch_up()
    world.tell("promise.warn", 9, promise_id="P-1.0", reason="The part is late.")  # the tables are behind again
    before = {definition.name: world.rows(definition.name) for definition in ALL}
    log = world.ask("SELECT * FROM ledger.events ORDER BY notification_id")
    positions = world.ask("TABLE projection.versions")
    for changes, *_ in SAYINGS.values():
        foretold(world, telling(world, **changes))
    assert {definition.name: world.rows(definition.name) for definition in ALL} == before
    assert world.ask("SELECT * FROM ledger.events ORDER BY notification_id") == log
    assert world.ask("TABLE projection.versions") == positions
    for table in ("inbox", "sealed", "customer_keys"):
        assert not world.ask(f"SELECT * FROM ledger.{table} WHERE xmin = pg_current_xact_id_if_assigned()::xid")


def test_postgresql_itself_refuses_to_write_for_a_question(world: World) -> None:
    opened = disclosure_check._open(world.url)
    with opened.connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction), opened.connection.transaction():
        opened.connection.execute("UPDATE ledger.head SET size = 0")


def test_the_ledger_has_no_way_to_append_a_question(world: World) -> None:
    begin(world)
    first = size(world)
    with pytest.raises(KeyError):
        world.ledger.submit([question(telling(world))])
    assert size(world) == first


REFUSED: dict[str, dict[str, Any]] = {
    "personal-reason": {"reason_class": "personal"},
    "unknown-problem": {"about": {"problem_id": "X-9"}},
    "unknown-disclosure": {"based_on": ["D-8"]},
    "solution-or-next-step": {"solution_ref": "S-1"},
    "wrong-customer": {"about": {"concern_id": "Q-1"}, "customer_id": "C-2"},
    "id-taken": {"disclosure_id": "D-1"},
}


def test_what_would_be_refused_is_said_with_its_rule(world: World) -> None:
    begin(world)
    for code, changes in REFUSED.items():
        making = telling(world, **changes)
        answer = foretold(world, making)
        (refusal,) = world.ledger.submit([making])
        assert isinstance(refusal, Refusal)
        assert answer.refused is not None
        assert (
            (answer.refused.code, answer.refused.message) == (refusal.code, refusal.message) == (code, refusal.message)
        )
        assert not answer.clean


def test_nothing_can_be_said_to_an_erased_customer(world: World) -> None:
    begin(world)
    world.ask("UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = %s RETURNING 1", at(9))
    answer = foretold(world, telling(world))
    assert answer.refused is not None
    assert answer.refused.code == "customer-erased"


def test_an_answer_lists_so_many_closings_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(world)
    told = of(0, TELLING | {"about": {"promise_id": "P-1"}, "next_step": None, "next_update_at": None})
    for number in range(3):
        assert world.tell("disclosure.make", 6, **told | {"disclosure_id": f"D-{number}"}) == "recorded"
    making = telling(world, about={"promise_id": "P-1"})
    whole = foretold(world, making)
    assert len(whole.closes) == 4, "each of them waits for a way forward, and D-3"
    assert whole.closes_more == 0
    monkeypatch.setattr(disclosure_check, "MOST_CLOSED", 3)
    short = foretold(world, making)
    assert (short.closes, short.closes_more) == (whole.closes[:3], 1)
    assert MOST_CLOSED * len(whole.closes[0].to_json()) < 2**20 / 4, "it fits into one message"


def test_a_question_waits_for_no_tables_that_are_far_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(world)
    monkeypatch.setattr(disclosure_check, "MOST_BEHIND", size(world) - 1)
    with pytest.raises(NotNow, match="events behind the log") as behind:
        foretold(world, telling(world))
    assert behind.value.code == "behind"
    world.catch_up([FINDINGS_REPORT])
    assert foretold(world, telling(world)).clean


def test_a_checker_goes_on_after_a_rebuild_and_after_a_lost_connection(world: World, checker: Checker) -> None:
    begin(world)
    world.catch_up([FINDINGS_REPORT])
    first = checker.check(question(telling(world)))
    rebuild(world.url, world.secrets, "findings")
    assert checker.check(question(telling(world))).findings == first.findings
    world.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'promise-ledger checks'")
    assert checker.check(question(telling(world))).later == first.later


def test_a_switch_of_tables_in_the_middle_of_a_question_is_survived(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rebuild drops the old tables after the question has seen that they are the live ones."""
    begin(world)
    world.catch_up([FINDINGS_REPORT])
    use, switched = disclosure_check.versions.use, []

    def late(*arguments: Any) -> None:
        if not switched:
            switched.append(True)
            rebuild(world.url, world.secrets, "findings")
        use(*arguments)

    monkeypatch.setattr("projections.findings.disclosure_check.versions.use", late)
    assert foretold(world, telling(world)).clean


def test_a_database_that_is_away_or_empty_is_said(world: World, postgres_url: str) -> None:
    making = telling(world)
    for url, code in (("postgresql://127.0.0.1:1/none", "database-away"), (postgres_url, "not-installed")):
        with closing(Checker(url)) as checker:
            for ask in (lambda: checker.check(question(making)), checker.ready):
                with pytest.raises(NotNow) as problem:
                    ask()
                assert problem.value.code == code
