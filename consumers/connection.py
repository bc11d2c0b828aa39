"""The NATS connection that FastStream uses, hardened against what any sender may write into the command stream.

nats-py stops reading, for good and silently, at a subject that is not UTF-8 or a header block of four bytes; it loses
a whole batch when a sender names one of his headers `Status`; and it spends a task and a UUID on each message that it
fetches. NATS stores such messages without a word, so one of them would stop the intake for ever.
`tests/consumers/test_hostile.py` sends each of them.
"""

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
import orjson
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from nats.protocol import parser

from consumers.channels import COMMANDS, INTAKE_DURABLE
from consumers.trust import TrustingClient

IDLE_SECONDS: Final = 1.0
"""How long one request for commands stays open at the server."""
LINGER_SECONDS: Final = 0.02
"""How long a batch waits for more, once its first command is there and others keep arriving."""
_QUIET_SECONDS: Final = 0.002
"""A batch is closed early once nothing has arrived for so long."""
_DELIVERY: Final = "$JS.ACK."
"""Messages from a stream have this reply address, written by the server; its own status messages do not."""
_STOPS: Final = "Server Shutdown"
"""With this a server takes leave: it refuses nothing, and comes back or does not."""

# NATS separates the words of a control line by space and tab; \s would also split at the other ASCII white space,
# which NATS allows in a subject.
parser.MSG_RE = re.compile(rb"\AMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n")
parser.HMSG_RE = re.compile(rb"\AHMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n")


@dataclass(slots=True)
class Progress:
    """What health looks at, since the broker's ping stays green while nothing is fetched. Times: `time.time()`."""

    fetched_at: float = 0.0
    """The command stream answered, with commands or with none."""
    appended_at: float = 0.0
    pending: int = 0
    """Commands waiting in the stream, as the newest of them said."""
    failure: str | None = None
    """Why the intake does not get on at the moment; None while it does."""
    refused: str | None = None
    """Why NATS gives it no commands; None while it does, or says that there are none."""


