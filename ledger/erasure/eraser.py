"""The eraser: carries out the erasures that the log orders, step by step; what a crash leaves is said at each step.

 1. `subject.erasure_requested` committed  from here on the keyring answers "erased": nothing is sealed or opened for
                                           the customer. Not signed yet: the next start signs it
 2. signed                                 nothing is destroyed before: what ordered it can no longer be denied
 3. destroyed, one transaction:            before the commit nothing is gone, after it all of it: key, sealed rows and
    keys, sealed rows, projected texts     projected texts are never seen the one without the others
 4. dead letters removed                   not all of them: the next round goes over all of them again
 5. space given back                       until then the bytes of step 3 are in the files: done again as well
 6. `subject.erasure_completed` committed  before: the erasure is done again, each step finds its work done. After:
                                           it is over

A round begins with what the log and the tables say, so it needs no memory: after a crash, or over a database into which
an older copy was restored, it does what is left to do. One eraser works at a time; another one finds the lock taken.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

import orjson
import psycopg
from psycopg import Connection
from psycopg.errors import Diagnostic, LockNotAvailable

from ledger.app import Ledger, Submission
from ledger.clock import Clock, system_clock
from ledger.domain.erasures import CompleteErasure
from ledger.erasure.order import Order
from ledger.erasure.orders import orders
from ledger.receipts import Refusal
from ledger.storage.sql import QUERIES

SOURCE: Final = "eraser"
"""The source of what the eraser says; no sender may use it."""
_SHARED: Final = frozenset({"outage"})
"""Streams that belong to no customer, though some of their events name one."""
_SCRUB_LOCK_MS: Final = 300
"""Everybody waits behind a VACUUM (FULL) that waits, so it gives up soon and comes again."""
_LOOKS: Final = 5
_LOOK_SECONDS: Final = 0.2
_WAITS: Final = "the space of destroyed keys waits for a long reader, such as a verify"

NOBODY: Final = ""
Whose = Callable[[Collection[str]], str | None]
"""Given the ids that stand in a message: the erased customer whose it is, NOBODY where that cannot be told and it is to
go as well, None where it stays."""


class NotErased(RuntimeError):
    """A step of an erasure could not be done; the message says which and why. The next round tries again."""


class ReadTables(Protocol):
    """What the read side keeps in the clear: the module `projections.texts`."""

    def purge(self, connection: Connection[Any], customer_id: str) -> int:
        """Delete the customer's texts, in the caller's transaction."""
        ...

    def left(self, connection: Connection[Any], customers: Sequence[str]) -> set[str]:
        """Those of the customers of whom a text is there."""
        ...

    def scrub(self, connection: Connection[Any]) -> None:
        """Give the space of deleted texts back, outside of transactions."""
        ...


class Letters(Protocol):
    """The dead letters: the only messages with words that stay in the queue."""

    def forget(self, whose: Whose, *, after: int) -> tuple[Mapping[str, int], int]:
        """Remove those above number `after` that are somebody's by `whose`: how many of each, and the last number."""
        ...


class Traces(NamedTuple):
    """What the log says about a customer: the ids that lead to them, and how many of their events had words."""

    names: frozenset[str]
    texts: int


