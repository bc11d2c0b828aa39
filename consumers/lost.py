"""After the ledger was restored: what the queue still knows of what was recorded, and asking senders once more.

The stream of receipts holds answers of the last seven days, each proven under a checkpoint; the stream of events holds
entries, byte for byte. Whoever may publish there may have put anything in: nothing of it is believed unproven.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import orjson
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from consumers import trust
from consumers.channels import EVENTS, RECEIPTS, Stream, receipts_subject
from consumers.cloudevents import Malformed
from consumers.receipts import Lost, UnprovenReceipt, open_answer
from ledger.receipts import ProvenEvent, Receipt
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Note, Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.spelling import hash_of

SENTENCE: Final = "The ledger lost this command after recording it: send the same again, under the same id."
_TIMEOUT_SECONDS: Final = 10.0

Command = tuple[str, str]
"""(source, id)"""
Holds = Callable[[int, bytes], bool]
"""Given leaf index and leaf hash of an event: whether the log holds it there."""


class Receipts(NamedTuple):
    """What the stream of receipts says: the largest checkpoint under each key of the log, and of those that no key here
    verifies; each command whose last answer is a receipt for events that the log does not hold, with these; and
    the leaf hashes that are proven to have been in the log itself.
    """

    newest: tuple[bytes, ...]
    lost: dict[Command, Sequence[ProvenEvent]]
    hashes: dict[int, bytes]


def read_receipts(broker_url: str, verifiers: Sequence[Verifier], holds: Holds) -> Receipts:
    """The receipts in the stream, as far as they are proven: by the log's key, which comes first in `verifiers`, or by
    that of a log that ended, or one that it had before.
    """
    return asyncio.run(_read_receipts(broker_url, verifiers, holds))


async def _read_receipts(broker_url: str, verifiers: Sequence[Verifier], holds: Holds) -> Receipts:
    newest: dict[Verifier | None, tuple[int, bytes]] = {}
    lost: dict[Command, Sequence[ProvenEvent]] = {}
    hashes: dict[int, bytes] = {}
    async with _connected(broker_url) as js:
        async for message in _stored(js, RECEIPTS):
            said = _said(message.data)
            if said is None:
                continue
            command = (str(said["source"]), str(said["id"]))
            receipt, verifier = _proven(message.data, *command, verifiers)
            for checkpoint, note in _checkpoints(receipt or _unproven(message.data, *command), verifiers[0].name):
                newest[verifier] = max(newest.get(verifier, (-1, b"")), (checkpoint.size, note))
            if receipt is None:
                if said["status"] == "lost":  # asked for already
                    lost.pop(command, None)
                continue
            lost.pop(command, None)  # the last receipt counts
            proven = {event.leaf_index: hash_of(event.leaf_hash) or b"" for event in receipt.events}
            if not all(holds(*leaf) for leaf in proven.items()):
                lost[command] = receipt.events
            if verifier is not None and verifier.name == verifiers[0].name:
                hashes |= proven
    return Receipts(tuple(note for _, note in newest.values()), lost, hashes)


def _unproven(body: bytes, source: str, command_id: str) -> Receipt | None:
    """The receipt in `body`, whoever made it."""
    try:
        opened = open_answer(body, source=source, command_id=command_id, verifiers=())
    except (UnprovenReceipt, Malformed, Lost):
        return None
    return opened if isinstance(opened, Receipt) else None


def _checkpoints(receipt: Receipt | None, origin: str) -> Iterator[tuple[Checkpoint, bytes]]:
    """Those of the log `origin` under which a receipt says that its events are proven."""
    for event in () if receipt is None else receipt.events:
        with suppress(TlogError):
            note = ProofFile.parse(event.proof).checkpoint_note
            checkpoint = Checkpoint.parse(Note.parse(note).text)
            if checkpoint.origin == origin:
                yield checkpoint, note


def _said(body: bytes) -> Any | None:
    """The answer in `body`; None where it is nothing that has a status, a source and an id."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict):
        return None
    return said if all(isinstance(said.get(member), str) for member in ("status", "source", "id")) else None


