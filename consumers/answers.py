"""Answers to the senders: durable on `ledger.receipts.<source>`, and at once to the message's reply address."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import nats.errors
import orjson
from nats.aio.msg import Msg

from consumers.channels import RECEIPTS, REPLY_TO, receipts_subject
from consumers.connection import LedgerClient, Outgoing

_TIMEOUT_SECONDS: Final = 10.0
_ACK: Final = b"+ACK"
# A sender may name any address of his own, but never make the ledger speak for him to NATS or to the ledger itself.
_ADDRESS: Final = re.compile(r"(?!\$|ledger\.)[^\s.*>]+(\.[^\s.*>]+)*")
_ADDRESS_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What one message is answered with. `source` is None where none could be read: then nothing durable is kept."""

    message: Msg
    source: str | None
    body: bytes


class NotStored(Exception):
    """NATS did not take these durable answers: their messages are not acknowledged; the message says why."""

    def __init__(self, why: str, answers: Sequence[Answer]) -> None:
        super().__init__(f"answers cannot be stored in {RECEIPTS.name}: {why}")
        self.answers = answers


async def deliver(connection: LedgerClient, answers: Sequence[Answer]) -> None:
    """Every answer is durable and sent to its reply address, and every message acknowledged, in this order.

    Raises `NotStored` for those that could not be made durable, once all others are acknowledged; when their messages
    come again, they get the same answers.
    """
    replies = [(reply_address(answer.message), answer.body) for answer in answers]
    await connection.publish_all(Outgoing(address, body) for address, body in replies if address is not None)
    unstored = await _stored(connection, [answer for answer in answers if answer.source is not None])
    stuck = [answer for answer, _ in unstored]
    await connection.publish_all(Outgoing(answer.message.reply, _ACK) for answer in answers if answer not in stuck)
    if unstored:
        raise NotStored(unstored[0][1], stuck)


def reply_address(message: Msg) -> str | None:
    """The subject that the sender asks to be answered at, in the header `reply_to`; None where it is not a fit one."""
    address: str | None = (message.headers or {}).get(REPLY_TO)
    return address if address is not None and is_fit(address) else None


def is_fit(address: str) -> bool:
    """The sender may be answered there."""
    return len(address) <= _ADDRESS_LENGTH and _ADDRESS.fullmatch(address) is not None


async def _stored(connection: LedgerClient, answers: Sequence[Answer]) -> list[tuple[Answer, str]]:
    """Which of `answers` are not in the stream of receipts, and why: together they all are, or each is tried alone."""
    if not answers or await _store(connection, answers) is None:
        return []
    alone = await asyncio.gather(*(_store(connection, [answer]) for answer in answers))
    return [(answer, why) for answer, why in zip(answers, alone, strict=True) if why is not None]


async def _store(connection: LedgerClient, answers: Sequence[Answer]) -> str | None:
    """None once all of `answers` are stored: one atomic batch, one acknowledgement (NATS 2.12). Else why none is."""
    durable = [(receipts_subject(answer.source or ""), answer.body) for answer in answers]
    batch = connection.new_inbox().encode()
    parts = [
        Outgoing(subject, body, b"NATS/1.0\r\nNats-Batch-Id:%b\r\nNats-Batch-Sequence:%d\r\n\r\n" % (batch, number))
        for number, (subject, body) in enumerate(durable[:-1], start=1)
    ]
    if parts:
        await connection.publish_all(parts)
    subject, body = durable[-1]
    last = {"Nats-Batch-Id": batch.decode(), "Nats-Batch-Sequence": str(len(durable)), "Nats-Batch-Commit": "1"}
    try:
        taken = await connection.request(subject, body, timeout=_TIMEOUT_SECONDS, headers=last if parts else None)
        said = orjson.loads(taken.data)
    except (nats.errors.Error, orjson.JSONDecodeError) as error:
        return str(error) or type(error).__name__
    if "error" in said:  # beside it NATS names the stream, as it does where all is well
        return str(said["error"].get("description"))
    stored = said.get("stream") == RECEIPTS.name and said.get("count", 1) == len(durable)
    return None if stored else "NATS did not confirm them"
