"""Numbered migrations, forward only: `migrations/NNNN_name.sql`, each applied once, in one transaction.

A migration never touches a stored event. Who runs it owns the tables; the service that appends does not need to.
"""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.sql import QUERIES
from ledger.storage.turns import take_turn

DIRECTORY = Path(__file__).with_name("migrations")
ROLES = Path(__file__).with_name("roles.sql")
_BEGINNING_OF_TIME = datetime(1, 1, 1, tzinfo=UTC)

_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS public.ledger_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class LogGone(RuntimeError):
    """The head row is missing and the log had begun: nothing is begun anew over what was signed."""


class MigrationChanged(RuntimeError):
    """A migration that was applied here reads otherwise now: history is not edited, write a new one."""


def migrate(url: str) -> list[str]:
    """Apply what is missing to the database at `url`, and name it; then roles and grants. Two at once take turns."""
    applied = []
    with psycopg.connect(url, autocommit=True, application_name="promise-ledger migrate") as connection:
        take_turn(connection, "promise-ledger migrate", session=True)
        with connection.transaction():
            connection.execute(_BOOKKEEPING)
        done: dict[int, str] = dict(
            connection.execute("SELECT number, sha256 FROM public.ledger_migrations").fetchall()
        )
        for path in sorted(DIRECTORY.glob("*.sql")):
            number, text = int(path.name[:4]), path.read_text(encoding="utf-8")
            digest = hashlib.sha256(text.encode()).hexdigest()
            if number in done:
                if done[number] != digest:
                    raise MigrationChanged(f"{path.name} was changed after it was applied: add a new migration instead")
                continue
            with connection.transaction():
                connection.execute(text)
                connection.execute(
                    "INSERT INTO public.ledger_migrations (number, name, sha256) VALUES (%s, %s, %s)",
                    (number, path.stem, digest),
                )
            applied.append(path.stem)
        with connection.transaction():
            connection.execute(ROLES.read_bytes())
    return applied


def role_names() -> tuple[str, ...]:
    """The roles that roles.sql makes, in its order."""
    return tuple(re.findall(r"CREATE ROLE (\w+)", ROLES.read_text(encoding="utf-8")))


def create_log(settings: Settings) -> bool:
    """Begin the log in a migrated database: its head row and its secrets. False where it has begun already.

    Secrets are made only while nothing was ever recorded: a log goes on under the keys that it began with. A crash in
    between leaves keys without a log, and the next call goes on from there.
    """
    assert settings.database_url is not None, "the settings name no database"
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute("SELECT size FROM ledger.head").fetchone()
        if row is not None:
            return False
        events = connection.execute("SELECT count(*) FROM ledger.events").fetchone()
        assert events is not None
        guarded = settings.guard_path.exists()
        if events[0] or guarded:
            raise LogGone(
                f"the log's head row is gone while {events[0]} events are stored"
                f"{' and the fork guard says that a log was signed here' if guarded else ''}: it was deleted; run "
                "`promise-ledger recover`, which says what can be done"
            )
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys.create(settings)
        begun = {"origin": settings.origin, "recorded_at": _BEGINNING_OF_TIME}
        connection.execute(QUERIES["begin_log"], begun)
    return True
