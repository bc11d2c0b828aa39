"""Answers to the senders: durable on `ledger.receipts.<source>`, and at once to the message's reply address."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from nats.aio.msg import Msg

from consumers.channels import RECEIPTS, REPLY_TO, receipts_subject
from consumers.connection import LedgerClient, Outgoing

_TIMEOUT_SECONDS: Final = 10.0
_ACK: Final = b"+ACK"
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


async def deliver(connection: LedgerClient, answers: Sequence[Answer]) -> None:
    """Every answer is durable and sent to its reply address, and every message acknowledged, in this order.

    Raises `NotStored` before anything is acknowledged; then the messages come again and get the same answers.
    """
    durable = [(receipts_subject(answer.source), answer.body) for answer in answers if answer.source is not None]
    replies = [(reply_address(answer.message), answer.body) for answer in answers]
    await connection.publish_all(Outgoing(address, body) for address, body in replies if address is not None)
    if durable:
        await _store(connection, durable)
    await connection.publish_all(Outgoing(answer.message.reply, _ACK) for answer in answers)


def reply_address(message: Msg) -> str | None:
    """The subject that the sender asks to be answered at, in the header `reply_to`; None where it is not a fit one."""
    address: str | None = (message.headers or {}).get(REPLY_TO)
    if address is None or len(address) > _ADDRESS_LENGTH or not _ADDRESS.fullmatch(address):
        return None
    return address


async def _store(connection: LedgerClient, durable: Sequence[tuple[str, bytes]]) -> None:
    """All of `durable` is in the stream of receipts, or none: one atomic batch with one acknowledgement (NATS 2.12)."""
    batch = connection.new_inbox().encode()
    parts = [
        Outgoing(subject, body, b"NATS/1.0\r\nNats-Batch-Id:%b\r\nNats-Batch-Sequence:%d\r\n\r\n" % (batch, number))
        for number, (subject, body) in enumerate(durable[:-1], start=1)
    ]
    await connection.publish_all(parts)
    subject, body = durable[-1]
    last = {"Nats-Batch-Id": batch.decode(), "Nats-Batch-Sequence": str(len(durable)), "Nats-Batch-Commit": "1"}
    try:
        taken = await connection.request(subject, body, timeout=_TIMEOUT_SECONDS, headers=last)
    except Exception as error:
        raise NotStored(f"the answers could not be stored: {error or type(error).__name__}") from error
    said = orjson.loads(taken.data)
    if said.get("stream") != RECEIPTS.name or said.get("count", 1) != len(durable):
        raise NotStored(f"the answers could not be stored: NATS said {taken.data[:200]!r}")
