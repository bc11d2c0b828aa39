"""Answers to the senders: durable on `ledger.receipts.<source>`, and at once to the message's reply address."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header

from consumers.channels import RECEIPTS, REPLY_TO, receipts_subject

_TIMEOUT_SECONDS: Final = 10.0
# A sender may name any address of his own, but never make the ledger speak for him to NATS or to the ledger itself.
_ADDRESS: Final = re.compile(r"(?!\$|ledger\.)[^\s.*>]+(\.[^\s.*>]+)*")
_ADDRESS_LENGTH: Final = 256


class NotStored(Exception):
    """The durable answers were not taken by NATS: nothing of this batch may be acknowledged."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one message is answered with. `source` is None where none could be read: then nothing durable is kept."""

    message: Msg
    source: str | None
    body: bytes


async def deliver(connection: Client, answers: Sequence[Answer]) -> None:
    """Every answer is durable and sent to its reply address, and every message acknowledged, in this order.

    Raises `NotStored` before anything is acknowledged; then the messages come again and get the same answers.
    """
    for answer in answers:
        if address := reply_address(answer.message):
            await connection.publish(address, answer.body)
    durable = [(receipts_subject(answer.source), answer.body) for answer in answers if answer.source is not None]
    if durable:
        await _store(connection, durable)
    for answer in answers:
        await connection.publish(answer.message.reply)  # an empty reply acknowledges


def reply_address(message: Msg) -> str | None:
    """The subject that the sender asks to be answered at, in the header `reply_to`; None where it is not a fit one."""
    address: str | None = (message.headers or {}).get(REPLY_TO)
    if address is None or len(address) > _ADDRESS_LENGTH or not _ADDRESS.fullmatch(address):
        return None
    return address


async def _store(connection: Client, durable: Sequence[tuple[str, bytes]]) -> None:
    """All of `durable` is in the stream of receipts, or none: one atomic batch with one acknowledgement (NATS 2.12)."""
    batch = connection._nuid.next().decode()
    for number, (subject, body) in enumerate(durable[:-1], start=1):
        await connection.publish(subject, body, headers=_part(batch, number))
    subject, body = durable[-1]
    headers = _part(batch, len(durable)) | {Header.BATCH_COMMIT.value: "1"}
    try:
        taken = await connection.request(subject, body, timeout=_TIMEOUT_SECONDS, headers=headers)
    except Exception as error:
        raise NotStored(f"the answers could not be stored: {error or type(error).__name__}") from error
    said = orjson.loads(taken.data)
    if said.get("stream") != RECEIPTS.name or said.get("count", 1) != len(durable):
        raise NotStored(f"the answers could not be stored: NATS said {taken.data[:200]!r}")


def _part(batch: str, number: int) -> dict[str, str]:
    return {Header.BATCH_ID.value: batch, Header.BATCH_SEQUENCE.value: str(number)}
