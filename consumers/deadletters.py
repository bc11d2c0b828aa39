"""Dead letters: what could not be parsed or kept failing, with its bytes, until an operator replays or removes it."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import nats
import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from consumers.channels import BINARY_PREFIX, COMMANDS, CONTENT_TYPE, DEADLETTER_SUBJECT, DEADLETTERS, command_subject
from consumers.cloudevents import Malformed

T = TypeVar("T")
_TIMEOUT_SECONDS: Final = 10.0
MOST_LISTED: Final = 1000
_FULL: Final = (10077, 10025)
"""What NATS says where a stream is full (maximum bytes or messages), or its own disk or account limits are reached."""


class Unburied(Exception):
    """The message is not among the dead letters and must come again; the message says why, in words for health."""


class NoSuchLetter(Exception):
    """There is no dead letter with this number; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message as it came, and why it is here. `number` names it; `body` may hold a customer's words."""

    number: int
    code: str
    reason: str
    subject: str
    command_sequence: int
    deliveries: int
    buried_at: str
    source: str | None
    command_id: str | None
    headers: Mapping[str, str]
    body: bytes


async def bury(connection: Client, message: Msg, why: Malformed) -> None:
    """The message is in the stream of dead letters, durably; only then may it be acknowledged.

    Raises `Unburied` where NATS does not confirm it.
    """
    about = message.metadata
    letter = {
        "code": why.code,
        "reason": why.reason,
        "subject": message.subject,
        "sequence": about.sequence.stream,
        "deliveries": about.num_delivered,
        "buried_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source": why.source,
        "id": why.command_id,
        "headers": {name: _printable(value) for name, value in (message.headers or {}).items()},
        "body": base64.b64encode(message.data).decode(),
    }
    try:
        await connection.jetstream().publish(
            DEADLETTER_SUBJECT, orjson.dumps(letter), timeout=_TIMEOUT_SECONDS, stream=DEADLETTERS.name
        )
    except APIError as error:
        full = error.err_code in _FULL
        state = (
            "full: list, replay or remove some" if full else f"not stored in {DEADLETTERS.name}: {error.description}"
        )
        raise Unburied(f"the dead letters are {state}") from error
    except nats.errors.Error as error:
        raise Unburied(f"the dead letters are not stored in {DEADLETTERS.name}: {error}") from error


def dead_letters(broker_url: str, *, most: int = MOST_LISTED) -> list[DeadLetter]:
    """The oldest dead letters, at most `most`."""

    async def read(js: JetStreamContext) -> list[DeadLetter]:
        letters: list[DeadLetter] = []
        while len(letters) < most:
            try:
                found = await _letter(js, letters[-1].number + 1 if letters else 1, next_one=True)
            except NotFoundError:
                break
            letters.append(found)
        return letters

    return asyncio.run(_with_jetstream(broker_url, read))


def replay(broker_url: str, number: int, *, body: bytes | None = None) -> None:
    """The command of dead letter `number` is in the queue again, with its headers, and the letter is gone.

    With `body` that is sent instead. Idempotent: after a crash between the two the letter is still there, and the
    inbox answers a command that was recorded the first time with its first receipt. Raises `NoSuchLetter`.
    """

    async def send(js: JetStreamContext) -> None:
        try:
            letter = await _letter(js, number)
        except NotFoundError:
            raise NoSuchLetter(f"There is no dead letter {number}: it was replayed, or never there.") from None
        headers, payload = _replayed(letter, body)
        subject = _subject(letter, headers, payload)
        await js.publish(subject, payload, headers=headers or None, stream=COMMANDS.name)
        await js.delete_msg(DEADLETTERS.name, number)

    asyncio.run(_with_jetstream(broker_url, send))


def _replayed(letter: DeadLetter, body: bytes | None) -> tuple[dict[str, str], bytes]:
    """Headers and body to send: without NATS's own headers, nor the event's old ones where `body` is a whole event."""
    ours = {name: value for name, value in letter.headers.items() if not name.lower().startswith("nats-")}
    if body is None:
        return ours, letter.body
    if _member(body, "specversion") is not None:
        attributes = (BINARY_PREFIX, CONTENT_TYPE)
        ours = {name: value for name, value in ours.items() if not name.lower().startswith(attributes)}
    return ours, body


def _subject(letter: DeadLetter, headers: Mapping[str, str], body: bytes) -> str:
    """The subject that belongs to the event's type; the original one where there is no type to be read."""
    kind = headers.get("ce-type") or _member(body, "type")
    fit = isinstance(kind, str) and kind.replace(".", "").replace("_", "").isalnum() and kind.isascii()
    return command_subject(str(kind)) if fit and ".." not in str(kind) else letter.subject


def _member(body: bytes, name: str) -> Any:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return event.get(name) if isinstance(event, dict) else None


async def _letter(js: JetStreamContext, number: int, *, next_one: bool = False) -> DeadLetter:
    stored = await js.get_msg(DEADLETTERS.name, number, DEADLETTER_SUBJECT if next_one else None, next=next_one)
    letter = orjson.loads(stored.data or b"")
    return DeadLetter(
        number=stored.seq or 0,
        code=letter["code"],
        reason=letter["reason"],
        subject=letter["subject"],
        command_sequence=letter["sequence"],
        deliveries=letter["deliveries"],
        buried_at=letter["buried_at"],
        source=letter["source"],
        command_id=letter["id"],
        headers=letter["headers"],
        body=base64.b64decode(letter["body"], validate=True),
    )


async def _with_jetstream(broker_url: str, work: Callable[[JetStreamContext], Awaitable[T]]) -> T:
    connection = await nats.connect(broker_url, connect_timeout=5, max_reconnect_attempts=1)
    try:
        return await work(connection.jetstream(timeout=_TIMEOUT_SECONDS))
    finally:
        await connection.close()


def _printable(value: str) -> str:
    """A header value without what JSON cannot hold (nats-py keeps bytes that are not UTF-8 as surrogates)."""
    return value.encode("utf-8", "backslashreplace").decode()
