"""The fold that most projections share: one row a stream as it stands, and one row an event as it stood after it."""

from collections.abc import Callable
from typing import Any

from psycopg import Cursor
from psycopg.sql import SQL, Identifier

from ledger.domain import dispatch
from ledger.domain.model import Event, Happened
from ledger.storage.keys import Secrets
from projections.log import Batch
from projections.tables import Table
from projections.versions import Fold

Evolve = Callable[[Any, Event, Happened], Any]

REMEMBERED = 200_000
"""States kept in memory at most, so that a batch asks the table only for streams not seen lately."""


class StateFold:
    """Folds the streams `<prefix>:<id>` with the ledger's own `evolve`, unless another is given.

    The table `current` has the fields of the state as columns, in their order, then case_id (the first that an event
    of the stream named), made_leaf_index (its first event) and leaf_index (its last one). The table `history` has the
    same columns and then type, occurred_at, recorded_at, actor and source of the event. A fold that keeps more of a
    stream's present state names the further columns of `current` as `beside`, and fills them in `further`.
    """

    def __init__(
        self,
        cursor: Cursor[Any],
        prefix: str,
        state: Any,
        current: str,
        history: str,
        *,
        beside: tuple[str, ...] = (),
        evolve: Evolve = dispatch.evolve,
    ) -> None:
        self._evolve = evolve
        self._prefix = f"{prefix}:"
        self._state = state
        self._fields = len(state._fields)
        self._current = Table.find(cursor, current)
        self._history = Table.find(cursor, history)
        self._key = f"{prefix}_id"
        self._known: dict[str, tuple[Any, ...]] = {}  # stream: a row of `current`, its state in front as one value
        origin = ("case_id", "made_leaf_index", "leaf_index")
        expected = (*state._fields, *origin, *beside)
        assert self._current.columns == expected, f"{current} has other columns than its state"

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        entries = [entry for entry in batch.entries if entry.heading.stream.startswith(self._prefix)]
        known = self._load(cursor, {entry.heading.stream for entry in entries})
        changed: dict[str, tuple[Any, ...]] = {}
        history = []
        for entry in entries:
            heading, leaf_index = entry.heading, entry.leaf_index
            happened = heading.happened
            before, case_id, made = known.get(heading.stream) or (None, None, leaf_index)
            state: Any = self._evolve(before, entry.event, happened)
            case_id = case_id or heading.case_id
            known[heading.stream] = (state, case_id, made)
            row = changed[heading.stream] = (*state, case_id, made, leaf_index)
            history.append(
                (*row, entry.event.TOPIC, happened.occurred_at, happened.recorded_at, happened.actor, happened.source)
            )
        begun: list[tuple[Any, ...]] = []
        moved: list[tuple[Any, ...]] = []
        for stream, row in changed.items():
            state, _, made = known[stream]
            (begun if made >= batch.first else moved).append((*row, *self.further(state, made)))
        self._current.insert(cursor, begun)
        self._current.upsert(cursor, self._key, moved)
        self._history.insert(cursor, history)

    def further(self, state: Any, made_leaf_index: int) -> tuple[Any, ...]:
        """The columns beside the state of a stream whose first event is that leaf: none here."""
        return ()

    def _load(self, cursor: Cursor[Any], streams: set[str]) -> dict[str, tuple[Any, ...]]:
        """What is remembered, with the present rows of all `streams` that have one among it."""
        if len(self._known) > REMEMBERED:
            self._known.clear()
        missing = [stream.removeprefix(self._prefix) for stream in streams if stream not in self._known]
        if missing:
            query = SQL("SELECT {}, case_id, made_leaf_index FROM {} WHERE {} = ANY(%s)").format(
                SQL(", ").join(map(Identifier, self._state._fields)),
                Identifier(self._current.name),
                Identifier(self._key),
            )
            for row in cursor.execute(query, (missing,), binary=True):
                values = [tuple(value) if type(value) is list else value for value in row[: self._fields]]
                state = self._state._make(values)
                self._known[self._prefix + getattr(state, self._key)] = (state, *row[self._fields :])
        return self._known


def folding(prefix: str, state: Any, *, current: str, history: str) -> Callable[[Cursor[Any], Secrets | None], Fold]:
    """What `Definition.start` needs to fold those streams."""
    return lambda cursor, _secrets: StateFold(cursor, prefix, state, current, history)
