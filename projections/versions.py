"""Versions of projections: each has its tables in a schema of its own, one is live, and the views in `audit` show it.

A rebuild makes the next version beside the live one and switches in one transaction, so that a reader sees the old or
the new one, never half of either. Crash before the switch: the old version stays live, and the half-built one is
dropped by the next rebuild.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple, TypeVar

import psycopg
from psycopg import Connection, Cursor
from psycopg.sql import SQL, Identifier

from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from ledger.storage.turns import take_turn
from projections.log import Batch

QUERIES = queries(Path(__file__).with_name("versions.sql"))
NOT_THERE: Final = "the read side does not exist yet: run `promise-ledger migrate`"
LACKING = (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable)
"""What PostgreSQL says where views and tables of different releases meet."""

_TRIES: Final = 20
T = TypeVar("T")
Fold = Callable[[Cursor[Any], Batch], None]
"""Writes what a batch means into the tables that the cursor's search_path names."""


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """One projection: its SQL (sections `tables`, `indexes`, `views`) and the fold that fills the tables.

    A further section `grants` says who else may touch them.
    `keys` names its tables and the columns that tell their rows apart. `start` gives a fold with an empty memory; it is
    given the secrets where it `needs_keys`, and may be given none otherwise. `cost` says how the work of filling it
    compares with that of others. `revision` rises whenever the same events lead to other rows than before.
    """

    name: str
    sql: Mapping[str, LiteralString]
    keys: Mapping[str, tuple[str, ...]]
    start: Callable[[Cursor[Any], Secrets | None], Fold]
    needs_keys: bool = False
    cost: int = 1
    revision: int = 0

    @property
    def digest(self) -> str:
        """What the tables of this release are made of, and by which rules."""
        return hashlib.sha256(
            (self.sql["tables"] + self.sql["indexes"] + str(self.revision or "")).encode()
        ).hexdigest()


class Version(NamedTuple):
    """One version of a projection. `position` is the number of leaves applied."""

    number: int
    position: int
    digest: str


class ProjectionStatus(NamedTuple):
    """How a live projection stands. `stopped_at` is the leaf that it cannot apply, None while all is well."""

    name: str
    version: int
    position: int
    lag_events: int
    stopped_at: int | None
    reason: str | None
    outdated: bool
    """Its tables were made by another release."""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return self._asdict()


class NotInstalled(RuntimeError):
    """The read side does not exist in this database yet: `promise-ledger migrate` creates it."""


class Outdated(RuntimeError):
    """The live tables were made by another release: `promise-ledger rebuild` makes those of this one."""


def connect(url: str, name: str) -> Connection[tuple[Any, ...]]:
    """A connection for writing read tables.

    synchronous_commit is off: the position moves in the same transaction as the rows, so what a power cut takes is
    applied again. The log itself never commits that way. What database or role make the default of a transaction is
    set as well: each of ours waits for others by locks, and writes, and a rebuild takes as long as the log is. And
    operators are PostgreSQL's own: with others the check of the read tables would derive what their owner likes.
    """
    return psycopg.connect(
        url,
        autocommit=True,
        application_name=f"promise-ledger {name}",
        options="-c search_path=pg_catalog -c synchronous_commit=off -c timezone=UTC"
        " -c default_transaction_read_only=off"
        r" -c default_transaction_isolation=read\ committed"
        " -c statement_timeout=0 -c idle_in_transaction_session_timeout=0",
    )


def schema_of(name: str, number: int) -> str:
    """The schema that holds the tables of one version."""
    return f"read_{name}_v{number}"


def use(cursor: Cursor[Any], name: str, number: int) -> None:
    """Make unqualified table names mean those of this version until the transaction ends."""
    cursor.execute("SELECT set_config('search_path', %s, true)", (schema_of(name, number),))


def changing(cursor: Cursor[Any]) -> None:
    """Wait until nobody else makes or switches versions; nobody will until the transaction ends."""
    take_turn(cursor, "promise-ledger projections", session=False)


def lock(cursor: Cursor[Any], name: str, number: int | None = None) -> Version | None:
    """The version (None: the live one), locked against other runners until the transaction ends.

    Raises NotInstalled before `migrate`.
    """
    try:
        row = cursor.execute(QUERIES["lock"], {"name": name, "number": number}).fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise NotInstalled(NOT_THERE) from error
    return None if row is None else Version(*row)


