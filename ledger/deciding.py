"""One batch of commands under the head lock: which were seen before, what the others become, as rows to write."""

import os
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from ledger.domain import dispatch
from ledger.domain.dispatch import decide, evolve
from ledger.domain.erasures import CUSTOMER_ERASED, EraseSubject, ErasureRequested, as_recorded
from ledger.domain.errors import Refused
from ledger.domain.model import Command, Event, Happened
from ledger.domain.refusals import CommandRefused
from ledger.erasure.keyring import DataKey, Erased, Keyring, NewKey
from ledger.erasure.sealing import RANDOM_SIZE, seal
from ledger.storage.entries import EntryTooLarge, Heading, decode, encode, personal_data
from ledger.storage.recorder import Append, EventRow, InboxRow, SealedRow

CACHED_STREAMS = 200_000
REFUSALS = "source:"
_HEX_VARIANT = "89ab"
ID_REUSED: Final = "id-reused"
TOO_LARGE: Final = "too-large"
UNKNOWN_CUSTOMER: Final = "unknown-customer"
RULES: Final[Mapping[str, str]] = dispatch.RULES | {
    ID_REUSED: "`source` and `id` name one command for ever: under them other content is refused.",
    TOO_LARGE: "An entry has 65,535 bytes at most, the most that a tile bundle can carry.",
    UNKNOWN_CUSTOMER: "Nobody is erased of whom no words were ever recorded: the id would be a wrong one.",
}
"""Every code that a command is refused under, with the rule behind it."""


class Submission(NamedTuple):
    """One parsed command. (source, command_id) names it for ever; `canonical` is its `data` as sent, as JCS."""

    source: str
    command_id: str
    command: Command
    canonical: bytes


class Fresh(NamedTuple):
    """The command was decided now: `events` events from `leaf_index` on."""

    leaf_index: int
    events: Sequence[Event]
    event_ids: Sequence[str]


class Earlier(NamedTuple):
    """The command was delivered again: it became these leaves the first time."""

    leaf_index: int
    events: int


Decided = Fresh | Earlier


class Asks(Protocol):
    """Whoever answers the named queries: an append under the head lock, or one who only reads."""

    def ask(self, name: str, parameters: dict[str, Any]) -> list[Any]:
        """The rows of one named query, as tuples."""
        ...


class Streams:
    """The states of streams as of one size of the log, kept between appends while nobody else moves the head."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Load everything anew: a transaction failed, or another writer appended."""
        self.size = -1
        self._known: dict[str, tuple[Any, int]] = {}

    def load(self, log: Asks, names: Iterable[str]) -> None:
        """Make the states of `names` available with one query."""
        if len(self._known) > CACHED_STREAMS:
            self._known.clear()
        missing = [name for name in dict.fromkeys(names) if name not in self._known]
        if not missing:
            return
        loaded: dict[str, tuple[Any, int]] = dict.fromkeys(missing, (None, 0))
        for leaf_index, stream, topic, state in log.ask("streams", {"streams": " ".join(missing)}):
            entry = decode(leaf_index, topic, state)
            loaded[stream] = (evolve(loaded[stream][0], entry.event, entry.happened), entry.heading.version)
        self._known.update(loaded)

    def state(self, log: Asks, name: str) -> Any:
        """The state of one stream, None where it has no event yet."""
        if name not in self._known:
            self.load(log, [name])
        return self._known[name][0]

    def next_version(self, log: Asks, name: str) -> int:
        """The version that the next event of `name` gets, from 1."""
        if name not in self._known:
            if name.startswith(REFUSALS):  # they have no state and are many: only the last version is read
                rows = log.ask("stream_version", {"stream": name})
                self._known[name] = (None, rows[0][0] if rows else 0)
            else:
                self.load(log, [name])
        return self._known[name][1] + 1

    def apply(self, name: str, event: Event, happened: Happened) -> None:
        """Take in an event that was just decided; the stream is loaded."""
        state, version = self._known[name]
        self._known[name] = (evolve(state, event, happened), version + 1)


