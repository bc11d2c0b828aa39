"""Senders. `Client` is the way for a Python service: typed commands, proven receipts, a notepad for bad days.
`record_file` sends CloudEvents that are there as lines of JSON, many at once: one answer a line, in order.
"""

import asyncio
import queue
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import nats.errors
import orjson
from nats.aio.msg import Msg

from consumers.asking import Asker, connected
from consumers.asking import NoAnswer as NoAnswer
from consumers.channels import (
    COMMAND_BYTES,
    COMMANDS,
    CONTENT_TYPE,
    REPLY_TO,
    STRUCTURED,
    command_subject,
    own_command_subject,
)
from consumers.cloudevents import Malformed, event_of, parse
from consumers.connection import LedgerClient, Outgoing
from consumers.lost import read_lost
from consumers.receipts import Lost, open_answer
from consumers.spool import Noted, Spool
from ledger.checked import Checked
from ledger.domain.disclosures import CheckDisclosure, MakeDisclosure
from ledger.domain.erasures import CUSTOMER_ERASED
from ledger.domain.model import ID_PATTERN, Command
from ledger.receipts import Receipt, Refusal
from ledger.tlog.note import Verifier

WINDOW: Final = 4000
"""Commands on their way at once, unless the caller says otherwise."""
TRY_SECONDS: Final = 10.0
TRIES: Final = 13
_BURST: Final = 500
_PAUSE_SECONDS: Final = 0.02
_TYPE: Final = re.compile(r"[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64}){0,3}")
_SOURCE: Final = re.compile(ID_PATTERN)
_END: Final = None
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
    """

    def __init__(
        self,
        broker_url: str,
        source: str,
        *,
        vkey: str | Sequence[str] | None = None,
        spool: Path | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._broker_url = broker_url
        self._source = source
        pinned = [vkey] if isinstance(vkey, str) else vkey or ()
        self._verifiers = [Verifier.parse(each) for each in pinned]
        self._spool = None if spool is None else Spool(spool)
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
        What waits in the notepad goes first. Raises `NoAnswer` (no notepad), `Malformed` for what is no command,
        `UnprovenReceipt` for an answer that does not hold, `SpoolProblem`.
        """
        command_id = uuid.uuid4().hex if id is None else id
        body = event_of(command, self._source, command_id)
        parse({}, body)  # what the ledger would not take is said here, also while it is away
        try:
            if self._spool is not None and self._spool.path.exists():
                delivery = await self.deliver()
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
        except (OSError, nats.errors.Error) as error:
            raise NoAnswer(f"NATS does not answer at {self._broker_url}: is `promise-ledger up` running?") from error

    async def deliver(self) -> Delivery:
        """Send what is in the notepad, in the order of writing, each once its predecessor is answered.

        What is answered is removed from it; what is refused is kept in `FILE.aside` with the reason, for its words
        are nowhere else (unless their customer was erased). Stops where nobody answers. Raises `UnprovenReceipt`.
        """
        assert self._spool is not None, "there is no notepad"
        async with self._delivering:
            found = self._spool.contents()
            recorded, refused, reason = 0, [], None
            try:
                for noted in found.pending:
                    refusal = await self._deliver(self._spool, noted)
                    refused += [] if refusal is None else [refusal]
                    recorded += refusal is None
            except NoAnswer as away:
                reason = str(away)
            finally:
                self._spool.clear()
        damaged = tuple(each.sentence for each in found.damaged)
        return Delivery(recorded, tuple(refused), damaged, len(found.pending) - recorded - len(refused), reason)

    async def _deliver(self, spool: Spool, noted: Noted) -> str | None:
        """None once the command is recorded, or the sentence of its refusal; either is on disk then."""
        event = orjson.loads(noted.body)
        try:
            answer = await self._answer(noted.body)
        except Malformed as malformed:
            body, said = malformed.to_json(), f"{malformed.code}: {malformed.reason}"
        else:
            body, said = answer.to_json(), "" if isinstance(answer, Receipt) else f"{answer.code}: {answer.message}"
        refusal = f"{event['id']}: {said}" if said else None
        kept = None if said.startswith(f"{CUSTOMER_ERASED}: ") else refusal  # their words are to be nowhere
        await asyncio.to_thread(spool.answered, noted, body, aside=kept)
        return refusal

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