class Eraser:
    """Carries out erasures on a `connection` that commits by itself and whose role may destroy (ledger_eraser)."""

    def __init__(
        self,
        ledger: Ledger,
        connection: Connection[Any],
        read_tables: ReadTables,
        letters: Letters,
        clock: Clock = system_clock,
    ) -> None:
        self._ledger = ledger
        self._connection = connection
        self._read_tables = read_tables
        self._letters = letters
        self._clock = clock
        self._looked = -1  # the size of the log up to which nothing is left to do; at first everything is looked at
        self._read = 0  # the last dead letter that was looked at
        self._destroyed: dict[str, str] = {}  # of each customer a transaction after the last that destroyed something
        self._removed: Counter[str] = Counter()  # of each customer the dead letters that are gone

    def round(self) -> int:
        """What the log orders is destroyed and on record as such; how many erasures were completed now, without those
        that wait for a longer reader than others.

        Raises NotErased, database errors, and what the dead letters raise; the next round begins again.
        """
        with self._alone():
            size = self._size()
            due = free = self.due(size)
            if due:
                self.sign(due)
                waits = all(order.customer_id in self._destroyed for order in due)
                for order in due:
                    self.destroy(order)
                if waits:  # the dead letters were looked through, and are once more when it can go on
                    with self._vacuuming() as warnings:
                        self._seen(warnings)
                traces = self.traces(due)
                self._removed.update(self.forget_letters(traces))
                seen = self.scrub()
                free = [order for order in due if order.customer_id not in seen]
                for order in free:
                    self.complete(order, traces[order.customer_id].texts, self._removed[order.customer_id])
                    del self._destroyed[order.customer_id], self._removed[order.customer_id]
            if free == due:
                self._looked = size
        return len(free)

    def forget_late_letters(self) -> int:
        """Dead letters that came since the last look and name an erased customer are gone; how many these were.

        The first look knows what is theirs as well: an older copy of the queue may have brought back what was removed.
        """
        counts, self._read = self._letters.forget(self._of_the_erased(behind=not self._read), after=self._read)
        return sum(counts.values())

    def due(self, size: int) -> list[Order]:
        """The erasures that are not completed, or whose customer's keys or texts are there again."""
        if self._looked >= 0 and self._count("erasures_since", first=self._looked) == 0:
            return []
        ordered = orders(self._connection)
        names = {"customers": " ".join(ordered)}
        there = {row[0] for row in self._connection.execute(QUERIES["undestroyed"], names).fetchall()}
        there |= self._read_tables.left(self._connection, list(ordered))
        found = [order for order in ordered.values() if not order.completions or order.customer_id in there]
        return [order for order in found if order.leaf_index < size]

    def sign(self, due: Sequence[Order]) -> None:
        """Step 2: what orders these erasures is signed for."""
        signed = self._ledger.start()
        assert all(order.leaf_index < signed.size for order in due), "the head covers what was read below it"

    def destroy(self, order: Order) -> None:
        """Step 3: the customer's keys, sealed texts and projected texts are gone, together."""
        parameters = {"customer_id": order.customer_id, "requested_at": order.requested_at}
        with self._connection.transaction():
            gone = self._connection.execute(QUERIES["destroy_keys"], parameters).rowcount
            gone += self._connection.execute(QUERIES["destroy_sealed"], parameters).rowcount
            gone += self._read_tables.purge(self._connection, order.customer_id)
        if gone or order.customer_id not in self._destroyed:
            self._destroyed[order.customer_id] = str(self._value("transaction"))

    def traces(self, due: Sequence[Order]) -> dict[str, Traces]:
        """What leads to each customer, from one pass over the log: a command may name their promise and not them."""
        found = {order.customer_id: Traces(frozenset([order.customer_id]), 0) for order in due}
        asked = {"customers": " ".join(found), "stop": 1 + max(order.leaf_index for order in due)}
        for customer_id, stream, texts in self._connection.execute(QUERIES["traces"], asked).fetchall():
            kind, _, name = stream.partition(":")
            known = found[customer_id]
            names = known.names if kind in _SHARED else known.names | {name}
            found[customer_id] = Traces(names, known.texts + texts)
        return found

    def forget_letters(self, traces: Mapping[str, Traces]) -> Mapping[str, int]:
        """Step 4: no dead letter is left in which an id of theirs stands, nor one that names nobody else: it may be
        theirs, and its sender has it. How many were removed, by customer.
        """
        owners = _owners(traces)
        living = cache(self._living)

        def whose(ids: Collection[str]) -> str | None:
            owner = next((owners[each] for each in ids if each in owners), None)
            return owner or (NOBODY if living().isdisjoint(ids) else None)

        return self._letters.forget(whose, after=0)[0]

    def scrub(self) -> set[str]:
        """Step 5: the bytes of what was destroyed are no longer in the files of the tables. But those of the customers
        that it returns may be: somebody may still look at them.
        """
        with self._vacuuming() as warnings:
            seen = self._seen(warnings)
            self._connection.execute(QUERIES["scrub_keys"])
            self._connection.execute(QUERIES["scrub_sealed"])
            self._read_tables.scrub(self._connection)
        return seen

    def _seen(self, warnings: Sequence[str]) -> set[str]:
        """Of whom a transaction is left that began before theirs was destroyed: for as long as one may look, VACUUM
        keeps deleted rows in every table, be they read or not. Asked in a way that copies nothing and that nobody waits
        behind. Raises NotErased where that is so of all of them.
        """
        for _ in range(_LOOKS):
            self._connection.execute(QUERIES["freeze_keys"])
            asked = {"destroyed": " ".join({*self._destroyed.values()})}
            before = {row[0] for row in self._connection.execute(QUERIES["still_seen"], asked).fetchall()}
            seen = {customer_id for customer_id, destroyed in self._destroyed.items() if destroyed in before}
            if warnings or not seen:
                break
            time.sleep(_LOOK_SECONDS)
        else:
            if len(seen) == len(self._destroyed):
                raise NotErased(_WAITS)
        return seen

    @contextmanager
    def _vacuuming(self) -> Iterator[Sequence[str]]:
        """What PostgreSQL warns of while the block vacuums; afterwards NotErased is raised where there is any."""
        warnings: list[str] = []

        def hear(notice: Diagnostic) -> None:
            warnings.append(str(notice.message_primary))

        self._connection.add_notice_handler(hear)
        try:
            self._connection.execute(f"SET lock_timeout = {_SCRUB_LOCK_MS}")
            yield warnings
        except psycopg.errors.LockNotAvailable as error:
            raise NotErased(_WAITS) from error
        finally:
            self._connection.remove_notice_handler(hear)
            if not self._connection.closed:
                self._connection.execute("RESET lock_timeout")
        if warnings:
            raise NotErased(f"the space of destroyed keys is not given back: {warnings[0]}")

    def complete(self, order: Order, texts: int, letters: int) -> None:
        """Step 6: it is on record that the erasure was carried out, and what it took."""
        command = CompleteErasure(
            actor=SOURCE,
            occurred_at=self._clock(),
            customer_id=order.customer_id,
            through_leaf=order.leaf_index,
            keys=self._count("destroyed_keys", customer_id=order.customer_id),
            texts=texts,
            letters=letters,
        )
        canonical = orjson.dumps(command.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
        command_id = f"erasure-{order.leaf_index}.{order.completions + 1}"
        (outcome,) = self._ledger.submit([Submission(SOURCE, command_id, command, canonical)])
        if isinstance(outcome, Refusal):
            raise NotErased(f"the erasure of customer {order.customer_id} is done and not on record: {outcome.message}")

    def _size(self) -> int:
        row = self._connection.execute(QUERIES["read_head"]).fetchone()
        if row is not None and row[0] is None:
            raise NotErased(
                "the head does not say how many events there are: `promise-ledger verify` names what changed"
            )
        return 0 if row is None else int(row[0])

    def _count(self, query: str, **parameters: Any) -> int:
        return int(self._value(query, **parameters))

    def _value(self, query: str, **parameters: Any) -> Any:
        row = self._connection.execute(QUERIES[query], parameters).fetchone()
        assert row is not None
        return row[0]

    def _of_the_erased(self, *, behind: bool) -> Whose:
        """Whose a letter is that names somebody erased; `behind` their ids too, one pass over the log. At the first
        letter it is asked who they are: what stands in a letter may be words, and PostgreSQL may log what it is asked.
        """

        @cache
        def owners() -> Mapping[str, str]:
            ordered = orders(self._connection)
            if ordered and behind:
                return _owners(self.traces([*ordered.values()]))
            return {customer_id: customer_id for customer_id in ordered}

        return lambda ids: next((owners()[each] for each in ids if each in owners()), None)

    def _living(self) -> set[str]:
        """Everybody of whom there are words and whom nobody has erased. For the same reason not those in a letter."""
        known = self._connection.execute(QUERIES["customers_with_keys"]).fetchall()
        return {customer_id for (customer_id,) in known}.difference(orders(self._connection))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other eraser is at work while the block lasts; a dead process's lock is free.

        Raises NotErased where another session keeps the lock for longer than this connection waits for one. PostgreSQL
        lets every login take such a lock, so that it need not be an eraser.
        """
        asked = {"name": "promise-ledger eraser"}
        try:
            self._connection.execute(QUERIES["await_turn_of_session"], asked)
        except LockNotAvailable as error:
            others = self._connection.execute(QUERIES["turn_holders"], asked).fetchall()
            named = ", ".join(f"{pid} ({user})" for pid, user, *_ in others) or "one that ended meanwhile"
            raise NotErased(
                f"another session keeps the lock of erasures: process {named} of PostgreSQL; unless that is an eraser "
                "at work, end it with pg_terminate_backend"
            ) from error
        try:
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute(QUERIES["end_turn_of_session"], asked)


def _owners(traces: Mapping[str, Traces]) -> dict[str, str]:
    """Whose each id is that leads to somebody."""
    return {name: customer_id for customer_id, found in traces.items() for name in found.names}


__all__ = ["Eraser", "Letters", "NotErased", "ReadTables"]
