"""Who answers `disclosure.check`: questions come as plain requests, in no stream, for nothing was said yet.

Any number may answer, NATS gives each question to one of them. What is answered is made by `Checks`, on the read side;
here is what the queue needs: nobody's bytes stop it, and health hears when nobody is answered any more.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import nats.errors
import structlog
from faststream.nats import NatsBroker
from faststream.nats.message import NatsMessage
from nats.aio.msg import Msg

from consumers import connection
from consumers.answers import is_fit
from consumers.channels import CHECK_QUEUE, CHECK_REQUESTS
from consumers.cloudevents import Malformed, parse
from consumers.connection import LedgerClient, Outgoing
from consumers.running import unless, where
from ledger.app import Submission
from ledger.checked import Checked, NotNow, Unavailable
from ledger.domain.disclosures import CheckDisclosure

T = TypeVar("T")
WATCH_SECONDS: Final = 2.0
"""How often it is tried whether a question would be answered."""
TRY_SECONDS: Final = 5.0
MOST_WAITING: Final = 1_000
"""Questions at most that wait for their turn; further ones are dropped, and their senders ask again."""
_log = structlog.get_logger("checks")


class Checks(Protocol):
    """What answers a question, on one thread."""

    def check(self, question: Submission) -> Checked:
        """The answer. Raises `NotNow`."""
        ...

    def ready(self) -> None:
        """Returns where questions can be answered. Raises `NotNow`."""
        ...

    def close(self) -> None:
        """Nothing is held open any more."""
        ...


@dataclass(slots=True)
class Progress:
    """What health looks at. Times: `time.time()`."""

    answered_at: float = 0.0
    """A question of our own was answered, through the queue."""
    answered: int = 0
    failure: str | None = None
    """Why questions cannot be answered at the moment."""


class Responder:
    """Answers one question after the other, whatever its bytes are."""

    def __init__(self, checks: Checks, client: LedgerClient, progress: Progress) -> None:
        self._checks = checks
        self._client = client
        self._progress = progress
        self._thread = ThreadPoolExecutor(1, "check")

    async def take(self, message: Msg) -> None:
        """The question is answered, where its sender may be answered."""
        if not is_fit(message.reply):
            return
        body = await self._answer(message)
        with suppress(nats.errors.Error):  # NATS is away: who asked has no answer, and asks again
            await self._client.publish_all([Outgoing(message.reply, body)])

    async def watch(self) -> None:
        """Health knows whether questions are answered: one is sent through the queue, and the database looked at."""
        try:
            await self._client.request(CHECK_REQUESTS, b"", timeout=TRY_SECONDS)
            self._progress.answered_at = time.time()
            await self._in_thread(self._checks.ready)
            self._progress.failure = None
        except NotNow as away:
            self._progress.failure = str(away)
        except (TimeoutError, nats.errors.Error):
            return  # `answered_at` tells, once it has lasted
        except Exception as error:
            self._progress.failure = where(error)

    def close(self) -> None:
        """The thread and what it held are gone."""
        self._thread.submit(self._checks.close)
        self._thread.shutdown()

    async def _answer(self, message: Msg) -> bytes:
        try:
            question = _question(message)
        except Malformed as malformed:
            return malformed.to_json()
        try:
            answer = await self._in_thread(self._checks.check, question)
        except NotNow as away:
            return _unavailable(question, away.code, str(away))
        except Exception as error:  # a fault of ours at one question: the next one may well be answered
            _log.error("a question could not be answered", error=where(error))
            return _unavailable(question, "failed", "The ledger failed at this question; its log says where.")
        self._progress.answered += 1
        return answer.to_json()

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


async def serve(broker_url: str, checks: Checks, stop: asyncio.Event, *, progress: Progress) -> None:
    """Answer questions until `stop` is set. Reconnects to NATS for ever."""
    broker = connection.connection_of(broker_url, connection.Progress())
    client = await unless(stop, broker.connect())
    if client is None:
        return
    assert isinstance(client, LedgerClient)
    responder = Responder(checks, client, progress)
    subscriber = broker.subscriber(
        CHECK_REQUESTS, queue=CHECK_QUEUE, pending_msgs_limit=MOST_WAITING, decoder=_raw, no_reply=True
    )
    subscriber(responder.take)
    try:
        await unless(stop, _watching(broker, responder))
    finally:
        with suppress(nats.errors.Error):
            await broker.stop()
        responder.close()


async def _watching(broker: NatsBroker, responder: Responder) -> None:
    await broker.start()
    while True:
        await responder.watch()
        await asyncio.sleep(WATCH_SECONDS)


async def _raw(message: NatsMessage) -> Any:
    """The message as it came."""
    return message.raw_message


def _question(message: Msg) -> Submission:
    """Raises `Malformed`, also for what is no question: commands are not taken here."""
    try:
        question = parse(message.headers or {}, message.data)
    except Malformed:
        raise
    except Exception as error:
        _log.error("a question could not be parsed", error=where(error))
        raise Malformed("not-understood", "The ledger failed at reading this message.") from error
    if not isinstance(question.command, CheckDisclosure):
        sentence = f"Only {CheckDisclosure.TYPE} is answered here: send commands to ledger.commands.<type>."
        raise Malformed("wrong-subject", sentence, question.source, question.command_id)
    return question


def _unavailable(question: Submission, code: str, sentence: str) -> bytes:
    return Unavailable(source=question.source, id=question.command_id, code=code, message=sentence).to_json()
