"""As of a past moment, by either clock: against a fold of the decoded log that knows no SQL."""

import random
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.dispatch import evolve
from ledger.domain.followups import FollowUp
from ledger.domain.model import State
from ledger.domain.policies import Times
from ledger.domain.promise_messages import PromiseMade
from ledger.domain.promise_state import Promise, late_against_original, timeliness
from ledger.storage.entries import StoredEntry, decode
from tests.projections.world import NOON, World, at, story


def log(world: World) -> list[StoredEntry]:
    rows = world.ask("SELECT notification_id - 1 AS leaf, topic, state FROM ledger.events ORDER BY 1")
    return [decode(row["leaf"], row["topic"], row["state"]) for row in rows]


def naive(entries: list[StoredEntry], prefix: str, as_of: datetime | None, known_at: datetime | None) -> dict[str, Any]:
    """(state, its leaf) of each stream after its last entry that had occurred by `as_of`, known at `known_at`."""
    states: dict[str, State] = {}
    found: dict[str, Any] = {}
    for entry in entries:
        stream, happened = entry.heading.stream, entry.happened
        if stream.startswith(prefix):
            states[stream] = evolve(states.get(stream), entry.event, happened)
            if (as_of is None or happened.occurred_at <= as_of) and (
                known_at is None or happened.recorded_at <= known_at
            ):
                found[stream] = (states[stream], entry.leaf_index)
    return found


def told_over_days(world: World, seed: int) -> None:
    """A story recorded hour by hour: what is recorded late occurred earlier, and the other way round."""
    for number, command in enumerate(story(world, seed, 200)):
        world.now = NOON + timedelta(minutes=20 * number)
        world.ledger.submit([command])
    world.catch_up()


def as_row(promise: Promise, leaf_index: int, moment: datetime) -> dict[str, Any]:
    shown = {name: value for name, value in promise._asdict().items() if not name.startswith("turn")}
    return {
        **shown,
        "based_on": list(promise.based_on),
        "timeliness": timeliness(promise, moment),
        "late_against_original": late_against_original(promise),
        "leaf_index": leaf_index,
    }


def test_promises_as_of_both_clocks_equal_a_fold_of_the_log(world: World) -> None:
    told_over_days(world, 11)
    entries, chance, compared = log(world), random.Random(11), 0
    moments = [None, at(-40), *(at(chance.uniform(-25, 70)) for _ in range(8))]
    for as_of, known_at in product(moments, moments):
        expected = {
            state.promise_id: as_row(state, leaf, as_of or known_at or datetime.now(NOON.tzinfo))
            for state, leaf in naive(entries, "promise:", as_of, known_at).values()
        }
        rows = world.ask("SELECT * FROM audit.promises_as_of(%s::timestamptz, %s::timestamptz)", as_of, known_at)
        assert {row["promise_id"]: {c: row[c] for c in expected[row["promise_id"]]} for row in rows} == expected
        standing = world.ask(
            "SELECT promise_id FROM audit.outstanding_as_of(%s::timestamptz, %s::timestamptz)", as_of, known_at
        )
        assert {row["promise_id"] for row in standing} == {
            promise_id for promise_id, row in expected.items() if row["standing"] != "ended"
        }
        compared += len(rows)
    assert compared > 300


def test_followups_as_of_both_clocks_equal_a_fold_of_the_log(world: World) -> None:
    told_over_days(world, 12)
    entries, chance, compared = log(world), random.Random(12), 0
    moments = [None, *(at(chance.uniform(0, 70)) for _ in range(8))]
    for as_of, known_at in product(moments, moments):
        owed = {
            state.followup_id: (*state, leaf)
            for state, leaf in naive(entries, "followup:", as_of, known_at).values()
            if state.completed_at is None
        }
        rows = world.ask("SELECT * FROM audit.followups_due_as_of(%s::timestamptz, %s::timestamptz)", as_of, known_at)
        fields = (*FollowUp._fields, "leaf_index")
        assert {row["followup_id"]: tuple(row[field] for field in fields) for row in rows} == owed
        compared += len(rows)
    assert compared > 60