def connection_of(broker_url: str, progress: Progress) -> NatsBroker:
    """The FastStream broker over a hardened connection that reconnects for ever; not connected yet."""
    return _Broker(
        broker_url,
        progress=progress,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        ping_interval=10,
        apply_types=False,
        logger=None,
        pending_size=64 * 2**20,
    )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish."""

    subject: str
    body: bytes = b""
    headers: bytes = b""
    """A whole header block, from `NATS/1.0` to the empty line; empty: none."""


def _frame(message: Outgoing) -> bytes:
    subject, body, headers = message.subject.encode(), message.body, message.headers
    if headers:
        return b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, len(headers), len(headers) + len(body), headers, body)
    return b"PUB %b %d\r\n%b\r\n" % (subject, len(body), body)


class _Broker(NatsBroker):
    def __init__(self, url: str, *, progress: Progress, **options: Any) -> None:
        super().__init__(url, **options)
        self._progress = progress

    async def _connect(self) -> TrustingClient:
        client = LedgerClient(self._progress)
        try:
            await client.connect(**self._connection_kwargs)
        except nats.errors.Error as error:  # what is only away is waited for in there
            await client.close()
            raise NotLetIn(
                f"NATS does not let this part in ({error}): give LEDGER_BROKER_URL the login of a user that NATS knows"
            ) from error
        self.config.connect(client)
        return client


class LedgerClient(TrustingClient):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    async def publish_all(self, messages: Iterable[Outgoing]) -> None:
        """Publish many messages in one go; nats-py spends ten times as long on one after the other.

        What goes into control lines and headers must be free of spaces and line ends: the caller makes them.
        """
        await self._send_command(b"".join([_frame(message) for message in messages]))
        await self._flush_pending()

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        """The headers, last one wins; a line that is none is left out. Never raises: a sender wrote them."""
        if not headers:
            return None
        if headers.startswith(b"NATS/1.0\r\n"):
            lines = [line.partition(":") for line in _text(headers[10:-4]).split("\r\n")]
            return {name: value.strip() for name, colon, value in lines if colon and name.isprintable()}
        try:
            return await super()._process_headers(headers)  # a status line of the server
        except (IndexError, UnicodeDecodeError):
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return Msg(self, _text(subject), _text(reply), data, headers, _sid=sid)

    def jetstream(self, **options: Any) -> JetStreamContext:
        return _JetStream(self, self._progress, **options)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


class NotLetIn(Exception):
    """NATS refuses the login; the message says what to do."""


class NotProvisioned(Exception):
    """The command stream or its consumer is not there; the message says what to do."""


class _JetStream(JetStreamContext):
    def __init__(self, client: LedgerClient, progress: Progress, **options: Any) -> None:
        super().__init__(client, **options)
        self._progress = progress

    async def pull_subscribe(self, subject: str, *, durable: str, stream: str, **options: Any) -> "_Pull":  # type: ignore[override]
        """Bind to the durable consumer that is there; nats-py would create a missing one, with its own settings."""
        while not await self._answers(stream, durable):
            await asyncio.sleep(IDLE_SECONDS)
        options.pop("config", None)
        found = await self.pull_subscribe_bind(durable=durable, stream=stream, **options)
        return _Pull(self, found._sub, found._stream, found._consumer, found._deliver.encode(), progress=self._progress)

    async def _answers(self, stream: str, durable: str) -> bool:
        """The consumer is there; False where JetStream does not answer (yet)."""
        try:
            await self.consumer_info(stream, durable)
        except NotFoundError:
            raise NotProvisioned(f"NATS has no consumer {durable} of {stream}: run `promise-ledger migrate`.") from None
        except nats.errors.Error as error:
            self._progress.failure = f"JetStream does not answer: {error}"
            return False
        self._progress.failure = None
        return True


class _Pull(JetStreamContext.PullSubscription):
    """Fetches batches with one open request ahead, so that the next batch arrives while this one is appended."""

    def __init__(self, *args: Any, progress: Progress) -> None:
        super().__init__(*args)
        self._progress = progress
        self._owed = 0  # how many messages the open request may still bring
        self._closed = False
        self._refused = False  # the server's last word was neither a command nor "nothing there"

    async def fetch(self, batch: int = 1, timeout: float | None = 5, heartbeat: float | None = None) -> list[Msg]:
        """1 to `batch` messages: waits for the first, then for as many more as arrive within the linger time.

        `timeout` is FastStream's, after which it does not ask for more of the same batch; it is not looked at.
        Raises nats.errors.TimeoutError where none came within the idle time.
        """
        if self._closed or self._refused:  # FastStream asks again at once: never in a hot loop
            self._refused = False
            await asyncio.sleep(IDLE_SECONDS / 2)
        messages = self._arrived(batch)
        await self._request(batch)
        if not messages:
            messages += self._take(await self._first())
        until = time.monotonic() + LINGER_SECONDS
        while len(messages) < batch and time.monotonic() < until:
            await asyncio.sleep(_QUIET_SECONDS)
            more = self._arrived(batch - len(messages))
            if not more:
                break
            messages += more
        if self._closed:
            await _give_back(messages)
            messages = []
        if not messages:
            raise nats.errors.TimeoutError
        await self._request(batch)
        self._progress.pending = _pending(messages[-1])
        return messages

    async def close(self) -> None:
        """Nothing is fetched any more, and what has arrived is given back for others at once."""
        self._closed = True
        await _give_back(self._arrived(self._sub._pending_queue.qsize()))

    async def _first(self) -> Msg:
        try:
            return await asyncio.wait_for(self._sub._pending_queue.get(), IDLE_SECONDS * 2)
        except TimeoutError:  # the request is lost: the server was restarted
            self._owed = 0
            raise nats.errors.TimeoutError from None

    async def _request(self, batch: int) -> None:
        if self._owed == 0 and not self._closed:
            self._owed = batch
            request = {"batch": batch, "expires": int(IDLE_SECONDS * 10**9)}
            await self._nc.publish(self._nms, orjson.dumps(request), self._deliver)

    def _arrived(self, limit: int) -> list[Msg]:
        """Up to `limit` messages that are here already."""
        queue = self._sub._pending_queue
        messages: list[Msg] = []
        while len(messages) < limit and not queue.empty():
            messages += self._take(queue.get_nowait())
        return messages

    def _take(self, message: Msg) -> list[Msg]:
        """The message, or nothing where it is the server's word that the request is over."""
        self._sub._pending_size -= len(message.data)
        if message.reply.startswith(_DELIVERY):
            self._owed = max(0, self._owed - 1)
            self._progress.fetched_at, self._progress.refused = time.time(), None
            return [message]
        self._owed = 0
        headers = message.headers or {}
        status, description = headers.get("Status"), headers.get("Description")
        self._refused = status not in ("404", "408")
        if not self._refused:
            self._progress.fetched_at = time.time()
        told = self._refused and description != _STOPS
        self._progress.refused = _refusal(status, description) if told else None
        return []


def _refusal(status: str | None, description: str | None) -> str:
    said = " ".join(each for each in (status, description or "nobody answers") if each)
    return (
        f"NATS gives no commands ({said}): where the stream {COMMANDS.name} or its consumer {INTAKE_DURABLE} is gone "
        "or was changed, `promise-ledger migrate` makes it anew"
    )


async def _give_back(messages: list[Msg]) -> None:
    for message in messages:
        await message.nak()


def _pending(message: Msg) -> int:
    """Commands behind this one in the stream: the ninth token of `$JS.ACK.…`, or the eleventh with a domain."""
    tokens = message.reply.split(".")
    return int(tokens[8] if len(tokens) == 9 else tokens[10])
