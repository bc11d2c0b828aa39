"""One command, one answer: sent again with the same id until the ledger answers or patience ends."""

import asyncio
import time
from itertools import count
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from consumers.channels import COMMANDS, CONTENT_TYPE, REPLY_TO, STRUCTURED, command_subject
from consumers.connection import LedgerClient

TRY_SECONDS: Final = 5.0
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

    async def ask(self, command_type: str, body: bytes, patience_seconds: float) -> bytes:
        """The answer to the structured CloudEvent `body`. Raises `NoAnswer` after `patience_seconds` at most."""
        number = next(self._numbers)
        headers = {REPLY_TO: f"{self._inbox}.{number}", CONTENT_TYPE: STRUCTURED}
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        until = time.monotonic() + patience_seconds
        try:
            while (left := until - time.monotonic()) > 0:
                await self._up()
                seconds = min(TRY_SECONDS, left)
                try:
                    js = self._connection.jetstream(timeout=seconds)
                    await js.publish(command_subject(command_type), body, headers=headers, stream=COMMANDS.name)
                    return await asyncio.wait_for(asyncio.shield(answer), seconds)
                except TimeoutError:  # of NATS as well: its TimeoutError is one
                    continue
                except nats.errors.Error as error:
                    raise NoAnswer(f"The queue does not take commands: {error}.") from error
        finally:
            del self._waiting[number]
        raise NoAnswer(f"No answer in {patience_seconds:g} seconds: `promise-ledger health` may say why.")

    async def _up(self) -> None:
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
