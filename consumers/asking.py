"""One command, one answer: sent again with the same id until the ledger answers or patience ends. And one question,
one answer: `disclosure.check` is asked beside the stream of commands, since nothing is to be kept of it.
"""

import asyncio
import re
import time
from itertools import count
from typing import Final
from urllib.parse import urlsplit

import nats.errors
import orjson
from nats.aio.msg import Msg
from nats.js.errors import NoStreamResponseError

from consumers.channels import CHECK_REQUESTS, COMMANDS, CONTENT_TYPE, REPLY_TO, STRUCTURED
from consumers.cloudevents import Malformed
from consumers.connection import LedgerClient, Progress
from consumers.trust import NotTrusted, shown
from ledger.checked import Checked

TRY_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 3.0
"""How long the first connection may take: a silent port or a host that is gone must not hold anybody up."""
_USER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
QUEUE_SECONDS: Final = 3.0
"""How long a connection that was lost is waited for; once in vain, not again until it is back."""


class NoAnswer(Exception):
    """Silence; the message says where to look. Sending the same again is safe: nothing is recorded twice."""


class Asker:
    """A connection on which any number of commands may wait for their answers at once."""

    def __init__(self, connection: LedgerClient) -> None:
        self._connection = connection
        self._inbox = connection.new_inbox()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._given_up = False

    @classmethod
    async def on(cls, connection: LedgerClient) -> "Asker":
        """An asker that hears answers."""
        asker = cls(connection)
        await connection.subscribe(f"{asker._inbox}.*", cb=asker._take)
        return asker

    @property
    def closed(self) -> bool:
        return self._connection.is_closed

    async def close(self) -> None:
        await self._connection.close()

    async def ask(self, subject: str, body: bytes, patience_seconds: float) -> bytes:
        """The answer to the structured CloudEvent `body`, sent to `subject`.

        Raises `NoAnswer` after `patience_seconds` at most.
        """
        number = next(self._numbers)
        headers = {REPLY_TO: f"{self._inbox}.{number}", CONTENT_TYPE: STRUCTURED}
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        until = time.monotonic() + patience_seconds
        try:
            while (left := until - time.monotonic()) > 0:
                await self.up()
                seconds = min(TRY_SECONDS, left)
                try:
                    js = self._connection.jetstream(timeout=seconds)
                    await js.publish(subject, body, headers=headers, stream=COMMANDS.name)
                    return await asyncio.wait_for(asyncio.shield(answer), seconds)
                except TimeoutError:  # of NATS as well: its TimeoutError is one
                    continue
                except nats.errors.Error as error:
                    raise NoAnswer(f"The queue does not take commands: {why(error)}.") from error
        finally:
            del self._waiting[number]
        raise NoAnswer(f"No answer in {patience_seconds:g} seconds: `promise-ledger health` may say why.")

    async def check(self, question: bytes, patience_seconds: float) -> Checked:
        """The answer to the structured CloudEvent `question`. Raises `NoAnswer`, and `Malformed`."""
        await self.up()
        return await check(self._connection, question, patience_seconds)

    async def up(self) -> None:
        """Returns once connected. Raises `NoAnswer`, after QUEUE_SECONDS or at once where those passed before."""
        until = time.monotonic() + (0.0 if self._given_up else QUEUE_SECONDS)
        while not self._connection.is_connected:
            if time.monotonic() >= until or self.closed:
                self._given_up = True
                raise NoAnswer("The connection to NATS is lost, and it does not come back.")
            await asyncio.sleep(0.05)
        self._given_up = False

    async def _take(self, message: Msg) -> None:
        future = self._waiting.get(int(message.subject.rpartition(".")[2]))
        if future is not None and not future.done():
            future.set_result(message.data)


def why(error: nats.errors.Error) -> str:
    """Why a command was not stored, without the full stop."""
    if isinstance(error, NoStreamResponseError):
        return f"NATS has no stream {COMMANDS.name}, or not yet: `promise-ledger migrate` makes a missing one anew"
    return str(error)


async def check(connection: LedgerClient, question: bytes, seconds: float) -> Checked:
    """The answer to a structured CloudEvent of the type `disclosure.check`, asked once.

    Raises `NoAnswer`: nobody answers, not in time, or not now; `Malformed` where it is no question.
    """
    headers = {CONTENT_TYPE: STRUCTURED}
    try:
        answer = await connection.request(CHECK_REQUESTS, question, timeout=seconds, headers=headers)
    except nats.errors.NoRespondersError:
        raise NoAnswer("Nobody answers disclosure.check: is `promise-ledger serve projections` running?") from None
    except (TimeoutError, nats.errors.Error) as error:
        raise NoAnswer(f"No answer in {seconds:g} seconds: `promise-ledger health` may say why.") from error
    said = orjson.loads(answer.data)
    if said["status"] == "malformed":
        raise Malformed(said["code"], said["message"], said["source"], said["id"])
    if said["status"] == "unavailable":
        raise NoAnswer(said["message"])
    return Checked.model_validate_json(answer.data)


def unreachable(broker_url: str) -> NoAnswer:
    """What to raise where no NATS is at that address."""
    return NoAnswer(f"NATS does not answer at {shown(broker_url)}: is `promise-ledger up` running?")


async def connected(broker_url: str) -> LedgerClient:
    """A connection that outlives a restart of NATS. Raises `NoAnswer` where NATS is not there to begin with.

    A login that the address names is answered below `_INBOX_<user>`, where permissions can keep others from listening.
    """
    connection = LedgerClient(Progress())
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.connect(
                broker_url,
                connect_timeout=5,
                max_reconnect_attempts=1,
                reconnect_time_wait=1,
                pending_size=64 * 2**20,
                error_cb=_unheard,
                inbox_prefix=_inbox(broker_url),
            )
    except NotTrusted as error:
        await connection.close()
        raise NoAnswer(str(error)) from error
    except (OSError, ValueError, nats.errors.Error) as error:
        await connection.close()
        raise unreachable(broker_url) from error
    connection.options["max_reconnect_attempts"] = 120
    return connection


def _inbox(broker_url: str) -> str:
    login = urlsplit(broker_url.partition(",")[0])
    user = login.username if login.password is not None else None  # without a password it is a token, and secret
    return "_INBOX" if user is None or _USER.fullmatch(user) is None else f"_INBOX_{user}"


async def _unheard(error: Exception) -> None:
    """What goes wrong on the connection shows as a missing answer."""
