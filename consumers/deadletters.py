"""Dead letters: what could not be parsed or kept failing, with its bytes, until an operator replays or removes it.

A message with more than 64 KiB of body, which can become no command, or more than 16 KiB of headers is kept as its
length and SHA-256 alone: whose words a part of it holds could not be told, and a few of them would fill the stream.
"""

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from consumers import trust
from consumers.channels import (
    BINARY_PREFIX,
    COMMAND_BYTES,
    COMMANDS,
    CONTENT_TYPE,
    DEADLETTER_SUBJECT,
    DEADLETTERS,
    command_subject,
)
from consumers.cloudevents import Malformed

T = TypeVar("T")
_TIMEOUT_SECONDS: Final = 10.0
MOST_LISTED: Final = 1000
_HEADER_BYTES: Final = 16 * 1024
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,4096}")
_ESCAPED: Final = re.compile(r"(?:\\u00|%)([0-9a-fA-F]{2})")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4}){4,}")
_FULL: Final = (10077, 10025)
"""What NATS says where a stream is full (maximum bytes or messages), or its own disk or account limits are reached."""


class Unburied(Exception):
    """The message is not among the dead letters and must come again; the message says why, in words for health."""


class LetterProblem(Exception):
    """Nothing was done with a dead letter; the message says why, and what to do."""


class NoSuchLetter(LetterProblem):
    """There is no dead letter with this number."""


class CutLetter(LetterProblem):
    """The dead letter does not hold its message."""


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
    headers_left_out: int
    body: bytes
    body_bytes: int
    """The length of the whole body; earlier versions kept the beginning of one that was too long."""
    body_sha256: str

    @property
    def cut(self) -> bool:
        """It does not hold its message."""
        return self.headers_left_out > 0 or len(self.body) < self.body_bytes


async def bury(connection: Client, message: Msg, why: Malformed) -> None:
    """The message is in the stream of dead letters, durably; only then may it be acknowledged.

    Raises `Unburied` where NATS does not confirm it.
    """
    about = message.metadata
    headers = {name: _printable(value) for name, value in (message.headers or {}).items()}
    header_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())
    kept = len(message.data) <= COMMAND_BYTES and header_bytes <= _HEADER_BYTES
    letter = {
        "code": why.code,
        "reason": why.reason,
        "subject": message.subject,
        "sequence": about.sequence.stream,
        "deliveries": about.num_delivered,
        "buried_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source": why.source,
        "id": why.command_id,
        "headers": headers if kept else {},
        "headers_left_out": 0 if kept else len(headers),
        "body": base64.b64encode(message.data if kept else b"").decode(),
        "body_bytes": len(message.data),
        "body_sha256": hashlib.sha256(message.data).hexdigest(),
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


def dead_letters(broker_url: str) -> list[DeadLetter]:
    """All dead letters with their bodies, oldest first; `listed` for a stream that may be full of them."""
    return listed(broker_url, lambda letter: letter)[0]


def listed(
    broker_url: str, told: Callable[[DeadLetter], T], *, after: int = 0, most: int | None = None
) -> tuple[list[T], int]:
    """What `told` makes of each dead letter above number `after`, oldest first, at most `most`; and how many there are
    in all. Only what `told` returns is held in memory.
    """

    async def read(js: JetStreamContext) -> tuple[list[T], int]:
        state = (await js.stream_info(DEADLETTERS.name)).state
        found: list[T] = []
        last = after
        while last < state.last_seq and (most is None or len(found) < most):
            try:
                letter = await _letter(js, last + 1, next_one=True)
            except NotFoundError:
                break
            found.append(told(letter))
            last = letter.number
        return found, state.messages

    return asyncio.run(_with_jetstream(broker_url, read))


def dead_letter(broker_url: str, number: int) -> DeadLetter:
    """The dead letter `number`. Raises `NoSuchLetter`."""
    return asyncio.run(_with_jetstream(broker_url, lambda js: _known(js, number)))


def remove(broker_url: str, number: int) -> None:
    """The dead letter `number` is gone, its bytes overwritten. Raises `NoSuchLetter`."""

    async def delete(js: JetStreamContext) -> None:
        await _known(js, number)
        await js.delete_msg(DEADLETTERS.name, number)

    asyncio.run(_with_jetstream(broker_url, delete))


def forget(broker_url: str, whose: Callable[[set[str]], str | None], *, after: int) -> tuple[dict[str, int], int]:
    """Those above number `after` are gone that are somebody's, as `whose` says of the ids that stand in a letter (none
    are known of one that is cut): how many, by whom they were; and the number of the last one that there is.
    """

    async def delete(js: JetStreamContext) -> tuple[dict[str, int], int]:
        end = (await js.stream_info(DEADLETTERS.name)).state.last_seq
        counts: dict[str, int] = {}
        last = after if after <= end else 0  # the stream was made anew and counts from 1 again
        while last < end:
            try:
                letter = await _letter(js, last + 1, next_one=True)
            except NotFoundError:
                break
            last = letter.number
            if (owner := whose(set() if letter.cut else ids_in(letter))) is not None:
                await js.delete_msg(DEADLETTERS.name, last)
                counts[owner] = counts.get(owner, 0) + 1
        return counts, end

    return asyncio.run(_with_jetstream(broker_url, delete))


def ids_in(letter: DeadLetter) -> set[str]:
    """Everything in a letter that may be an id, however it is spelled: escaped, as a form has it, in base64, in UTF-16,
    in a sentence.
    """
    body = letter.body.replace(b"\0", b"").decode("utf-8", "replace")
    encoded = [base64.b64decode(each + "==").decode("utf-8", "replace") for each in _BASE64.findall(body)]
    found: set[str] = set()
    for text in (body, *encoded, *letter.headers.values(), letter.command_id or ""):
        plain = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), text)
        for name in _ID.findall(f"{text} {plain}"):
            found |= {name, name.strip("._:-"), *name.split(":")}
    return found