@dataclass(slots=True)
class Rows:
    """What one batch writes."""

    events: list[EventRow] = field(default_factory=list)
    inbox: list[InboxRow] = field(default_factory=list)
    sealed: list[SealedRow] = field(default_factory=list)
    keys: list[NewKey] = field(default_factory=list)


class Batch:
    """Decides the commands of one append in order, each seeing the ones before; `rows` is what to write."""

    def __init__(
        self,
        append: Append,
        *,
        streams: Streams,
        keyring: Keyring,
        digest: Callable[[bytes], bytes],
        recorded_at: datetime,
    ) -> None:
        self.rows = Rows()
        self.new_keys: dict[str, DataKey | Erased] = {}
        self._append = append
        self._streams = streams
        self._keyring = keyring
        self._digest = digest
        self._recorded_at = recorded_at
        self._keys: dict[str, DataKey | Erased | None] = {}
        self._seen: dict[tuple[str, str], list[tuple[bytes, Earlier]]] = {}
        self._ids = _event_ids()
        self._random = _random_parts(RANDOM_SIZE)

    def decide(self, submissions: Sequence[Submission]) -> list[Decided]:
        """What became of each submission, in order. A refusal is an event like any other."""
        self._find_known(submissions)
        fresh = [s.command for s in submissions if (s.source, s.command_id) not in self._seen]
        self._streams.load(self._append, (name for command in fresh for name in command.streams()))
        self._find_keys(fresh)
        return [self._decide_one(submission) for submission in submissions]

    def _find_known(self, submissions: Sequence[Submission]) -> None:
        asked = {
            "sources": " ".join([submission.source for submission in submissions]),
            "ids": " ".join([submission.command_id for submission in submissions]),
        }
        for source, command_id, digest, leaf_index, events in self._append.ask("known_commands", asked):
            known = self._seen.setdefault((source, command_id), [])
            if (seen := (bytes(digest), Earlier(leaf_index, events))) not in known:
                known.append(seen)

    def _find_keys(self, commands: Sequence[Command]) -> None:
        customers: dict[str, None] = {}
        for command in commands:
            if (customer_id := getattr(command, "customer_id", None)) is not None:
                customers[customer_id] = None
            else:
                for name in command.streams():
                    state = self._streams.state(self._append, name)
                    if (customer_id := getattr(state, "customer_id", None)) is not None:
                        customers[customer_id] = None
        self._find_keys_of(customers)

    def _find_keys_of(self, customers: Iterable[str]) -> None:
        unasked = [customer_id for customer_id in customers if customer_id not in self._keys]
        if not unasked:
            return
        found = self._keyring.find(self._append.cursor, unasked)
        self._keys.update((customer_id, found.get(customer_id)) for customer_id in unasked)

    def _decide_one(self, submission: Submission) -> Decided:
        command = submission.command
        digest = self._digest(command.TYPE.encode() + b"\0" + submission.canonical)
        key = (submission.source, submission.command_id)
        known = self._seen.get(key)
        if known is None:
            try:
                return self._record(submission, digest, self._events(command))
            except Refused as refused:
                code, message = refused.code, refused.message
            except EntryTooLarge as error:
                code, message = TOO_LARGE, f"{error}: shorten it."
        else:
            for seen, earlier in known:
                if seen == digest:
                    return earlier
            code = ID_REUSED
            message = (
                f"The id {submission.command_id} of source {submission.source} was used before with other content: "
                "a command is never rewritten, send the new one under a new id."
            )
        assert code in RULES, f"{code} is refused by no rule that our pages list"
        refusal = CommandRefused(
            customer_id=None,
            refused_source=submission.source,
            refused_id=submission.command_id,
            command_type=command.TYPE,
            code=code,
            message=message,
        )
        return self._record(submission, digest, (refusal,))

    def _events(self, command: Command) -> Sequence[Event]:
        """What the rules make of `command`. Who has no key is unknown: nothing could be destroyed, the id is wrong."""
        if isinstance(command, EraseSubject) and self._keys.get(command.customer_id) is None:
            customer_id = command.customer_id
            raise Refused(
                UNKNOWN_CUSTOMER,
                f"No words of a customer {customer_id} were ever recorded: nothing to erase, or the id is wrong.",
            )
        return decide(command, self._state, self._recorded_at)

    def _state(self, stream: str) -> Any:
        return self._streams.state(self._append, stream)

    def _record(self, submission: Submission, digest: bytes, events: Sequence[Event]) -> Fresh:
        """Turn the events of one command into rows, all of them or (EntryTooLarge) none."""
        command = submission.command
        happened = Happened(command.occurred_at, self._recorded_at, command.actor, submission.source)
        events = [as_recorded(event, self._is_erased) for event in events]
        spelled_digest = _spelled(digest)
        first = self._append.head.size + len(self.rows.events)
        versions: dict[str, int] = {}
        rows, sealed, event_ids = [], [], []
        for leaf_index, event in enumerate(events, first):
            stream = event.stream
            version = versions[stream] = versions.get(stream) or self._streams.next_version(self._append, stream)
            versions[stream] += 1
            event_id = next(self._ids)
            heading = Heading(
                event_id, stream, version, happened, submission.command_id, spelled_digest, command.case_id
            )
            personal, sealed_row = self._seal(event, event_id, leaf_index)
            rows.append(EventRow(stream, version, event.TOPIC, encode(event, heading, personal)))
            event_ids.append(event_id)
            if sealed_row is not None:
                sealed.append(sealed_row)
        self.rows.events += rows
        self.rows.sealed += sealed
        self.rows.inbox.append(InboxRow(submission.source, submission.command_id, digest, first, len(events)))
        for event in events:
            self._streams.apply(event.stream, event, happened)
            if isinstance(event, ErasureRequested):  # the next command already finds the customer erased
                self._keys[event.customer_id] = self.new_keys[event.customer_id] = Erased(self._recorded_at)
        known = self._seen.setdefault((submission.source, submission.command_id), [])
        known.append((digest, Earlier(first, len(events))))
        return Fresh(first, events, event_ids)

    def _is_erased(self, customer_id: str) -> bool:
        self._find_keys_of([customer_id])
        return isinstance(self._keys[customer_id], Erased)

    def _seal(self, event: Event, event_id: str, leaf_index: int) -> tuple[dict[str, Any] | None, SealedRow | None]:
        personal = personal_data(event)
        if personal is None:
            return None, None
        customer_id = event.customer_id
        assert customer_id is not None, f"{event.TOPIC} has personal members and no customer"
        key = self._key(customer_id)
        spelled, ciphertext = seal(
            key.cipher,
            random=next(self._random),
            event_id=event_id,
            customer_id=customer_id,
            key_version=key.version,
            personal=personal,
        )
        row = SealedRow(leaf_index, customer_id, key.version, ciphertext)
        return {"commitment": _spelled(spelled), "key": key.version}, row

    def _key(self, customer_id: str) -> DataKey:
        if customer_id not in self._keys:
            self._find_keys_of([customer_id])
        key = self._keys[customer_id]
        if key is None:
            made, rows = self._keyring.make([customer_id])
            key = self._keys[customer_id] = made[customer_id]
            self.new_keys.update(made)
            self.rows.keys += rows
        return refuse_erased(customer_id, key)


def refuse_erased(customer_id: str, key: DataKey | Erased) -> DataKey:
    """The key, for who was not erased. Refused `customer-erased`: nothing personal can be sealed for them."""
    if isinstance(key, Erased):
        raise Refused(
            CUSTOMER_ERASED,
            f"The data of customer {customer_id} was erased on {key.destroyed_at:%Y-%m-%d}: nothing personal is "
            "recorded about them any more.",
        )
    return key


def _spelled(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode("ascii")


def _random_parts(size: int) -> Iterator[bytes]:
    """Random bytes, `size` each time, many from one read of the system's randomness."""
    while True:
        random = os.urandom(size * 64)
        for start in range(0, len(random), size):
            yield random[start : start + size]


def _event_ids() -> Iterator[str]:
    """Random UUIDs (version 4)."""
    for random in _random_parts(16):
        part = random.hex()
        variant = _HEX_VARIANT[int(part[16], 16) & 3]
        yield f"{part[:8]}-{part[8:12]}-4{part[13:16]}-{variant}{part[17:20]}-{part[20:]}"
