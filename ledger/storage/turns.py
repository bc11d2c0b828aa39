"""Taking turns by PostgreSQL's advisory locks, which every login may take: whoever waits for long says for whom."""

import logging
import time
from typing import Any, Final

from psycopg import Connection, Cursor

from ledger.storage.sql import QUERIES

PATIENCE_SECONDS: Final = 3.0
_TRY_SECONDS: Final = 0.05
_log = logging.getLogger(__name__)


def take_turn(connection: Connection[tuple[Any, ...]] | Cursor[tuple[Any, ...]], name: str, *, session: bool) -> None:
    """Nobody else takes the turn `name` until the connection closes (`session`) or until its transaction ends.

    Waits without end; after a few seconds the log says, once, who has the turn.
    """
    kind, asked = "session" if session else "transaction", {"name": name}
    until = time.monotonic() + PATIENCE_SECONDS
    while connection.execute(QUERIES[f"try_turn_of_{kind}"], asked).fetchall() == [(False,)]:
        if time.monotonic() >= until:
            holders = connection.execute(QUERIES["turn_holders"], asked).fetchall()
            named = "; ".join(_named(*each) for each in holders) or "one that ended just now"
            _log.warning("waiting for another session of PostgreSQL, which keeps the lock %r: %s", name, named)
            connection.execute(QUERIES[f"await_turn_of_{kind}"], asked)
            return
        time.sleep(_TRY_SECONDS)


def _named(pid: int, user: str | None, application: str | None, since: str | None) -> str:
    known = (f"process {pid}", user, application, f"connected since {since}" if since else None)
    return ", ".join(each for each in known if each)
