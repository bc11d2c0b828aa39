"""Announcements on the queue: CloudEvents, stored in their stream in the order in which they are handed over."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from consumers.channels import CONTENT_TYPE, STRUCTURED, Stream

STORED_SECONDS: Final = 10.0
"""How long the queue may take to store a batch."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One CloudEvent to publish. `id` names it for ever: the same again is stored once while NATS remembers it."""

    subject: str
    id: str
    body: bytes


class NotPublished(Exception):
    """The queue did not store every announcement; those before the first that it did not store are stored."""


def cloud_event(
    *, id: str, type: str, source: str, time: datetime | str, subject: str | None, data: Any, **extensions: int
) -> bytes:
    """A CloudEvent 1.0 in structured mode. `subject` is the customer whom it concerns, left out where it is nobody."""
    attributes = {"specversion": "1.0", "id": id, "source": source, "type": type, "time": time} | extensions
    if subject is not None:
        attributes["subject"] = subject
    attributes["datacontenttype"] = "application/json"
    return orjson.dumps(attributes | {"data": data}, option=orjson.OPT_UTC_Z)


async def publish(connection: Client, stream: Stream, announcements: Sequence[Announcement]) -> None:
    """Every announcement is stored in `stream`, in this order. Raises `NotPublished`.

    They are sent without waiting, and each expects the one before it to be the last that the stream has: where one is
    lost on the way, those behind it are refused and not stored before it. Then the rest is sent one by one.
    """
    refusals = await _sent(connection, stream, announcements)
    first = next((number for number, why in enumerate(refusals) if why is not None), len(announcements))
    for announcement in announcements[first:]:
        (why,) = await _sent(connection, stream, [announcement])
        if why is not None:
            raise NotPublished(f"{stream.name} does not take announcements: {why}")


async def _sent(connection: Client, stream: Stream, announcements: Sequence[Announcement]) -> list[str | None]:
    """For each announcement None where it is stored, else why it is not. Raises `NotPublished` where NATS is away."""
    inbox = connection.new_inbox()
    answers: dict[int, Msg] = {}
    complete = asyncio.Event()

    async def answered(message: Msg) -> None:
        answers[int(message.subject.rpartition(".")[2])] = message
        if len(answers) == len(announcements):
            complete.set()

    try:
        subscription = await connection.subscribe(f"{inbox}.*", cb=answered)
        try:
            before = None
            for number, announcement in enumerate(announcements):
                headers = _headers(stream, announcement, before)
                await connection.publish(announcement.subject, announcement.body, f"{inbox}.{number}", headers)
                before = announcement
            await asyncio.wait_for(complete.wait(), STORED_SECONDS if announcements else 0)
        finally:
            await subscription.unsubscribe()
    except TimeoutError:
        raise NotPublished(f"NATS did not store announcements in {STORED_SECONDS:.0f} s") from None
    except nats.errors.Error as error:
        raise NotPublished(f"NATS does not take announcements: {error}") from error
    return [_refusal(answers[number]) for number in range(len(announcements))]


def _headers(stream: Stream, announcement: Announcement, before: Announcement | None) -> dict[str, str]:
    headers = {
        CONTENT_TYPE: STRUCTURED,
        "Nats-Msg-Id": announcement.id,
        "Nats-Expected-Stream": stream.name,
    }
    return headers if before is None else headers | {"Nats-Expected-Last-Msg-Id": before.id}


def _refusal(answer: Msg) -> str | None:
    if not answer.data:  # nobody listens on that subject
        return "there is no such stream, run `promise-ledger migrate`"
    error = orjson.loads(answer.data).get("error")
    return None if error is None else str(error.get("description"))