def _proven(
    body: bytes, source: str, command_id: str, verifiers: Sequence[Verifier]
) -> tuple[Receipt | None, Verifier | None]:
    """The receipt in `body`, and the key that proves it; None where it is none, or no key of this log does."""
    for verifier in verifiers:
        try:
            opened = open_answer(body, source=source, command_id=command_id, verifiers=[verifier])
        except (UnprovenReceipt, Malformed, Lost):
            continue
        return (opened, verifier) if isinstance(opened, Receipt) else (None, None)
    return None, None


def ask_again(broker_url: str, lost: Mapping[Command, Sequence[ProvenEvent]]) -> None:
    """Each source is asked for what is lost, durably: the answers are stored when this returns."""
    asyncio.run(_ask_again(broker_url, lost))


async def _ask_again(broker_url: str, lost: Mapping[Command, Sequence[ProvenEvent]]) -> None:
    async with _connected(broker_url) as js:
        for (source, command_id), events in lost.items():
            leaves = [event.leaf_index for event in events]
            body = Lost(source, command_id, leaves, SENTENCE).to_json()
            await js.publish(receipts_subject(source), body, stream=RECEIPTS.name)


def read_entries(broker_url: str, first: int, origin: str) -> dict[int, dict[bytes, None]]:
    """All that was published as the entry of each leaf from `first` on of the log `origin`, each once, in that order:
    the entry, and what anybody else has put there; nobody vouches for any of it yet.
    """
    return asyncio.run(_read_entries(broker_url, first, origin))


async def _read_entries(broker_url: str, first: int, origin: str) -> dict[int, dict[bytes, None]]:
    found: dict[int, dict[bytes, None]] = {}
    async with _connected(broker_url) as js:
        async for message in _stored(js, EVENTS):
            try:
                event = orjson.loads(message.data)
                if event["source"] == origin and event["leafindex"] >= first:
                    entry = orjson.dumps(event["data"], option=orjson.OPT_SORT_KEYS)
                    found.setdefault(event["leafindex"], {})[entry] = None
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue
    return found


async def read_lost(broker_url: str, source: str) -> list[Lost]:
    """What `source` is asked for once more: its commands of which the last answer says that they are lost."""
    found: dict[str, Lost] = {}
    async with _connected(broker_url) as js:
        async for message in _stored(js, RECEIPTS, receipts_subject(source)):
            if (said := _said(message.data)) is not None:
                found.pop(said["id"], None)
                if said["status"] == "lost":
                    with suppress(KeyError, TypeError):  # anybody's, and no such answer
                        found[said["id"]] = Lost(said["source"], said["id"], said["leaf_indexes"], said["message"])
    return list(found.values())


@asynccontextmanager
async def _connected(broker_url: str) -> AsyncIterator[JetStreamContext]:
    connection = await trust.connect(broker_url, connect_timeout=5, max_reconnect_attempts=1, error_cb=_unheard)
    try:
        yield connection.jetstream(timeout=_TIMEOUT_SECONDS)
    finally:
        await connection.close()


async def _unheard(error: Exception) -> None:
    """What goes wrong is raised to whoever waits."""


async def _stored(js: JetStreamContext, stream: Stream, subject: str | None = None) -> AsyncIterator[Msg]:
    """The messages that `stream` holds now, in order; none where there is no such stream."""
    subject = subject or stream.subjects[0]
    try:
        last = (await js.get_last_msg(stream.name, subject)).seq or 0
    except NotFoundError:
        return
    reading = await js.subscribe(subject, stream=stream.name, ordered_consumer=True)
    while True:
        message = await reading.next_msg(timeout=_TIMEOUT_SECONDS)
        yield message
        if message.metadata.sequence.stream >= last:
            break
    await reading.unsubscribe()
