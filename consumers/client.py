"""`Client`, the way for a Python service to send: typed commands, proven receipts, a notepad for bad days."""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import nats.errors
import orjson

from consumers.asking import Asker, connected, unreachable
from consumers.asking import NoAnswer as NoAnswer
from consumers.channels import own_command_subject
from consumers.cloudevents import Malformed, event_of, parse
from consumers.lost import read_lost
from consumers.receipts import Lost, open_answer
from consumers.spool import Damaged, Noted, Spool
from consumers.trust import NotTrusted
from ledger.checked import Checked
from ledger.domain.disclosures import CheckDisclosure, MakeDisclosure
from ledger.domain.erasures import CUSTOMER_ERASED
from ledger.domain.model import Command
from ledger.receipts import Receipt, Refusal
from ledger.tlog.note import Verifier

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)
PATIENCE_SECONDS: Final = 30.0
AWAY_SECONDS: Final = 5.0
"""How long a queue that did not answer is not asked again: a sender with a notepad must not wait at every command."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """The command is in the notepad, not in the ledger: `reason` says what is away. It goes out before the next one."""

    source: str
    command_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of a notepad's commands: how many were recorded, a sentence for each refused and each damaged one, how
    many still wait, and why."""

    recorded: int
    refused: tuple[str, ...]
    damaged: tuple[str, ...]
    waiting: int
    reason: str | None = None


