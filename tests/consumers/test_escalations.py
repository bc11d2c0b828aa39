"""Escalations on the queue: each step once, as long as nobody looks after the promise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from consumers.announcing import QUERIES, connect, step
from consumers.contract import asyncapi
from consumers.escalations import EscalationsAnnouncer
from ledger.domain.policies import Times
from projections.runner import rebuild
from tests.consumers.listening import LATER, Listening
from tests.consumers.test_messages_page import example
from tests.contracts.schemas import validate
from tests.projections.world import World, at

OFFICE = {
    "calendar_id": "office",
    "time_zone": "UTC",
    "hours": [f"{day} 09:00-17:00" for day in ("mon", "tue", "wed", "thu", "fri")],
    "covers_until": "2026-12-31",
}
POLICY: dict[str, Any] = {
    "policy_id": "default",
    "approver": "u-2",
    "times": dict.fromkeys(Times.model_fields, 24),
    "escalation": [{"after_hours": 2, "to": "team-lead"}, {"after_hours": 24, "to": "head-of-service"}],
    "calendars": [OFFICE],
    "tzdata_version": "2025b",
}
DUE = 24


@pytest.fixture
def listening(readable: str, data_dir: Path, queue_url: str) -> Iterator[Listening]:
    """Promise P-1 is due on the second noon, under a policy that escalates after 2 and after 24 hours."""
    world = World(readable, data_dir)
    found = Listening(world, queue_url, EscalationsAnnouncer("localhost/promise-ledger"))
    tell(found, -1, "policy.publish", **POLICY)
    tell(found, 0, "promise.make", **terms(1))
    yield found
    world.close()


def terms(number: int, **changes: Any) -> dict[str, Any]:
    known = {
        "promise_id": f"P-{number}",
        "customer_id": "C-1",
        "kind": "deliver",
        "text": f"The router {number} comes.",
        "due_at": at(DUE),
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
    }
    return {name: said for name, said in (known | changes).items() if said is not None}


def tell(listening: Listening, hours: float, command: str, **data: Any) -> None:
    """Record it at that hour; the read tables have it."""
    listening.world.now = at(hours)
    assert listening.world.tell(command, hours, **data) == "recorded"
    listening.catch_up()


def called(listening: Listening, *hours: float) -> list[tuple[str, str]]:
    """Whom, for which promise, after announcing at these hours: everything that was ever heard."""
    listening.announce(*map(at, hours))
    return [(said["data"]["promise_id"], said["data"]["to"]) for said in listening.heard()]


DISCLOSURE: dict[str, Any] = {
    "disclosure_id": "D-1",
    "customer_id": "C-1",
    "about": {"promise_id": "P-1"},
    "text": "Later.",
    "owner": "u-1",
    "apology": True,
    "next_step": "It comes.",
    "channel": "phone",
    "basis": "known",
}


def moved(new_due: float) -> dict[str, Any]:
    return {"promise_id": "P-1", "new_due_at": at(new_due), "disclosure_id": "D-1"}


LEAD, HEAD = ("P-1", "team-lead"), ("P-1", "head-of-service")


def test_each_step_is_announced_once_when_its_hours_are_over(listening: Listening) -> None:
    assert called(listening, DUE, DUE + 1.9) == []
    assert called(listening, DUE + 2, DUE + 3, DUE + 23.9) == [LEAD]
    rebuild(listening.world.url, listening.world.secrets, "promises")
    assert called(listening, DUE + 24, DUE + 1000) == [LEAD, HEAD]
    first, second = listening.heard()
    assert first == example("escalation")
    assert (second["data"]["step"], second["data"]["after_hours"], second["time"]) == (2, 24, "2026-03-03T12:00:00Z")
    document = asyncapi()
    for said in (first, second):
        validate(said, document["components"]["messages"]["escalations"]["payload"], document)
    assert not any(b"router" in body for body in listening.raw()), "no word of the promise"


def test_after_days_of_being_off_every_missed_step_is_announced_once_whoever_is_killed(listening: Listening) -> None:
    assert listening.die(at(DUE + 100), published=False) == 2
    assert listening.heard() == []
    assert listening.die(at(DUE + 100), published=True) == 2
    assert called(listening, DUE + 100, DUE + 101) == [LEAD, HEAD]


def test_an_acknowledgement_ends_a_round_and_a_dispute_or_a_new_due_time_begins_the_next(listening: Listening) -> None:
    assert called(listening, DUE + 2) == [LEAD]
    tell(listening, DUE + 3, "promise.acknowledge_overdue", promise_id="P-1")
    assert called(listening, DUE + 48) == [LEAD]
    tell(listening, DUE + 49, "promise.claim_kept", promise_id="P-1")
    tell(listening, DUE + 50, "promise.dispute", promise_id="P-1", text="No.")
    assert called(listening, DUE + 50) == [LEAD, LEAD, HEAD], "both steps of the second round are due already"
    tell(listening, DUE + 51, "disclosure.make", **DISCLOSURE)
    tell(listening, DUE + 52, "promise.reschedule", **moved(DUE + 60))
    assert called(listening, DUE + 61) == [LEAD, LEAD, HEAD], "not yet due again, though overdue for good"
    assert called(listening, DUE + 62) == [LEAD, LEAD, HEAD, LEAD]
    assert len({said["id"] for said in listening.heard()}) == 4


def test_a_reschedule_recorded_late_that_leaves_the_due_time_calls_nobody_again(listening: Listening) -> None:
    tell(listening, 1, "disclosure.make", **DISCLOSURE)
    tell(listening, 3, "promise.reschedule", **moved(DUE + 1))
    assert called(listening, DUE + 4) == [LEAD]
    assert listening.world.tell("promise.reschedule", 2, **moved(DUE + 30)) == "recorded"
    listening.catch_up()
    assert called(listening, DUE + 5) == [LEAD]
    assert called(listening, DUE + 26) == [LEAD, HEAD], "the steps to come are called all the same"
    assert listening.world.tell("promise.reschedule", 4, **moved(DUE + 2)) == "recorded"
    listening.catch_up()
    assert called(listening, DUE + 26) == [LEAD, HEAD, LEAD, HEAD], "late news of another due time begins a round"


def test_who_kept_or_broke_it_or_waits_for_a_condition_is_not_escalated(listening: Listening) -> None:
    tell(listening, DUE + 1, "promise.claim_kept", promise_id="P-1")
    tell(listening, 1, "promise.make", **terms(2))
    tell(listening, DUE + 1, "promise.break", promise_id="P-2", reason_code="x", text="We cannot.")
    condition = {"text": "If you are in.", "by": at(20)}
    tell(listening, 2, "promise.make", **terms(3, condition=condition))
    tell(listening, 3, "promise.make", **terms(4))
    tell(listening, DUE + 1, "promise.suspend", promise_id="P-4", reason="The road is closed.", review_at=at(100))
    assert called(listening, DUE + 3) == [("P-4", "team-lead")], "suspended, and past its moment all the same"


def test_business_time_that_stands_still_is_not_escalated(listening: Listening) -> None:
    monday = 21  # 2026-03-02T09:00Z
    tell(listening, monday, "promise.make", **terms(2, due_at=None, due_in="PT2H", calendar_id="office"))
    tell(listening, monday + 1, "promise.suspend", promise_id="P-2", reason="They are away.", review_at=at(100))
    tell(listening, DUE + 1, "promise.claim_kept", promise_id="P-1")
    assert called(listening, 68) == []
    tell(listening, 69, "promise.resume", promise_id="P-2")  # Wednesday 09:00: it was paused with an hour to go
    assert called(listening, 71.9) == [], "due at 70"
    assert called(listening, 72) == [("P-2", "team-lead")]


def test_a_policy_never_acts_backwards(listening: Listening) -> None:
    louder = POLICY | {"escalation": [{"after_hours": 1, "to": "everybody"}]}
    tell(listening, 1, "policy.publish", **louder)
    tell(listening, 2, "promise.make", **terms(2))
    assert called(listening, DUE + 1.5) == [("P-2", "everybody")]
    assert called(listening, DUE + 2.5) == [("P-2", "everybody"), LEAD]


def test_read_tables_that_lag_call_nobody_whose_promise_was_looked_after(listening: Listening) -> None:
    world = listening.world
    world.now = at(DUE + 1)
    assert world.tell("promise.acknowledge_overdue", DUE + 1, promise_id="P-1") == "recorded"
    assert called(listening, DUE + 5) == []
    listening.catch_up()
    assert called(listening, DUE + 5) == []


def test_of_two_relays_one_waits(listening: Listening) -> None:
    async def staged(connection: AsyncConnection[DictRow], queue: Client) -> None:
        now = at(DUE + 2) + LATER
        async with await connect(listening.world.url) as other, other.transaction():
            await other.execute(QUERIES["lock"], {"name": "escalations"})
            assert await step(listening.announcer, connection, queue, now) == 0
        assert await step(listening.announcer, connection, queue, now) == 1

    listening.play(staged)