def test_disclosures_as_of_both_clocks_equal_a_fold_of_the_log(world: World) -> None:
    told_over_days(world, 14)
    chance = random.Random(14)
    for number in range(60):
        world.now += timedelta(minutes=30)
        occurred_at = world.now - timedelta(hours=chance.choice([0, 6, 60]))
        old = {"disclosure_id": f"D-{chance.randrange(8)}"}
        new = {"disclosure_id": f"D-{10 + number}", "customer_id": "C-1", "text": "So it is.", "channel": "phone"}
        new |= {"owner": "u-1", "apology": True, "basis": "known", "based_on": [old["disclosure_id"]]}
        new |= {"about": {"promise_id": f"P-{chance.randrange(8)}"}, "next_update_at": world.now + timedelta(hours=9)}
        promise = {"promise_id": f"P-{10 + number}", "kind": "fix", "due_at": at(300), "based_on": new["based_on"]}
        promise |= {name: new[name] for name in ("customer_id", "text", "channel", "owner", "basis")}
        command, data = (
            ("disclosure.acknowledge", old),
            ("disclosure.falsify", {**old, "known_since": occurred_at, "why": "No."}),
            ("disclosure.make", new),
            ("promise.make", promise),
        )[number % 4]
        world.tell(command, occurred_at, **data)
    world.catch_up()
    entries, compared, marked = log(world), 0, 0
    moments = [None, *(at(chance.uniform(-25, 100)) for _ in range(7))]
    for as_of, known_at in product(moments, moments):
        expected = {
            state.disclosure_id: state._asdict() | {"leaf_index": leaf}
            for state, leaf in naive(entries, "disclosure:", as_of, known_at).values()
        }
        rows = world.ask("SELECT * FROM audit.disclosures_as_of(%s::timestamptz, %s::timestamptz)", as_of, known_at)
        for row in rows:
            fields = {field: row[field] for field in expected[row["disclosure_id"]]}
            lists = {name: tuple(fields[name]) for name in ("based_on", "corrected_by")}
            assert fields | lists == expected.pop(row["disclosure_id"])
            assert row["promises"] == [
                each.event.promise_id
                for each in entries
                if isinstance(each.event, PromiseMade)
                and fields["disclosure_id"] in each.event.based_on
                and (as_of is None or each.happened.occurred_at <= as_of)
                and (known_at is None or each.happened.recorded_at <= known_at)
            ]
            marked += row["contaminated"] + (row["falsified_at"] is not None) + len(row["promises"])
        assert expected == {}
        said = {(row["disclosure_id"], row["contaminated"]) for row in rows}
        query = "SELECT disclosure_id, contaminated FROM audit.falsehoods_as_of(%s::timestamptz, %s::timestamptz)"
        assert {(row["disclosure_id"], True) for row in world.ask(query, as_of, known_at) if row["contaminated"]} == {
            each for each in said if each[1]
        }
        compared += len(rows)
    assert min(compared, marked) > 300


def test_known_at_gives_what_the_ledger_answered_then(world: World) -> None:
    commands = story(world, 13, 160)
    answered = {}
    for start in range(0, len(commands), 20):
        world.now = NOON + timedelta(hours=start)
        world.ledger.submit(commands[start : start + 20])
        world.catch_up()
        answered[world.now] = world.ask("SELECT * FROM audit.outstanding_promises ORDER BY promise_id")
    for moment, then in answered.items():
        rows = world.ask("SELECT * FROM audit.outstanding_as_of(known_at => %s) ORDER BY promise_id", moment)
        for row in (*then, *rows):
            del row["timeliness"], row["days_to_due"]  # these were computed for the clock on the wall
        assert rows == then
    assert len(answered) == 8


def test_what_is_recorded_late_counts_from_when_it_occurred(world: World) -> None:
    world.make(1, occurred_at=0, due_at=24)
    world.now = at(30)
    assert world.tell("promise.claim_kept", 20, promise_id="P-1") == "recorded"
    world.catch_up()

    def timeliness_at(as_of: float, known_at: float) -> str:
        query = "SELECT timeliness FROM audit.outstanding_as_of(%s, %s)"
        (row,) = world.ask(query, at(as_of), at(known_at))
        return str(row["timeliness"])

    assert timeliness_at(25, 29) == "overdue"  # nobody knew of the claim yet
    assert timeliness_at(25, 30) == "on_time"
    assert timeliness_at(19, 30) == "running"  # it had not happened yet
    assert world.ask("SELECT * FROM audit.outstanding_as_of(%s)", at(-1)) == []


