"""`record_file` sends CloudEvents that are there as lines of JSON, many at once: one answer a line, in order."""

import asyncio
import queue
import re
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import nats.errors
import orjson
from nats.aio.msg import Msg

from consumers.asking import NoAnswer, connected, why
from consumers.channels import (
    COMMAND_BYTES,
    COMMANDS,
    CONTENT_TYPE,
    REPLY_TO,
    STRUCTURED,
    command_subject,
    own_command_subject,
)
from consumers.cloudevents import Malformed
from consumers.connection import LedgerClient, Outgoing
from ledger.domain.model import ID_PATTERN

WINDOW: Final = 4000
"""Commands on their way at once, unless the caller says otherwise."""
TRY_SECONDS: Final = 10.0
TRIES: Final = 13
_BURST: Final = 500
_PAUSE_SECONDS: Final = 0.02
_TYPE: Final = re.compile(r"[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64}){0,3}")
_SOURCE: Final = re.compile(ID_PATTERN)
_END: Final = None


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
            raise NoAnswer(f"The queue does not take line {number}: {why(error)}.") from error

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
