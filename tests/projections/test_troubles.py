"""Problems, concerns and outages: what the read tables say of a story told at random, now and as of any moment."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

import pytest

from ledger.app import Submission
from ledger.domain.concerns import Concern
from ledger.domain.disclosures import DisclosureMade
from ledger.domain.outages import (
    NoteCleared,
    NoteFollowedUp,
    NoteTaken,
    Outage,
    OutageDeclared,
    OutageEnded,
    customers_to_follow_up,
)
from ledger.domain.problem_messages import (
    CauseRecorded,
    CustomersAffected,
    OwnershipTaken,
    ProblemCustomerWithheld,
    ProblemDetected,
    ResolutionFailed,
    ResolutionVerified,
)
from ledger.domain.problems import Problem, untold_customers
from ledger.receipts import Refusal
from ledger.storage.entries import StoredEntry
from projections import applying, states
from projections.checking import check
from projections.runner import rebuild
from projections.troubles.report import TROUBLES
from tests.projections.test_as_of import log, naive
from tests.projections.troubles import detect, disclosure, tell
from tests.projections.world import NOON, World, at
from tests.storage.log import copied

Moment = datetime | None
WITH_MOMENTS = ("concerns", "concern_matrix", "outages", "outage_notes", "problems", "affected_customers")
FUNCTIONS = (*WITH_MOMENTS, "undisclosed_problems")


def rows(world: World, name: str, as_of: Moment = None, known_at: Moment = None) -> list[dict[str, Any]]:
    """The rows of `audit.<name>`, or as of two moments where one is given."""
    if as_of is None and known_at is None:
        return world.ask(f"SELECT * FROM audit.{name}")
    return world.ask(f"SELECT * FROM audit.{name}_as_of(%s::timestamptz, %s::timestamptz)", as_of, known_at)


def commands(chance: random.Random, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """One thing that may happen to any of three problems, twenty concerns, two outages; many are refused."""
    problem, customer = {"problem_id": f"B-{chance.randrange(3)}"}, f"C-{chance.randrange(6)}"
    concern, outage = {"concern_id": f"K-{chance.randrange(20)}"}, {"outage_id": f"O-{chance.randrange(2)}"}
    note = {**outage, "capture_id": f"N-{chance.randrange(10)}"}
    followup = f"F-{number}"
    moment = at(chance.uniform(-30, 0))
    detected = {"known_since": moment, "detected_by": chance.choice(["us", "customer"]), "summary": "It leaks."}
    step = {"promise_id": f"P-{number}", "customer_id": customer, "kind": "fix", "text": "A seal.", "due_at": at(300)}
    step |= {"owner": "u-1", "channel": "phone", "basis": "known"}
    cause = {"cause_class": chance.choice(["seal", "frost"]), "control": "within", "basis": "assumed"}
    withheld = {"disclosure_id": f"D-{number}", **problem, "customer_id": customer, "why": "A trial is on."}
    withheld |= {"approver": "u-9", "review_at": at(number / 4 + chance.uniform(5, 30))}
    yield "problem.detect", {**problem, **detected, "severity": 2, "affected": [customer, "C-0"], "owner": "u-1"}
    yield "problem.affect", {**problem, "affected": [customer]}
    yield "problem.record_cause", {**problem, **cause}
    yield "problem.plan", {**problem, "steps": [step], "addresses": [concern["concern_id"], "root_cause"]}
    yield "problem.plan", {**problem, "steps": [step], "addresses": ["root_cause"]}
    yield "problem.take_ownership", {**problem, "owner": f"u-{chance.randrange(5)}"}
    yield "problem.resolve", {**problem, "root_cause_addressed": chance.random() < 0.5}
    for works in (True, True, False):
        yield "problem.verify", {**problem, "customer_id": customer, "works": works}
    yield "disclosure.make", disclosure(problem["problem_id"], customer, f"D-{number}")
    yield "disclosure.withhold", withheld
    yield "concern.raise", {**concern, **chance.choice([problem, {}]), "customer_id": customer, "text": "Why?"}
    yield "concern.acknowledge", {**concern, "restated": "You ask why."}
    yield "concern.address", {**concern, "how": "So.", "by": "u-1"}
    yield "concern.address", {**concern, "how": "So.", "by": "u-1"}
    yield "concern.confirm", concern
    yield "concern.withdraw", concern
    yield (
        "followup.schedule",
        {"followup_id": followup, "customer_id": customer, "about": concern, "due_at": at(300), "owner": "u-3"},
    )
    yield "outage.declare", {**outage, "tool": "crm"}
    yield "outage.end", outage
    taken = {"captured_at": moment, "customer_id": customer, "text": "Call me.", "read_back": chance.random() < 0.5}
    yield "note.take", {**note, **taken}
    yield "note.take", {**note, **taken}
    yield "note.clear", {**note, "by": [f"P-{number}"]}
    yield "note.followed_up", note


def told_at_random(world: World, seed: int, count: int) -> None:
    """Recorded hour by hour, each of it up to a day earlier; what a follow-up finds not to work reopens its concern."""
    chance, told, followups = random.Random(seed), 0, list[str]()
    opening = 3 * ["problem.detect"] + 2 * ["outage.declare"] + 4 * ["concern.raise"]
    for start in range(0, count, 4):
        world.now, batch = NOON + timedelta(minutes=15 * start), list[Submission]()
        for number in range(start, start + 4):
            possible = list(commands(chance, number))
            command, data = chance.choice([each for each in possible if not opening or each[0] == opening[-1]])
            if opening:
                opening.pop()
            elif followups and chance.random() < 0.1:
                command, data = "followup.complete", {"followup_id": followups.pop(), "outcome": "does_not_work"}
            if command == "followup.schedule":
                followups.append(data["followup_id"])
            batch.append(world.submission(command, world.now - timedelta(hours=chance.choice([0, 1, 3, 24])), **data))
        told += sum(not isinstance(outcome, Refusal) for outcome in world.ledger.submit(batch))
        if start % 40 == 0:
            world.catch_up([TROUBLES])
    assert told > count / 4
    world.catch_up()


@pytest.fixture(scope="module")
def random_story(
    postgres_url: str, _readable_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    template = urlsplit(postgres_url)._replace(path=f"/{_readable_template}").geturl()
    with pytest.MonkeyPatch.context() as patch, copied(template, "ledger_troubles") as url:
        world = World(url, tmp_path_factory.mktemp("troubles"))
        patch.setattr(applying, "LIVE_BATCH", 7)
        patch.setattr(states, "REMEMBERED", 2)  # so that states are read back from their tables as well
        told_at_random(world, 3, 480)
        yield world
        world.close()


def happened_by(entry: StoredEntry, as_of: Moment, known_at: Moment) -> bool:
    happened = entry.happened
    return (as_of is None or happened.occurred_at <= as_of) and (known_at is None or happened.recorded_at <= known_at)


def concern_of(concern: Concern, leaf_index: int, moment: datetime) -> dict[str, Any]:
    settled = [each for each in (concern.addressed_at, concern.withdrawn_at) if each is not None]
    times = {"withdrawn": concern.withdrawn_at, "confirmed": concern.confirmed_at, "addressed": concern.addressed_at}
    times |= {"acknowledged": concern.acknowledged_at, "raised": concern.raised_at}
    open_for = min(settled, default=moment) - concern.raised_at
    return {
        **concern._asdict(),
        "state": next(state for state, since in times.items() if since is not None),
        "days_open": pytest.approx(open_for.total_seconds() / 86400, abs=0.006),
        "leaf_index": leaf_index,
    }


def customers_of(entries: list[StoredEntry], as_of: Moment, known_at: Moment) -> dict[tuple[str, str], dict[str, Any]]:
    """What each customer of each problem knew and said, from the facts that had happened and were known."""
    moment = as_of or known_at or datetime.now(NOON.tzinfo)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    facts: list[tuple[str, tuple[str, str], Any]] = []
    for entry in entries:
        if not happened_by(entry, as_of, known_at):
            continue
        event, occurred_at = entry.event, entry.happened.occurred_at
        if isinstance(event, ProblemDetected | CustomersAffected):
            since = event.known_since if isinstance(event, ProblemDetected) else occurred_at
            for customer_id in event.affected:
                found[event.problem_id, customer_id] = {"known_since": since, "affected_at": occurred_at}
        elif isinstance(event, DisclosureMade) and event.about_problem_id is not None:
            facts.append(("told", (event.about_problem_id, event.customer_id), occurred_at))
        elif isinstance(event, ProblemCustomerWithheld):
            facts.append(("withheld", (event.problem_id, event.customer_id), (occurred_at, event.review_at)))
        elif isinstance(event, ResolutionVerified):
            facts.append(("verified", (event.problem_id, event.customer_id), occurred_at))
        elif isinstance(event, ResolutionFailed):
            stale = [each for each in facts if each[0] == "verified" and each[1][0] == event.problem_id]
            facts = [each for each in facts if each not in stale]
            facts.append(("failed", (event.problem_id, event.customer_id), occurred_at))
    for key, row in found.items():
        said = {what: [value for each, of, value in facts if (each, of) == (what, key)] for what, _, _ in facts}
        row["told_at"] = min(said.get("told", []), default=None)
        withheld = sorted(said.get("withheld", []), key=itemgetter(0))  # the last, whatever was recorded last
        row["withheld_until"] = withheld[-1][1] if withheld else None
        row["verified_at"] = max(said.get("verified", []), default=None)
        row["failed_at"] = max(said.get("failed", []), default=None)
        lawful = row["withheld_until"] is not None and row["withheld_until"] >= moment
        row["disclosure"] = "told" if row["told_at"] else "withheld" if lawful else "undisclosed"
    return found


def counters_of(entries: list[StoredEntry], as_of: Moment, known_at: Moment) -> dict[str, tuple[Any, ...]]:
    """(ended_at, notes, notes to clear, customers to follow up) of each outage, from what had happened, as known."""
    past = [entry for entry in entries if happened_by(entry, as_of, known_at)]

    def notes(event_class: Any, outage_id: str) -> dict[str, Any]:
        said = [e.event for e in past if isinstance(e.event, event_class) and e.event.outage_id == outage_id]
        return {event.capture_id: event for event in said}

    found = {}
    for outage_id in (each.event.outage_id for each in past if isinstance(each.event, OutageDeclared)):
        taken = notes(NoteTaken, outage_id)
        to_clear = taken.keys() - notes(NoteCleared, outage_id).keys()
        waiting = {taken[each].customer_id for each in taken.keys() - notes(NoteFollowedUp, outage_id).keys()}
        ended = [
            each.happened.occurred_at
            for each in past
            if isinstance(each.event, OutageEnded) and each.event.outage_id == outage_id
        ]
        found[outage_id] = (ended[0] if ended else None, len(taken), len(to_clear), len(waiting))
    return found


def test_as_of_both_clocks_equals_a_fold_of_what_was_known(random_story: World) -> None:
    world, compared = random_story, dict.fromkeys(FUNCTIONS, 0)
    entries, chance = log(world), random.Random(4)
    moments = [None, at(-40), *(at(chance.uniform(-10, 125)) for _ in range(6))]
    for as_of, known_at in product(moments, moments):
        found = {name: rows(world, name, as_of, known_at) for name in FUNCTIONS}
        for name, each in found.items():
            compared[name] += len(each)
        moment = as_of or known_at or datetime.now(NOON.tzinfo)
        concerns = {
            state.concern_id: concern_of(state, leaf, moment)
            for state, leaf in naive(entries, "concern:", as_of, known_at).values()
        }
        assert {
            row["concern_id"]: {column: row[column] for column in concerns[row["concern_id"]]}
            for row in found["concerns"]
        } == concerns
        customers = customers_of(entries, as_of, known_at)
        assert {
            (row["problem_id"], row["customer_id"]): {
                column: row[column] for column in customers[row["problem_id"], row["customer_id"]]
            }
            for row in found["affected_customers"]
        } == customers
        assert {(row["problem_id"], row["customer_id"]) for row in found["undisclosed_problems"]} == {
            key for key, row in customers.items() if row["disclosure"] == "undisclosed"
        }
        problems = {state.problem_id: state for state, _ in naive(entries, "problem:", as_of, known_at).values()}
        assert {row["problem_id"]: problem_of(row) for row in found["problems"]} == {
            problem_id: (
                *found_last(entries, state, as_of, known_at),
                state.version,
                state.causes,
                state.cycle,
                state.resolved_at,
                state.root_cause_addressed,
                len(state.open_concerns),
            )
            for problem_id, state in problems.items()
        }
        columns = ("ended_at", "notes", "notes_to_clear", "customers_to_follow_up")
        counted = {row["outage_id"]: tuple(row[column] for column in columns) for row in found["outages"]}
        assert counted == counters_of(entries, as_of, known_at)
    assert min(compared.values()) > 40, compared


def found_last(entries: list[StoredEntry], problem: Problem, as_of: Moment, known_at: Moment) -> tuple[str, str | None]:
    """Who took the problem last, and the cause that was found last, whatever was recorded last."""
    about = [entry for entry in entries if entry.event.stream == f"problem:{problem.problem_id}"]
    in_time = sorted(about, key=lambda entry: (entry.happened.occurred_at, entry.leaf_index))
    events = [entry.event for entry in in_time if happened_by(entry, as_of, known_at)]
    first = [entry.event.owner for entry in about if isinstance(entry.event, ProblemDetected)]
    owners = first + [event.owner for event in events if isinstance(event, OwnershipTaken)]
    causes = [None, *(event.cause_class for event in events if isinstance(event, CauseRecorded))]
    return owners[-1], causes[-1]


def problem_of(row: dict[str, Any]) -> tuple[Any, ...]:
    columns = (
        "owner",
        "cause_class",
        "version",
        "causes",
        "cycle",
        "resolved_at",
        "root_cause_addressed",
        "concerns_open",
    )
    return tuple(row[column] for column in columns)


def test_what_was_known_then_is_the_state_that_the_rules_decided_by(random_story: World) -> None:
    """By recorded_at alone, the past is a prefix of the log: its fold by the domain counts the same."""
    world, entries, told, waiting = random_story, log(random_story), 0, 0
    for known_at in (at(each) for each in range(1, 126, 8)):
        found = {name: rows(world, name, None, known_at) for name in FUNCTIONS}
        for state, _ in naive(entries, "problem:", None, known_at).values():
            assert isinstance(state, Problem)
            (row,) = (row for row in found["problems"] if row["problem_id"] == state.problem_id)
            untold = untold_customers(state, known_at)
            open_to = [each["customer_id"] for each in found["undisclosed_problems"] if owns(each, row)]
            assert (set(open_to), row["undisclosed"]) == (untold, len(untold))
            assert (row["affected"], row["told"]) == (len(state.affected), len(state.told & state.affected))
            assert row["verified"] == len(state.verified)
            assert (row["state"] == "open") == (state.resolved_at is None)
            assert (row["state"] == "verified") == (row["resolved_at"] is not None and state.verified == state.affected)
            told += row["told"]
        for outage, _ in naive(entries, "outage:", None, known_at).values():
            assert isinstance(outage, Outage)
            (row,) = (row for row in found["outages"] if row["outage_id"] == outage.outage_id)
            both = (row["notes_to_clear"], row["customers_to_follow_up"])
            assert both == (len(outage.to_clear), len(customers_to_follow_up(outage)))
            assert row["list_done"] == outage.list_done
            waiting += sum(both)
    assert min(told, waiting) > 20


def owns(undisclosed: dict[str, Any], problem: dict[str, Any]) -> bool:
    return (undisclosed["problem_id"], undisclosed["owner"]) == (problem["problem_id"], problem["owner"])


def test_rebuilt_equals_live(random_story: World) -> None:
    live = random_story.rows("troubles")
    assert all(live.values())
    assert check(random_story.url, random_story.secrets) is None
    rebuild(random_story.url, random_story.secrets, "troubles")
    assert random_story.rows("troubles") == live


def test_one_customers_no_takes_back_what_the_others_said(world: World) -> None:
    detect(world, "B-1", 4, "C-1", "C-2")
    for number in (1, 2):
        tell(world, "disclosure.make", 5, **disclosure("B-1", f"C-{number}", f"D-{number}"))
    resolve = {"problem_id": "B-1", "root_cause_addressed": True}
    tell(world, "problem.resolve", 10, **resolve)
    tell(world, "problem.verify", 11, problem_id="B-1", customer_id="C-1", works=True)
    tell(world, "problem.verify", 12, problem_id="B-1", customer_id="C-2", works=False)
    tell(world, "problem.resolve", 13, **resolve)
    tell(world, "problem.verify", 14, problem_id="B-1", customer_id="C-2", works=True)
    tell(world, "problem.verify", 15, problem_id="B-1", customer_id="C-1", works=True)
    world.catch_up()

    def said(hours: float) -> tuple[Any, ...]:
        (problem,) = rows(world, "problems", at(hours))
        customers = {row["customer_id"]: row for row in rows(world, "affected_customers", at(hours))}
        return problem["state"], problem["cycle"], *(customers[each]["verified_at"] for each in ("C-1", "C-2"))

    assert said(9) == ("open", 1, None, None)
    assert said(11) == ("claimed", 1, at(11), None)
    assert said(12) == ("open", 2, None, None)
    assert said(14) == ("claimed", 2, None, at(14))
    assert said(15) == ("verified", 2, at(15), at(14))
    assert [row["failed_at"] for row in world.ask("SELECT * FROM audit.affected_customers ORDER BY customer_id")] == [
        None,
        at(12),
    ]