class SyncClient:
    """`Client` for code without a loop: `with SyncClient(url, "crm") as client: client.send(command)`.

    It has a loop in a thread of its own, so that the connection lives between two commands; threads may share it.
    """

    def __init__(
        self, broker_url: str, source: str, *, vkey: str | Sequence[str] | None = None, spool: Path | None = None
    ) -> None:
        self._client = Client(broker_url, source, vkey=vkey, spool=spool)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="promise-ledger client")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._client.__aenter__(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._client.__aexit__(kind, error, trace), self._loop).result()
        self._end()

    def send(self, command: Command, *, id: str | None = None) -> Receipt | Refusal | Spooled:
        """As `Client.send`."""
        return asyncio.run_coroutine_threadsafe(self._client.send(command, id=id), self._loop).result()

    def check(self, disclosure: MakeDisclosure) -> Checked:
        """As `Client.check`."""
        return asyncio.run_coroutine_threadsafe(self._client.check(disclosure), self._loop).result()

    def lost(self) -> list[Lost]:
        """As `Client.lost`."""
        return asyncio.run_coroutine_threadsafe(self._client.lost(), self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """What one line was answered with: `body` is the receipt or refusal as it came, `line` counts from 1."""

    line: int
    status: str
    body: bytes


@dataclass(slots=True)
class _Sent:
    subject: str
    body: bytes
    tries: int
    again_at: float


def record_file(broker_url: str, lines: Iterable[bytes], *, window: int = WINDOW) -> Iterator[LineAnswer]:
    """The answers to `lines` in their order, each once it and all before it are there; blank lines are skipped.

    Raises `NoAnswer` where the queue or the ledger stays silent.
    """
    bursts = record_lines(broker_url, lines, window=window)
    with asyncio.Runner() as runner:
        try:
            while True:
                yield from runner.run(anext(bursts))  # type: ignore[arg-type]
        except StopAsyncIteration:
            return
        finally:
            runner.run(bursts.aclose())  # type: ignore[attr-defined]


async def record_lines(
    broker_url: str, lines: Iterable[bytes], *, window: int = WINDOW
) -> AsyncIterator[list[LineAnswer]]:
    """As `record_file`, in the running loop, and in bursts. `lines` may block: a thread of its own reads them."""
    connection = await connected(broker_url)
    try:
        recording = _Recording(connection, window)
        async for burst in recording.answers(lines):
            yield burst
    finally:
        await connection.close()


class _Recording:
    """Lines that are on their way, and answers that wait for their turn."""

    def __init__(self, connection: LedgerClient, window: int) -> None:
        self._connection = connection
        self._window = window
        self._inbox = connection.new_inbox()
        self._sent: dict[int, _Sent] = {}
        self._answered: dict[int, LineAnswer] = {}
        self._arrived = asyncio.Event()

    async def answers(self, lines: Iterable[bytes]) -> AsyncIterator[list[LineAnswer]]:
        await self._connection.subscribe(f"{self._inbox}.*", cb=self._take, pending_msgs_limit=0, pending_bytes_limit=0)
        waiting: queue.Queue[tuple[int, bytes] | None] = queue.Queue(maxsize=2 * _BURST)
        threading.Thread(target=_read, args=(lines, waiting), daemon=True, name="lines").start()
        order: list[int] = []
        more = True
        while more or order:
            burst: list[tuple[int, bytes]] = []
            if more:
                burst, more = self._next(waiting)
                order += [number for number, _ in burst]
                await self._send(burst)
            ready = 0
            while ready < len(order) and order[ready] in self._answered:
                ready += 1
            if ready:
                yield [self._answered.pop(number) for number in order[:ready]]
                del order[:ready]
            elif not burst:
                await self._pause()

    def _next(self, waiting: "queue.Queue[tuple[int, bytes] | None]") -> tuple[list[tuple[int, bytes]], bool]:
        """Lines that are read and fit into the window, and whether there may be more."""
        burst: list[tuple[int, bytes]] = []
        while len(burst) < _BURST and len(self._sent) + len(self._answered) + len(burst) < self._window:
            try:
                found = waiting.get_nowait()
            except queue.Empty:
                break
            if found is _END:
                return burst, False
            burst.append(found)
        return burst, True

    async def _send(self, burst: list[tuple[int, bytes]]) -> None:
        now = time.monotonic()
        outgoing = []
        for number, line in burst:
            try:
                sent = _Sent(_subject(line), line, 1, now + TRY_SECONDS)
            except Malformed as malformed:
                self._answered[number] = LineAnswer(number, "malformed", malformed.to_json())
                continue
            self._sent[number] = sent
            outgoing.append(Outgoing(sent.subject, line, self._headers(number)))
        if outgoing:
            await self._connection.publish_all(outgoing)

    async def _pause(self) -> None:
        """Wait for answers; what stays unanswered for long is sent again."""
        self._arrived.clear()
        try:
            await asyncio.wait_for(self._arrived.wait(), _PAUSE_SECONDS)
        except TimeoutError:
            now = time.monotonic()
            late = [number for number, sent in self._sent.items() if sent.again_at < now]
            for number in sorted(late)[:_BURST]:
                if (sent := self._sent.get(number)) is not None:  # its answer may have come meanwhile
                    await self._send_again(number, sent, now)

    async def _send_again(self, number: int, sent: _Sent, now: float) -> None:
        """With a confirmation of the queue this time, so that its own complaint is heard."""
        if sent.tries >= TRIES:
            waited = int(TRIES * TRY_SECONDS)
            raise NoAnswer(f"No answer to line {number} in {waited} seconds: `promise-ledger health` may say why.")
        sent.tries += 1
        sent.again_at = now + TRY_SECONDS
        js = self._connection.jetstream(timeout=TRY_SECONDS)
        headers = {REPLY_TO: f"{self._inbox}.{number}", CONTENT_TYPE: STRUCTURED}
        try:
            await js.publish(sent.subject, sent.body, headers=headers, stream=COMMANDS.name)
        except nats.errors.TimeoutError:
            return
        except nats.errors.Error as error:
            raise NoAnswer(f"The queue does not take line {number}: {error}.") from error

    def _headers(self, number: int) -> bytes:
        return f"NATS/1.0\r\n{REPLY_TO}: {self._inbox}.{number}\r\n{CONTENT_TYPE}: {STRUCTURED}\r\n\r\n".encode()

    async def _take(self, message: Msg) -> None:
        number = int(message.subject.rpartition(".")[2])
        if self._sent.pop(number, None) is not None:
            self._answered[number] = LineAnswer(number, orjson.loads(message.data)["status"], message.data)
            self._arrived.set()


def _subject(line: bytes) -> str:
    """Where a line is sent to. Raises `Malformed` for what the queue would carry in vain."""
    if len(line) > COMMAND_BYTES:
        raise Malformed("too-large", f"The command has {len(line)} bytes; at most {COMMAND_BYTES} are taken.")
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Malformed("not-json", f"The line is not JSON: it breaks at character {error.pos}.") from None
    kind, source = (event.get("type"), event.get("source")) if isinstance(event, dict) else (None, None)
    command_type = kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else "unknown"
    if isinstance(source, str) and _SOURCE.fullmatch(source):
        return own_command_subject(source, command_type)
    return command_subject(command_type)


def _read(lines: Iterable[bytes], waiting: "queue.Queue[tuple[int, bytes] | None]") -> None:
    for number, line in enumerate(lines, start=1):
        if stripped := line.strip():
            waiting.put((number, stripped))
    waiting.put(_END)