def test_a_claim_straight_from_a_pause_beyond_the_calendar_is_on_time_by_either_clock(world: World) -> None:
    calendar = {"calendar_id": "de", "time_zone": "UTC", "hours": ["sun 00:00-24:00"], "covers_until": "2026-03-01"}
    policy = {"policy_id": "P", "approver": "u-2", "times": dict.fromkeys(Times.model_fields, 24)}
    assert world.tell("policy.publish", 0, **policy, calendars=[calendar], tzdata_version="2025b") == "recorded"
    for number, verification in enumerate(("required", "not_required")):
        world.make(number, due_at=None, due_in="PT9H", calendar_id="de", verification=verification)
        paused = {"promise_id": f"P-{number}", "reason": "Away.", "review_at": at(99)}
        assert world.tell("promise.suspend", 1, **paused) == "recorded"
        assert world.tell("promise.claim_kept", 40, promise_id=f"P-{number}") == "recorded"
    world.catch_up()
    queries = (
        "SELECT timeliness, claimed_at, due_at FROM audit.promises",
        "SELECT timeliness, claimed_at, due_at FROM audit.promises_as_of(known_at => '2026-04-01')",
        "SELECT timeliness, claimed_at, due_at FROM audit.promise_history WHERE type = 'promise.claimed_kept'",
    )
    for query in queries:
        assert world.ask(query) == [{"timeliness": "on_time", "claimed_at": at(40), "due_at": at(9)}] * 2
    suspended = "SELECT timeliness FROM audit.promise_history WHERE type = 'promise.suspended'"
    assert world.ask(suspended) == [{"timeliness": "running"}] * 2


def test_what_was_never_owed_was_not_overdue_when_it_ended_though_no_timer_ran(world: World) -> None:
    for number in (1, 2):
        world.make(number, due_at=9, condition={"text": "If you are in.", "by": at(8)})
    assert world.tell("promise.meet_condition", 7, promise_id="P-2") == "recorded"
    for number in (1, 2):
        assert world.tell("promise.release", 12, promise_id=f"P-{number}", evidence="letter-1") == "recorded"
    world.catch_up()
    for query in (
        "SELECT timeliness FROM audit.promises ORDER BY promise_id",
        "SELECT timeliness FROM audit.promises_as_of(known_at => '2026-04-01') ORDER BY promise_id",
        "SELECT timeliness FROM audit.promise_history WHERE type = 'promise.released' ORDER BY promise_id",
    ):
        assert [row["timeliness"] for row in world.ask(query)] == ["running", "overdue"], query


def test_days_to_due_count_from_the_moment_asked_about(world: World) -> None:
    world.make(1, occurred_at=0, due_at=36)
    world.catch_up()
    (row,) = world.ask("SELECT days_to_due FROM audit.outstanding_as_of(%s)", at(48))
    assert row["days_to_due"] == -0.5


_moments = st.integers(-3, 3).map(lambda hours: NOON + timedelta(hours=hours))
_maybe = st.none() | _moments


@st.composite
def _cases(draw: st.DrawFn) -> tuple[datetime, dict[str, Any]]:
    fields = {
        "standing": draw(st.sampled_from(["conditional", "active", "suspended", "ended"])),
        "ended_at": draw(_maybe),
        "due_at": draw(_moments),
        "claimed_at": draw(_maybe),
        "warned_at": draw(_maybe),
        "latched": draw(st.booleans()),
    }
    return draw(_moments), fields


def test_timeliness_in_sql_is_that_of_the_domain(world: World) -> None:
    world.make(1)
    (entry,) = log(world)
    any_promise = evolve(None, entry.event, entry.happened)
    assert isinstance(any_promise, Promise)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(_cases(), min_size=20, max_size=60))
    def same(cases: list[tuple[datetime, dict[str, Any]]]) -> None:
        query = (
            "SELECT audit.timeliness(a, b, c, d, e, f, g) AS t FROM unnest(%s::timestamptz[], %s::text[], "
            "%s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::boolean[]) "
            "WITH ORDINALITY AS given(a, b, c, d, e, f, g, n) ORDER BY n"
        )
        columns = zip(*((moment, *fields.values()) for moment, fields in cases), strict=True)
        said = [row["t"] for row in world.ask(query, *map(list, columns))]
        promises = [
            any_promise._replace(**fields, condition_by=NOON if fields["standing"] == "conditional" else None)
            for _, fields in cases
        ]
        assert said == [timeliness(each, moment) for each, (moment, _) in zip(promises, cases, strict=True)]

    same()