class Client:
    """A backend service that sends commands and awaits their answers: `async with Client(url, "crm") as client`.

    `vkey`: the log's key as you keep it (`promise-ledger vkey`, once); every receipt is then verified. Of a log whose
    key was rotated, several: a receipt may be proven under either. `spool`: the notepad that takes a command when no
    answer is to be had. Any number of `send` may run at once.

    `on_delivery` is called with what a delivery refused or found damaged and did not return: where `send` began it, and
    where it raised. Each finding comes once. By default it is a warning in the log. It may not use the client, and what
    it raises, `send` raises, its own command unsent.
    """

    def __init__(
        self,
        broker_url: str,
        source: str,
        *,
        vkey: str | Sequence[str] | None = None,
        spool: Path | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._broker_url = broker_url
        self._source = source
        pinned = [vkey] if isinstance(vkey, str) else vkey or ()
        self._verifiers = [Verifier.parse(each) for each in pinned]
        self._spool = None if spool is None else Spool(spool)
        self._on_delivery = on_delivery or self._warn
        self._patience = patience_seconds
        self._asker: Asker | None = None
        self._connecting = asyncio.Lock()
        self._delivering = asyncio.Lock()
        self._away_until = 0.0
        self._away_because = ""

    async def __aenter__(self) -> Self:
        """Connected. Raises `NoAnswer` where NATS is away and there is no notepad."""
        try:
            await self._connected()
        except NoAnswer:
            if self._spool is None:
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asker is not None:
            await self._asker.close()

    async def send(self, command: Command, *, id: str | None = None) -> Receipt | Refusal | Spooled:
        """What the ledger answers; `Spooled` where nobody answers and there is a notepad.

        Give an `id` of your own where you may have to send the same again after a crash: it names the command for ever.
        What waits in the notepad goes first, and `on_delivery` hears what was refused of it, or damaged. Raises
        `NoAnswer` (no notepad), `Malformed` for what is no command, `UnprovenReceipt` for an answer that does not hold,
        `SpoolProblem`.
        """
        command_id = uuid.uuid4().hex if id is None else id
        body = event_of(command, self._source, command_id)
        parse({}, body)  # what the ledger would not take is said here, also while it is away
        try:
            if self._spool is not None and self._spool.path.exists():
                await (await self._connected()).up()  # while the queue is away, no command reads all that waits
                delivery = await self.deliver()
                self._tell(delivery)
                if delivery.waiting:
                    raise NoAnswer(delivery.reason)
            return await self._answer(body)
        except NoAnswer as away:
            if self._spool is None:
                raise
            await asyncio.to_thread(self._spool.append, body)
            return Spooled(self._source, command_id, str(away))

    async def check(self, disclosure: MakeDisclosure) -> Checked:
        """What making `disclosure` would raise and close: ask before you speak. Nothing is recorded or noted down.

        Raises `NoAnswer`, and `Malformed`.
        """
        asker = await self._connected()
        question = event_of(CheckDisclosure.of(disclosure), self._source, f"check-{uuid.uuid4()}")
        return await asker.check(question, self._patience)

    async def lost(self) -> list[Lost]:
        """What the ledger recorded and has lost since, and asks for: send the same commands again, under the same ids.

        Those that you have sent again meanwhile are not in it. Raises `NoAnswer` where the queue is away.
        """
        try:
            return await read_lost(self._broker_url, self._source)
        except NotTrusted as error:
            raise NoAnswer(str(error)) from error
        except (OSError, nats.errors.Error) as error:
            raise unreachable(self._broker_url) from error

    async def deliver(self) -> Delivery:
        """Send what is in the notepad, in the order of writing, each once its predecessor is answered.

        What is answered is removed from it; what is refused is kept in `FILE.aside` with the reason, for its words
        are nowhere else (unless their customer was erased). Stops where nobody answers. Raises `UnprovenReceipt` and
        `SpoolProblem`; what it had found by then, `on_delivery` hears.
        """
        spool = self._spool
        assert spool is not None, "there is no notepad"
        async with self._delivering:
            pending = spool.contents().pending
            refusals: list[str | None] = []
            damaged: tuple[Damaged, ...] = ()
            reason = None
            try:
                try:
                    for noted in pending:
                        refusals.append(await self._deliver(spool, noted))
                except NoAnswer as away:
                    reason = str(away)
                finally:
                    damaged = spool.clear()
            except BaseException as error:  # who waits no longer included: the next delivery finds it no more
                self._tell(_delivery(pending, refusals, damaged, str(error)))
                raise
        return _delivery(pending, refusals, damaged, reason)

    async def _deliver(self, spool: Spool, noted: Noted) -> str | None:
        """None once the command is recorded, or the sentence of its refusal; either is on disk then.

        Nothing is awaited between the writing and the return: a refusal that is on disk is always told.
        """
        event = orjson.loads(noted.body)
        try:
            answer = await self._answer(noted.body)
        except Malformed as malformed:
            body, said = malformed.to_json(), f"{malformed.code}: {malformed.reason}"
        else:
            body, said = answer.to_json(), "" if isinstance(answer, Receipt) else f"{answer.code}: {answer.message}"
        refusal = f"{event['id']}: {said}" if said else None
        kept = None if said.startswith(f"{CUSTOMER_ERASED}: ") else refusal  # their words are to be nowhere
        spool.answered(noted, body, aside=kept)
        return refusal

    def _tell(self, delivery: Delivery) -> None:
        if delivery.refused or delivery.damaged:
            self._on_delivery(delivery)

    def _warn(self, delivery: Delivery) -> None:
        assert self._spool is not None
        counts = f"{len(delivery.refused)} refused, {len(delivery.damaged)} damaged, {delivery.waiting} waiting"
        _log.warning("the notepad was delivered: %s: see %s", counts, self._spool.aside_path)

    async def _answer(self, body: bytes) -> Receipt | Refusal:
        event = orjson.loads(body)
        asker = await self._connected()
        answer = await asker.ask(own_command_subject(event["source"], event["type"]), body, self._patience)
        return open_answer(answer, source=event["source"], command_id=event["id"], verifiers=self._verifiers)

    async def _connected(self) -> Asker:
        async with self._connecting:
            if self._asker is not None and not self._asker.closed:
                return self._asker
            if time.monotonic() < self._away_until:
                raise NoAnswer(self._away_because)
            try:
                self._asker = await Asker.on(await connected(self._broker_url))
            except NoAnswer as away:
                self._away_until, self._away_because = time.monotonic() + AWAY_SECONDS, str(away)
                raise
            return self._asker


def _delivery(
    pending: Sequence[Noted], refusals: Sequence[str | None], damaged: Sequence[Damaged], reason: str | None
) -> Delivery:
    """What came of `pending`, of which the first had their answers: None, or the sentence of the refusal."""
    refused = tuple(each for each in refusals if each is not None)
    sentences = tuple(each.sentence for each in damaged)
    return Delivery(len(refusals) - len(refused), refused, sentences, len(pending) - len(refusals), reason)


class SyncClient:
    """`Client` for code without a loop: `with SyncClient(url, "crm") as client: client.send(command)`.

    It has a loop in a thread of its own, so that the connection lives between two commands; threads may share it. That
    thread calls `on_delivery`. Who still waits for an answer when the block ends hears CancelledError
    (`concurrent.futures`), as after a crash: the command may be on record. Outside of the block it raises RuntimeError.
    """

    def __init__(
        self,
        broker_url: str,
        source: str,
        *,
        vkey: str | Sequence[str] | None = None,
        spool: Path | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> None:
        self._client = Client(broker_url, source, vkey=vkey, spool=spool, on_delivery=on_delivery)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="promise-ledger client")
        self._opening = threading.Lock()
        self._is_open = False

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._client.__aenter__(), self._loop).result()
        except BaseException:
            self._end()
            raise
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opening:
            self._is_open = False
        try:
            asyncio.run_coroutine_threadsafe(self._client.__aexit__(kind, error, trace), self._loop).result()
        finally:
            self._end()

    def send(self, command: Command, *, id: str | None = None) -> Receipt | Refusal | Spooled:
        """As `Client.send`."""
        return self._wait(self._client.send(command, id=id))

    def check(self, disclosure: MakeDisclosure) -> Checked:
        """As `Client.check`."""
        return self._wait(self._client.check(disclosure))

    def lost(self) -> list[Lost]:
        """As `Client.lost`."""
        return self._wait(self._client.lost())

    def deliver(self) -> Delivery:
        """As `Client.deliver`."""
        return self._wait(self._client.deliver())

    def _wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """What it returns. Whoever stops waiting (Ctrl-C) stops it too, and `on_delivery` hears what it had found."""
        with self._opening:  # what is asked before the block ends, `_end` finds
            if not self._is_open:
                asked.close()
                raise RuntimeError("a SyncClient answers within its `with` block only")
            running = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def _end(self) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    """Whatever else runs in this loop has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
