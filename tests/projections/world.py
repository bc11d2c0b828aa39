"""A ledger with its read side, and stories told at random: many commands that fit, many that are refused."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.app import Ledger, Submission
from ledger.domain.dispatch import COMMANDS
from ledger.domain.policies import Times
from ledger.receipts import Refusal
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.migrations import create_log
from projections.reports import ALL
from projections.runner import Runner
from projections.versions import Definition

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(hours: float) -> datetime:
    """So many hours after the first noon of the story."""
    return NOON + timedelta(hours=hours)


class World:
    """A ledger whose clock the test moves (`now`), and an installed read side that moves when told to."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir, database_url=url)
        self.url = url
        self.now = NOON
        create_log(self.settings)
        self.secrets = keys.load(self.settings.keys_dir)
        self.ledger = Ledger.open(self.settings, clock=lambda: self.now)
        self.connection = psycopg.connect(url, autocommit=True, row_factory=dict_row, options="-c timezone=UTC")
        self.ids = count()
        self._connections = ExitStack()

    def close(self) -> None:
        self._connections.close()
        self.connection.close()
        self.ledger.close()

    def submission(self, command: str, occurred_at: datetime, /, **data: Any) -> Submission:
        """One command of that type, sent by crm; actor u-1 unless said otherwise."""
        members = {"actor": "u-1", "occurred_at": occurred_at, **data}
        canonical = orjson.dumps(members, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
        return Submission("crm", f"c-{next(self.ids)}", COMMANDS[command].model_validate_json(canonical), canonical)

    def tell(self, command: str, occurred_at: datetime | float, /, **data: Any) -> str:
        """Submit one command; "recorded", or the code of its refusal."""
        moment = at(occurred_at) if isinstance(occurred_at, (int, float)) else occurred_at
        (outcome,) = self.ledger.submit([self.submission(command, moment, **data)])
        return outcome.code if isinstance(outcome, Refusal) else "recorded"

    def make(self, number: int, occurred_at: float = 0, due_at: float | None = 24, **data: Any) -> None:
        """Promise P-<number> to customer C-1, due a day after the first noon."""
        terms = {
            "promise_id": f"P-{number}",
            "customer_id": "C-1",
            "kind": "deliver",
            "text": f"The router {number} comes.",
            "due_at": None if due_at is None else at(due_at),
            "owner": "u-1",
            "channel": "phone",
            "basis": "known",
        }
        assert self.tell("promise.make", occurred_at, **terms | data) == "recorded"

    def catch_up(self, definitions: Sequence[Definition] = ALL) -> None:
        Runner(self.url, self.secrets, definitions).catch_up()

    def connection_of_tuples(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Another connection, closed with the world."""
        return self._connections.enter_context(psycopg.connect(self.url, autocommit=True))

    def ask(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return self.connection.execute(query.encode(), parameters or None).fetchall()

    def tamper(self, query: str, *parameters: Any) -> None:
        """Change what is evidence, as a superuser can: no trigger stops one."""
        with self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica")
            self.connection.execute(query.encode(), parameters or None)

    def for_commands(self, patch: pytest.MonkeyPatch) -> None:
        """Make this the ledger that the command line talks to."""
        for name, value in (("DATABASE_URL", self.url), ("BROKER_URL", "-"), ("DATA_DIR", str(self.settings.data_dir))):
            patch.setenv(f"LEDGER_{name}", value)

    def rows(self, name: str) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of every table of the live version of a projection, sorted, by table."""
        definition = next(definition for definition in ALL if definition.name == name)
        (version,) = self.ask("SELECT number FROM projection.versions WHERE name = %s AND live", name)
        schema = f"read_{name}_v{version['number']}"
        return {
            table: [
                tuple(row.values()) for row in self.ask(f"SELECT * FROM {schema}.{table} ORDER BY {', '.join(key)}")
            ]
            for table, key in definition.keys.items()
        }


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def story(world: World, seed: int, commands: int) -> list[Submission]:
    """`commands` commands about eight promises and some follow-ups of two customers, at moments out of order.

    About half of them are refused, which is recorded as well.
    """
    chance = random.Random(seed)
    opening = [command for number in range(8) for command in _opening(world, chance, number)]
    return opening + [_anything(world, chance, number) for number in range(commands - len(opening))]


def tell_something_of_everything(world: World) -> None:
    """A story after which no read table and no view is empty, applied."""
    world.ledger.submit(story(world, 21, 80))
    world.make(90, based_on=["D-0"])
    untrue = {"disclosure_id": "D-0", "known_since": at(0), "why": "It was not so."}
    assert world.tell("disclosure.falsify", 1, **untrue) == "recorded"
    problem = {"problem_id": "B-1", "known_since": at(0), "detected_by": "us", "severity": 2, "affected": ["C-1"]}
    assert world.tell("problem.detect", 1, **problem, summary="It leaks.", owner="u-1") == "recorded"
    assert world.tell("need.decline", 1, need_id="N-1", customer_id="C-1", why="We do not do that.") == "recorded"
    about = {"customer_id": "C-1", "problem_id": "B-1"}
    assert world.tell("concern.raise", 1, concern_id="K-1", text="Why?", **about) == "recorded"
    assert world.tell("outage.declare", 1, outage_id="O-1", tool="crm") == "recorded"
    note = {"outage_id": "O-1", "capture_id": "N-1", "captured_at": at(1), "customer_id": "C-1", "read_back": True}
    assert world.tell("note.take", 1, **note, text="Call me.") == "recorded"
    policy = {"policy_id": "default", "approver": "u-2", "escalation": [{"after_hours": 1, "to": "u-3"}]}
    times = dict.fromkeys(Times.model_fields, 24)
    assert world.tell("policy.publish", 1, **policy, times=times, tzdata_version="2025b") == "recorded"
    world.make(91, occurred_at=1)
    world.catch_up()


def _opening(world: World, chance: random.Random, number: int) -> list[Submission]:
    customer, made_at = f"C-{number % 2}", at(chance.uniform(-30, 0))
    terms: dict[str, Any] = {
        "promise_id": f"P-{number}",
        "customer_id": customer,
        "kind": "fix",
        "text": f"We mend it, {number}.",
        "due_at": made_at + timedelta(hours=chance.uniform(5, 60)),
        "owner": "u-1",
        "channel": "email",
        "basis": "known",
        "verification": chance.choice(["required", "not_required"]),
    }
    if number % 3 == 0:
        terms["condition"] = {"text": "if somebody is in", "by": made_at + timedelta(hours=4)}
    told = {
        "disclosure_id": f"D-{number}",
        "customer_id": customer,
        "about": {"promise_id": f"P-{number}"},
        "text": "It takes longer.",
        "owner": "u-1",
        "apology": True,
        "channel": "email",
        "basis": "known",
    }
    later = made_at + timedelta(hours=1)
    return [world.submission("promise.make", made_at, **terms), world.submission("disclosure.make", later, **told)]


def _anything(world: World, chance: random.Random, number: int) -> Submission:
    occurred_at = at(number / 4 + chance.uniform(-20, 4))
    later = occurred_at + timedelta(hours=chance.uniform(1, 40))
    which = chance.randrange(8)
    promise = {"promise_id": f"P-{which}"}
    followup = {"followup_id": f"F-{chance.randrange(6)}"}
    about = {"customer_id": f"C-{which % 2}", "about": promise}
    often: list[tuple[str, dict[str, Any]]] = [
        ("promise.warn", {**promise, "reason": "The part is late."}),
        ("promise.reschedule", {**promise, "new_due_at": later, "disclosure_id": f"D-{which}"}),
        ("promise.suspend", {**promise, "reason": "They are away.", "review_at": later}),
        ("promise.resume", promise),
        ("promise.meet_condition", promise),
        ("promise.claim_kept", {**promise, "text": "Mended."}),
        ("promise.dispute", {**promise, "text": "It is not."}),
        ("promise.reassign", {**promise, "owner": f"u-{chance.randint(1, 2)}"}),
        ("promise.accept", {**promise, "owner": f"u-{chance.randint(1, 2)}"}),
        ("promise.read_back", {**promise, "confirmed": chance.random() < 0.5}),
        ("followup.schedule", {**followup, **about, "due_at": later, "owner": "u-3"}),
        ("followup.attempt", {**followup, "channel": "phone", "reached": chance.random() < 0.5}),
        ("followup.complete", {**followup, "outcome": "does_not_work", "text": "Still broken."}),
    ]
    seldom: list[tuple[str, dict[str, Any]]] = [
        ("promise.verify", {**promise, "verified_by": f"C-{which % 2}"}),
        ("promise.break", {**promise, "reason_code": "stock", "text": "None left."}),
        ("promise.release", {**promise, "evidence": "letter-1"}),
    ]
    kind, data = chance.choice(seldom if chance.random() < 0.02 else often)
    case = {"case_id": f"case-{chance.randint(1, 4)}"} if chance.random() < 0.5 else {}
    return world.submission(kind, occurred_at, **data, **case)
