"""A ledger with its read side and a queue for its dead letters, and an eraser over them."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.js.errors import NotFoundError

from consumers import erasing
from consumers.channels import DEADLETTERS
from consumers.erasing import Letters, connect
from consumers.provision import provision
from ledger.app import Ledger
from ledger.erasure.eraser import Eraser
from ledger.erasure.order import Order
from ledger.erasure.orders import orders
from ledger.storage.guard import read_guard
from ledger.tlog.note import Signer
from ledger.verification.log import verify
from ledger.verification.report import Report
from projections import checking, texts
from projections.followups import FOLLOWUPS
from projections.promises import PROMISES
from projections.timeline import TIMELINE
from projections.versions import Definition
from tests.projections.world import World

READ = (texts.TEXTS, TIMELINE, PROMISES, FOLLOWUPS)
"""What these tests look at; tests/service/test_forgetting.py looks at everything."""


async def until(reached: Callable[[], object]) -> None:
    """Wait, in a test whose time is limited."""
    while not reached():
        await asyncio.sleep(0.01)


class Erasing(World):
    """The world, an eraser's connection to it as the role ledger_eraser, and the queue."""

    def __init__(self, url: str, data_dir: Path, broker_url: str) -> None:
        super().__init__(url, data_dir)
        self.broker_url = broker_url
        self.vkey = Signer(self.settings.origin, self.secrets.log).vkey
        self._erasers = ExitStack()

    def eraser(self, ledger: Ledger | None = None) -> Eraser:
        """A new eraser, as after a restart; closed with the world."""
        url = self.url.replace("postgres@", "ledger_eraser@", 1)
        connection = self._erasers.enter_context(connect(url))
        return Eraser(ledger or self.ledger, connection, texts, Letters(self.broker_url), clock=lambda: self.now)

    @asynccontextmanager
    async def at_work(self, role: str = "ledger_eraser") -> AsyncIterator[erasing.Progress]:
        """An eraser at work as the intake runs it, until the block ends: what health would see of it."""
        stop, progress = asyncio.Event(), erasing.Progress()
        url = self.url.replace("postgres@", f"{role}@", 1)
        working = asyncio.create_task(
            erasing.run(self.ledger, url, self.broker_url, texts, stop, progress=progress, seconds=0.01)
        )
        try:
            yield progress
        finally:
            stop.set()
            await working

    def close(self) -> None:
        self._erasers.close()
        super().close()

    def catch_up(self, definitions: Sequence[Definition] = READ) -> None:
        super().catch_up(definitions)

    def erase(self, customer_id: str = "C-1") -> str:
        """Order the erasure; "recorded", or the code of the refusal."""
        return self.tell("subject.erase", self.now, customer_id=customer_id, grounds="art-17-1-a")

    def order(self, customer_id: str = "C-1") -> Order:
        return orders(self.connection_of_tuples())[customer_id]

    def verify(self, **changed: Any) -> Report:
        """What `verify` says, once `verify --projections` has nothing to say either."""
        report = verify(
            self.url,
            vkey=self.vkey,
            guard=lambda: read_guard(self.settings.guard_path),
            key_encryption_key=self.secrets.key_encryption_keys()[0],
            rules=True,
            **changed,
        )
        if report.problem is None:
            assert checking.check(self.url, self.secrets, definitions=[texts.TEXTS]) is None
        return report

    def found(self) -> tuple[str, int | None] | None:
        """Where `verify` finds a problem first."""
        problem = self.verify().problem
        return None if problem is None else (problem.table, problem.leaf_index)

    def left(self, customer_id: str = "C-1") -> dict[str, int]:
        """How many rows with words or keys of the customer there are, by table."""
        asked = {
            "keys": "SELECT count(*) AS n FROM ledger.customer_keys WHERE customer_id = %s AND wrapped IS NOT NULL",
            "sealed": "SELECT count(*) AS n FROM ledger.sealed WHERE customer_id = %s",
            "texts": "SELECT count(*) AS n FROM audit.texts WHERE customer_id = %s",
        }
        return {name: count for name, query in asked.items() if (count := self.ask(query, customer_id)[0]["n"])}

    def completions(self) -> list[dict[str, Any]]:
        """What each ErasureCompleted says, in order."""
        rows = self.ask("SELECT state FROM ledger.events WHERE topic = 'subject.erasure_completed' ORDER BY 1")
        return [orjson.loads(row["state"])["data"] for row in rows]

    def bury(self, body: bytes, *, body_bytes: int | None = None, **headers: str) -> None:
        """A dead letter as the intake makes it; with more `body_bytes` it is cut."""
        letter = {
            "code": "not-json",
            "reason": "The body is not JSON.",
            "subject": "ledger.commands.promise.make",
            "sequence": 1,
            "deliveries": 1,
            "buried_at": "2026-03-01T12:00:00Z",
            "source": None,
            "id": None,
            "headers": headers,
            "body": base64.b64encode(body).decode(),
            "body_bytes": body_bytes or len(body),
            "body_sha256": hashlib.sha256(body).hexdigest(),
        }

        async def publish() -> None:
            connection = await nats.connect(self.broker_url)
            await connection.jetstream().publish("ledger.deadletters", orjson.dumps(letter), stream=DEADLETTERS.name)
            await connection.close()

        asyncio.run(publish())


@pytest.fixture(scope="session")
def queue(nats_url: str) -> str:
    """The URL of the session's queue with its streams, whatever they hold."""
    provision(nats_url)
    return nats_url


@pytest.fixture
def no_letters(queue: str) -> None:
    """No dead letter is left from another test."""

    async def purge() -> None:
        connection = await nats.connect(queue)
        try:
            await connection.jetstream().purge_stream(DEADLETTERS.name)
        except NotFoundError:
            provision(queue)
        await connection.close()

    asyncio.run(purge())


@pytest.fixture
def world(readable: str, data_dir: Path, queue: str) -> Iterator[Erasing]:
    world = Erasing(readable, data_dir, queue)
    yield world
    world.close()


@pytest.fixture
def told(world: Erasing) -> Erasing:
    return tell(world)


def tell(world: Erasing) -> Erasing:
    """Three promises to C-1 with words, one to C-2, and the read side at the head of the log."""
    for number in (1, 2, 3):
        world.make(number, due_at=30, condition={"text": f"if {number}", "by": world.now} if number == 3 else None)
    world.make(4, customer_id="C-2")
    assert world.tell("promise.warn", 1, promise_id="P-1", reason="It snows.") == "recorded"
    world.catch_up()
    return world