def create(cursor: Cursor[Any], definition: Definition, *, live: bool) -> int:
    """Begin a version at position 0, its tables empty and without their further indexes. Returns its number."""
    changing(cursor)
    row = cursor.execute(
        QUERIES["begin"], {"name": definition.name, "live": live, "digest": definition.digest}
    ).fetchone()
    assert row is not None
    number = int(row[0])
    cursor.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema_of(definition.name, number))))
    use(cursor, definition.name, number)
    cursor.execute(definition.sql["tables"])
    allow(cursor, definition, number)
    return number


def allow(cursor: Cursor[Any], definition: Definition, number: int) -> None:
    """The live runner may fill the tables of this version; what else a projection allows stands in its `grants`."""
    use(cursor, definition.name, number)
    cursor.execute(SQL(QUERIES["write_grants"]).format(schema=Identifier(schema_of(definition.name, number))))
    cursor.execute(definition.sql.get("grants", ""))


def add_indexes(cursor: Cursor[Any], definition: Definition, number: int) -> None:
    """Create the indexes that readers need: once the tables are full, which is several times cheaper."""
    use(cursor, definition.name, number)
    cursor.execute(definition.sql["indexes"])


def show(cursor: Cursor[Any], definition: Definition, number: int) -> None:
    """Make the views in `audit` show this version.

    Views are replaced in place, so that whatever others built on them stays. Where a release changed their columns
    PostgreSQL cannot do that: then they are made anew, and `install` makes anew what of ours rested on them. Who may
    read them is for the caller to say, once all are there: the query `grants`.
    """
    changing(cursor)
    use(cursor, definition.name, number)
    try:
        with cursor.connection.transaction():
            cursor.execute(definition.sql["views"])
    except psycopg.errors.InvalidTableDefinition:
        schemas = schema_of(definition.name, 0).removesuffix("0")
        for (view,) in cursor.execute(QUERIES["views_of"], {"schemas": schemas}).fetchall():
            cursor.execute(SQL("DROP VIEW IF EXISTS audit.{} CASCADE").format(Identifier(view)))
        cursor.execute(definition.sql["views"])
    cursor.execute(QUERIES["share_comments"])


def drop(cursor: Cursor[Any], name: str, number: int) -> None:
    """Remove a version and its tables."""
    cursor.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema_of(name, number))))
    cursor.execute(QUERIES["forget"], {"name": name, "number": number})


def drop_unfinished(connection: Connection[Any], name: str) -> None:
    """Remove what a rebuild or a check left half-built. The caller holds `exclusive`."""
    with connection.transaction(), connection.cursor() as cursor:
        for (number,) in cursor.execute(QUERIES["unfinished"], {"name": name}).fetchall():
            drop(cursor, name, number)


def exclusive(connection: Connection[Any]) -> None:
    """Wait for other rebuilds and checks; ours lasts until the connection closes, also when the process dies."""
    take_turn(connection, "promise-ledger rebuild", session=True)


def switch(cursor: Cursor[Any], definition: Definition, old: int, new: int) -> None:
    """Show version `new` instead of `old`, which is gone afterwards: all in the caller's transaction."""
    show(cursor, definition, new)
    cursor.execute(QUERIES["grants"])
    drop(cursor, definition.name, old)
    cursor.execute(QUERIES["make_live"], {"name": definition.name, "number": new})


def install(url: str, definitions: Sequence[Definition]) -> list[str]:
    """Create what is missing of the read side and renew its views; twice is as good as once.

    Returns the projections whose live tables are those of another release: they stay as they are until a rebuild.
    """
    with connect(url, "install") as connection:
        return among_readers(lambda: _install_all(connection, definitions))


def among_readers(change: Callable[[], T]) -> T:
    """What `change`, a transaction that replaces views, gives.

    Whoever reads a view that rests on another, or several in one transaction, may be in the way of that, and it in
    theirs: where PostgreSQL ends ours for it, it is tried again.
    """
    for _ in range(_TRIES):
        with suppress(psycopg.errors.DeadlockDetected):
            return change()
    return change()