def replay(broker_url: str, number: int, *, body: bytes | None = None) -> None:
    """The command of dead letter `number` is in the queue again, with its headers, and the letter is gone.

    With `body` that is sent instead. Idempotent: after a crash between the two the letter is still there, and the
    inbox answers a command that was recorded the first time with its first receipt. Raises `NoSuchLetter`, and
    `CutLetter` where the letter does not hold all and `body` is not given.
    """

    async def send(js: JetStreamContext) -> None:
        letter = await _known(js, number)
        if body is None and letter.cut:
            raise CutLetter(f"Dead letter {number} does not hold its message: replay it with --body FILE.")
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


async def _known(js: JetStreamContext, number: int) -> DeadLetter:
    try:
        return await _letter(js, number)
    except NotFoundError:
        raise NoSuchLetter(f"There is no dead letter {number}: replayed, removed, too old, or never there.") from None


async def _letter(js: JetStreamContext, number: int, *, next_one: bool = False) -> DeadLetter:
    stored = await js.get_msg(DEADLETTERS.name, number, DEADLETTER_SUBJECT if next_one else None, next=next_one)
    letter = orjson.loads(stored.data or b"")
    body = base64.b64decode(letter["body"], validate=True)
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
        headers_left_out=letter.get("headers_left_out", 0),  # letters of the first version held all
        body=body,
        body_bytes=letter.get("body_bytes", len(body)),
        body_sha256=letter.get("body_sha256", hashlib.sha256(body).hexdigest()),
    )


async def _with_jetstream(broker_url: str, work: Callable[[JetStreamContext], Awaitable[T]]) -> T:
    connection = await trust.connect(broker_url, connect_timeout=5, max_reconnect_attempts=1)
    try:
        return await work(connection.jetstream(timeout=_TIMEOUT_SECONDS))
    finally:
        await connection.close()


def _printable(value: str) -> str:
    """A header value without what JSON cannot hold (nats-py keeps bytes that are not UTF-8 as surrogates)."""
    return value.encode("utf-8", "backslashreplace").decode()
