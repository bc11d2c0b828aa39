"""What every command shares: options, where the ledger is, and how answers reach the terminal."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import orjson
import psycopg
import typer
from psycopg.rows import tuple_row
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.finding import at_hand
from deploy.foreign import printable
from deploy.tables import printer, show
from ledger.domain.model import ID_PATTERN, WANTED, utc_moment
from ledger.erasure.keyring import Keyring
from ledger.settings import Settings
from ledger.storage import keys
from projections import queries

CONNECT_SECONDS = 10
NOT_MIGRATED: Final = "the views of this release are not in the database: run `promise-ledger migrate`"

out = printer()
err = printer(stderr=True)


def moment(text: str) -> datetime:
    try:
        return utc_moment(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}, for example 2026-11-21T10:00:00+01:00") from error


def in_order(start: datetime | None, stop: datetime | None) -> None:
    """--from is no later than --to. Nothing lies between them otherwise: an answer would be no news."""
    if start is not None and stop is not None and start > stop:
        raise typer.BadParameter("--from is later than --to: nothing lies between them")


def identifier(text: str) -> str:
    """`text`, which may be an id. Of what cannot be one nothing is on record: an answer would be no news."""
    if re.fullmatch(ID_PATTERN, text) is None:
        raise typer.BadParameter(f"{text!r} is no id: {WANTED[ID_PATTERN]}")
    return text


DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Data directory of the `up` to talk to.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
Customer = Annotated[
    str | None, typer.Option("--customer", parser=identifier, metavar="ID", help="Only this customer's.")
]
AsOf = Annotated[
    datetime | None, typer.Option("--as-of", parser=moment, metavar="TIME", help="As things stood at this moment.")
]
KnownAt = Annotated[
    datetime | None, typer.Option("--known-at", parser=moment, metavar="TIME", help="As recorded by this moment.")
]


def fail(sentence: str) -> NoReturn:
    """End with one sentence on stderr and exit code 1."""
    complain(sentence)
    raise typer.Exit(1)


def fail_absent(thing: str, as_of: datetime | None, known_at: datetime | None) -> NoReturn:
    """End as `fail` does: there is no such thing, or was none at the moment that was asked about."""
    fail(f"there is no {thing}" if as_of is None and known_at is None else f"there was no {thing} then")


def complain(sentence: str) -> None:
    """One line on stderr, whatever the width of the terminal: logs and supervisors take the last line."""
    print(f"promise-ledger: {printable(' '.join(sentence.split()))}", file=sys.stderr, flush=True)


def database(settings: Settings) -> str:
    """The database's URL; `located` saw to it that there is one."""
    assert settings.database_url is not None
    return settings.database_url


def connect(settings: Settings) -> psycopg.Connection[tuple[Any, ...]]:
    """A read-only connection whose rows are tuples; a server that does not answer is given up after 10 s."""
    connection = psycopg.connect(database(settings), row_factory=tuple_row, connect_timeout=CONNECT_SECONDS)
    connection.read_only = True
    return connection


@contextmanager
def reading(data_dir: Path | None) -> Iterator[tuple[psycopg.Connection[Any], Keyring]]:
    """What the queries ask: the database, and the key that opens texts where this host has it.

    Where an update of the program left read tables behind, the answer is theirs, and that is said. Raises Outdated or
    NotInstalled where it cannot even be asked.
    """
    from projections import versions  # with every report that there is, which most commands never need
    from projections.reports import ALL

    with at_hand(data_dir) as settings, connect(settings) as connection:
        old = versions.left_behind(connection, ALL)
        held = (keys.key_encryption_key(settings), keys.key_encryption_key_before(settings))
        keks = [each.secret for each in held if each is not None]
        try:
            yield connection, Keyring(keks[0] if keks else None, reread=lambda: keks)
        except versions.LACKING as error:
            raise (versions.outdated(*old) if old else versions.NotInstalled(NOT_MIGRATED)) from error
        if old:
            complain(f"answered as before an update of the program: {versions.outdated(*old)}")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr where that is a terminal; call it with (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_json(document: Any) -> None:
    """One JSON document on stdout; moments as RFC 3339, bytes as hex."""
    options = orjson.OPT_UTC_Z | orjson.OPT_INDENT_2
    sys.stdout.buffer.write(orjson.dumps(document, option=options, default=_spelled) + b"\n")
    sys.stdout.buffer.flush()


def tell_rows(as_json: bool, title: str, rows: Sequence[queries.Row], columns: Sequence[str]) -> None:
    """The whole rows as JSON, or their `columns` as a table."""
    if as_json:
        print_json(rows)
    else:
        show(out, title, rows, columns)


def _spelled(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
