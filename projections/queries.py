"""What the command line and the pages ask. Rows are dicts; texts are the words, `[erased on 2026-11-21]` or None."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import orjson
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composable, Identifier

from ledger.erasure.keyring import DataKey, Erased, Keyring, reader
from ledger.erasure.sealing import unseal
from ledger.key_provider import WrappingKey
from ledger.recovery.records import lost_mark, records
from ledger.storage.entries import decode, plain_data

Row = dict[str, Any]

_TRAIL = SQL("""
SELECT e.notification_id - 1, e.topic, e.state, s.key_version, s.ciphertext
FROM ledger.events AS e LEFT JOIN ledger.sealed AS s ON s.leaf_index = e.notification_id - 1
WHERE e.originator_id = %s ORDER BY e.originator_version
""")


def keyring(key_encryption_key: bytes | WrappingKey | None) -> Keyring:
    """What the functions below need to tell erased texts from those that never were, and to open those of a trail.

    Without the key a trail shows no texts; the read tables do all the same.
    """
    return Keyring(key_encryption_key)


def outstanding(
    connection: Connection[Any],
    keys: Keyring,
    *,
    customer: str | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """What is owed, soonest due first: now, or as of a moment (`as_of`) and as far as known at another (`known_at`)."""
    where = {"customer_id": customer}
    rows = _asked(connection, "outstanding_promises", "outstanding_as_of", where, as_of, known_at, "due_at, promise_id")
    return _with_marks(connection, keys, rows)


def followups(
    connection: Connection[Any],
    *,
    customer: str | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """Follow-ups not completed, soonest due first; as of other moments like `outstanding`."""
    where = {"customer_id": customer}
    return _asked(connection, "followups_due", "followups_due_as_of", where, as_of, known_at, "due_at, followup_id")


def findings(
    connection: Connection[Any],
    *,
    customer: str | None = None,
    code: str | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """Findings that are open, gravest first, then in the order in which they opened; as of other moments as above."""
    order = "array_position(ARRAY['high', 'medium', 'low'], severity), opened_at, code, subject, customer_id"
    where = {"customer_id": customer, "code": code}
    return _asked(connection, "findings", "findings_as_of", where, as_of, known_at, order)


class Report(NamedTuple):
    """A view in `audit`, whose rows as of a moment `audit.<view>_as_of` gives, in the order in which they are shown."""

    view: LiteralString
    order: LiteralString


CONCERNS = Report("concerns", "raised_at, concern_id")
CONCERN_MATRIX = Report("concern_matrix", "customer_id, problem_id")
PROBLEMS = Report("problems", "known_since, problem_id")
AFFECTED_CUSTOMERS = Report("affected_customers", "problem_id, customer_id")
UNDISCLOSED_PROBLEMS = Report("undisclosed_problems", "known_since, problem_id, customer_id")
OUTAGES = Report("outages", "declared_at, outage_id")
OUTAGE_NOTES = Report("outage_notes", "captured_at, capture_id")
DELIVERY_TIMES = Report("delivery_times", "kind NULLS FIRST, owner NULLS FIRST")


def rows_of(
    connection: Connection[Any],
    keys: Keyring,
    report: Report,
    where: Mapping[str, str | None] | None = None,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """The rows of a report where its columns have the values given (None: any); as of other moments as above."""
    rows = _asked(connection, report.view, f"{report.view}_as_of", where or {}, as_of, known_at, report.order)
    return _with_marks(connection, keys, rows)


def timeline(
    connection: Connection[Any],
    keys: Keyring,
    customer: str,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """Everything that happened with the customer, in the order of the log; `text` has the words of each event."""
    query = SQL("""
    SELECT * FROM audit.customer_timeline WHERE customer_id = %s
      AND occurred_at <= coalesce(%s, 'infinity'::timestamptz) AND recorded_at <= coalesce(%s, 'infinity'::timestamptz)
    ORDER BY leaf_index
    """)
    rows = _rows(connection, query, (customer, as_of, known_at))
    erased = _erased(connection, keys, [customer]).get(customer)
    recoveries = records(connection)
    for row in rows:
        row["words"] = None if erased else row["words"]
        mark = (erased or lost_mark(recoveries, row["leaf_index"])) if row["has_words"] else None
        row["text"] = _line(row["words"]) if row["words"] else mark
    return rows


def customer(
    connection: Connection[Any],
    keys: Keyring,
    customer_id: str,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> Row:
    """All that is known of one customer: `outstanding`, `followups`, `timeline`, and `erased` (the mark, or None)."""
    return {
        "customer_id": customer_id,
        "erased": _erased(connection, keys, [customer_id]).get(customer_id),
        "outstanding": outstanding(connection, keys, customer=customer_id, as_of=as_of, known_at=known_at),
        "followups": followups(connection, customer=customer_id, as_of=as_of, known_at=known_at),
        "timeline": timeline(connection, keys, customer_id, as_of=as_of, known_at=known_at),
    }


def trail(connection: Connection[Any], keys: Keyring, stream: str) -> list[Row]:
    """Every event of one stream, in order, from the log itself and no read table; texts opened where they may be."""
    cursor = reader(connection)
    found = cursor.execute(_TRAIL, (stream,)).fetchall()
    entries = [(decode(leaf, topic, state), version, sealed) for leaf, topic, state, version, sealed in found]
    keyed = keys.find(cursor, {e.event.customer_id: None for e, _, _ in entries if e.event.customer_id is not None})
    rows, recoveries = [], records(connection)
    for entry, key_version, sealed in entries:
        heading, event = entry.heading, entry.event
        key = keyed.get(event.customer_id or "")
        words, text = None, None
        if isinstance(key, DataKey) and sealed is not None and key.version == key_version:
            assert event.customer_id is not None
            opened = unseal(
                key.cipher,
                sealed,
                event_id=heading.event_id,
                customer_id=event.customer_id,
                key_version=key.version,
            )
            words = orjson.loads(opened.personal)
            text = _line(words)
        elif entry.personal is not None:
            text = _mark(key) if isinstance(key, Erased) else lost_mark(recoveries, entry.leaf_index)
        rows.append(
            {
                "leaf_index": entry.leaf_index,
                "stream": heading.stream,
                "version": heading.version,
                "type": event.TOPIC,
                "occurred_at": heading.happened.occurred_at,
                "recorded_at": heading.happened.recorded_at,
                "actor": heading.happened.actor,
                "source": heading.happened.source,
                "customer_id": event.customer_id,
                "case_id": heading.case_id,
                "event_id": heading.event_id,
                "command_id": heading.command_id,
                "data": plain_data(event),
                "words": words,
                "text": text,
            }
        )
    return rows


def _asked(
    connection: Connection[Any],
    view: str,
    function: str,
    where: Mapping[str, str | None],
    as_of: datetime | None,
    known_at: datetime | None,
    order: LiteralString,
) -> list[Row]:
    """The rows of `audit.<view>`, or of `audit.<function>` where a moment is given; None in `where`: any value."""
    source: Composable = SQL("audit.{}").format(Identifier(view))
    parameters: list[Any] = []
    if as_of is not None or known_at is not None:
        source = SQL("audit.{}(%s::timestamptz, %s::timestamptz)").format(Identifier(function))
        parameters += [as_of, known_at]
    wanted = {column: value for column, value in where.items() if value is not None}
    conditions = SQL(" AND ").join(SQL("{} = %s").format(Identifier(column)) for column in wanted)
    query = SQL("SELECT * FROM {} WHERE {} ORDER BY {}").format(
        source, conditions if wanted else SQL("true"), SQL(order)
    )
    return _rows(connection, query, [*parameters, *wanted.values()])


def _with_marks(connection: Connection[Any], keys: Keyring, rows: list[Row]) -> list[Row]:
    """The same rows; those of an erased customer have the mark instead of texts."""
    texts = [row for row in rows if "text" in row]
    erased, recoveries = _erased(connection, keys, [row["customer_id"] for row in texts]), records(connection)
    for row in texts:
        if (mark := erased.get(row["customer_id"])) is not None:  # also where the read table has not heard of it yet
            row |= dict.fromkeys(row.keys() & {"condition_text"}) | {"text": mark}
        elif row["text"] is None and "made_leaf_index" in row:  # a promise always had words
            row["text"] = lost_mark(recoveries, row["made_leaf_index"])
    return rows


def _rows(connection: Connection[Any], query: Composable, parameters: Sequence[Any]) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.as_bytes(connection), parameters).fetchall()


def _erased(connection: Connection[Any], keys: Keyring, customers: Sequence[str]) -> dict[str, str]:
    """The mark to show for those of `customers` whose erasure is in effect."""
    if not customers:
        return {}
    found = keys.erased(reader(connection), dict.fromkeys(customers))
    return {customer_id: _mark(erased) for customer_id, erased in found.items()}


def _mark(erased: Erased) -> str:
    return f"[erased on {erased.destroyed_at:%Y-%m-%d}]"


def _line(words: dict[str, str]) -> str:
    """The words of one event as one text: the main one first."""
    others = (text for member, text in words.items() if member != "text")
    return " · ".join([words["text"], *others] if "text" in words else others)