def _install_all(connection: Connection[Any], definitions: Sequence[Definition]) -> list[str]:
    with connection.transaction(), connection.cursor() as cursor:
        changing(cursor)
        cursor.execute(QUERIES["create"])
        live = {name: (number, digest) for name, number, digest in cursor.execute(QUERIES["live"]).fetchall()}
        for name in _without_tables(cursor, {name: number for name, (number, _) in live.items()}):
            cursor.execute(QUERIES["forget"], {"name": name, "number": live.pop(name)[0]})
        behind: list[str] = []
        for each in definitions:
            if not _install(cursor, each, *live.get(each.name, (None, None)), mixed=bool(behind)):
                behind.append(each.name)
        cursor.execute(QUERIES["grants"])
        return behind


def _without_tables(cursor: Cursor[Any], live: Mapping[str, int]) -> list[str]:
    """Those whose tables are gone, as in a restored dump that left them out."""
    places = {schema_of(name, number): name for name, number in live.items()}
    for (schema,) in cursor.execute(QUERIES["there"], {"schemas": list(places)}).fetchall():
        del places[schema]
    return list(places.values())


def _install(
    cursor: Cursor[Any], definition: Definition, number: int | None, digest: str | None, *, mixed: bool = False
) -> bool:
    """Create or renew one projection; False where its tables are those of another release.

    `mixed`: tables before it are, and their views stay as they are. Its own stay too where they ask for what those
    lack, and the rebuild that those need renews them.
    """
    if number is None:
        number, digest = create(cursor, definition, live=True), definition.digest
        add_indexes(cursor, definition, number)
    else:
        allow(cursor, definition, number)
    if digest != definition.digest:
        return False
    try:
        with cursor.connection.transaction():
            show(cursor, definition, number)
    except LACKING:
        if not mixed:
            raise
    return True


def make_anew(cursor: Cursor[Any], definitions: Sequence[Definition], live: Mapping[str, int]) -> None:
    """Put what `install` makes from nothing, under the numbers that are live, in the place of what is there.

    For a transaction that is rolled back, begun with `changing`. What is there is renamed and not locked: its readers
    and its runner go on.
    """
    for (schema,) in cursor.execute(QUERIES["there"], {"schemas": schemas(live)}).fetchall():
        cursor.execute(
            SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(schema), Identifier(f"set aside {schema}"))
        )
    cursor.execute(QUERIES["create"])
    for definition in definitions:
        cursor.execute(QUERIES["number_before"], {"name": definition.name, "number": live[definition.name] - 1})
        _install(cursor, definition, None, None)
    cursor.execute(QUERIES["grants"])


def schemas(live: Mapping[str, int]) -> list[str]:
    """Every schema of the read side, with the tables of the versions that are `live`."""
    return ["audit", "projection", *(schema_of(name, number) for name, number in live.items())]


def status(url: str, definitions: Sequence[Definition]) -> list[ProjectionStatus]:
    """How each live projection stands, by name. Raises NotInstalled before `migrate`."""
    with connect(url, "status") as connection:
        return standing(connection, definitions)


def standing(connection: Connection[Any], definitions: Sequence[Definition]) -> list[ProjectionStatus]:
    """The same over a connection whose rows are tuples, as of its transaction."""
    digests = {definition.name: definition.digest for definition in definitions}
    try:
        rows = connection.execute(QUERIES["status"]).fetchall()
    except psycopg.errors.UndefinedTable as error:
        raise NotInstalled(NOT_THERE) from error
    found = []
    for name, number, position, lag, digest, stopped_at, reason in rows:
        old = digest != digests.get(name)
        if old:
            stopped_at, reason = position, str(outdated(name))
        found.append(ProjectionStatus(name, number, position, lag, stopped_at, reason, old))
    return found


def left_behind(connection: Connection[Any], definitions: Sequence[Definition]) -> list[str]:
    """The projections whose live tables are those of another release; none where nobody may look or none exists."""
    try:
        with connection.transaction():
            rows = connection.execute(QUERIES["live"]).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):  # an auditor's role reads views alone
        return []
    digests = {name: digest for name, _, digest in rows}
    return [each.name for each in definitions if digests.get(each.name, each.digest) != each.digest]


def outdated(*names: str) -> Outdated:
    """The sentence for tables of another release, with the one command that makes all of them anew."""
    return Outdated(
        f"the tables of {', '.join(names)} were made by another release: run `promise-ledger rebuild {' '.join(names)}`"
    )
