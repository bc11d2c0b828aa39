"""What the command line and the pages ask. Rows are dicts; texts are the words, `[erased on 2026-11-21]` or None."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import orjson
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composable, Composed, Identifier

from ledger.erasure.keyring import DataKey, Erased, Keyring, reader
from ledger.erasure.sealing import unseal
from ledger.key_provider import WrappingKey
from ledger.recovery.records import lost_mark, records
from ledger.storage.entries import decode, plain_data
from ledger.storage.sql import QUERIES

Row = dict[str, Any]

_FROM_THE_LOG = SQL("""
SELECT e.notification_id - 1, e.topic, e.state, s.key_version, s.ciphertext
FROM ledger.events AS e LEFT JOIN ledger.sealed AS s ON s.leaf_index = e.notification_id - 1
""")
_STREAM = _FROM_THE_LOG + SQL("WHERE e.originator_id = %s ORDER BY e.originator_version LIMIT %s OFFSET %s")
_LEAF = _FROM_THE_LOG + SQL("WHERE e.notification_id = %s + 1")


def keyring(key_encryption_key: bytes | WrappingKey | None) -> Keyring:
    """What the functions below need to tell erased texts from those that never were, and to open those of a trail.

    Without the key a trail shows no texts; the read tables do all the same.
    """
    return Keyring(key_encryption_key)


class Report(NamedTuple):
    """A view in `audit` in the order in which it is shown; as of a moment its rows are those of `audit.<past>`."""

    view: LiteralString
    order: LiteralString
    past: LiteralString
    only: LiteralString = "true"
    """The condition on rows that belong to it."""


OUTSTANDING = Report("outstanding_promises", "due_at, promise_id", "outstanding_as_of")
PROMISES = Report("promises", "due_at, promise_id", "promises_as_of")
FOLLOWUPS = Report("followups_due", "due_at, followup_id", "followups_due_as_of")
DISCLOSURES = Report("disclosures", "made_at, disclosure_id", "disclosures_as_of")
FALSEHOODS = DISCLOSURES._replace(only="(falsified_at IS NOT NULL OR contaminated)")
FINDINGS = Report(
    "findings",
    "array_position(ARRAY['high', 'medium', 'low'], severity), opened_at, code, subject, customer_id, opened_by",
    "findings_as_of",
)
CONCERNS = Report("concerns", "raised_at, concern_id", "concerns_as_of")
CONCERN_MATRIX = Report("concern_matrix", "customer_id, problem_id", "concern_matrix_as_of")
PROBLEMS = Report("problems", "known_since, problem_id", "problems_as_of")
AFFECTED_CUSTOMERS = Report("affected_customers", "problem_id, customer_id", "affected_customers_as_of")
UNDISCLOSED_PROBLEMS = Report(
    "undisclosed_problems", "known_since, problem_id, customer_id", "undisclosed_problems_as_of"
)
OUTAGES = Report("outages", "declared_at, outage_id", "outages_as_of")
OUTAGE_NOTES = Report("outage_notes", "captured_at, capture_id", "outage_notes_as_of")
DELIVERY_TIMES = Report("delivery_times", "kind NULLS FIRST, owner NULLS FIRST", "delivery_times_as_of")


class Part(NamedTuple):
    """Which of the rows to give: at most `limit` (None: all) after the first `offset`."""

    limit: int | None = None
    offset: int = 0


ALL: Final = Part()


def outstanding(
    connection: Connection[Any],
    keys: Keyring,
    *,
    customer: str | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """What is owed, soonest due first: now, or as of a moment (`as_of`) and as far as known at another (`known_at`)."""
    return rows_of(connection, keys, OUTSTANDING, {"customer_id": customer}, as_of=as_of, known_at=known_at)


def followups(
    connection: Connection[Any],
    *,
    customer: str | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """Follow-ups not completed, soonest due first; as of other moments like `outstanding`."""
    return _asked(connection, FOLLOWUPS, {"customer_id": customer}, as_of, known_at, ALL)


def findings(
    connection: Connection[Any],
    *,
    customer: str | None = None,
    code: str | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """Findings that are open, gravest first, then in the order in which they opened; as of other moments as above."""
    return _asked(connection, FINDINGS, {"customer_id": customer, "code": code}, as_of, known_at, ALL)


def closed_findings(
    connection: Connection[Any],
    where: Mapping[str, str | None],
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    part: Part = ALL,
) -> list[Row]:
    """Findings that were open once and are closed, last closed first; `where` and the moments as in `rows_of`."""
    wanted = {column: value for column, value in where.items() if value is not None}
    query = SQL("""
    SELECT code, severity, subject, customer_id, case_id, opened_at, closed_at, opened_by, closed_by, detail
    FROM audit.finding_history
    WHERE NOT prevented AND closed_at <= coalesce(%s::timestamptz, %s::timestamptz, now())
      AND greatest(opened_recorded_at, closed_recorded_at) <= coalesce(%s, 'infinity'::timestamptz) AND {}
    ORDER BY closed_at DESC, code, subject, customer_id, opened_by LIMIT %s OFFSET %s
    """).format(_having(wanted))
    return _rows(connection, query, [as_of, known_at, known_at, *wanted.values(), *part])


def rows_of(
    connection: Connection[Any],
    keys: Keyring,
    report: Report,
    where: Mapping[str, str | None] | None = None,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    part: Part = ALL,
) -> list[Row]:
    """The rows of a report where its columns have the values given (None: any); as of other moments as above."""
    return _with_marks(connection, keys, _asked(connection, report, where or {}, as_of, known_at, part))


def counts_of(
    connection: Connection[Any],
    report: Report,
    columns: Sequence[LiteralString],
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Row]:
    """How many rows of a report have which values of `columns`: those, and `rows`; none for no rows."""
    names = SQL(", ").join(map(Identifier, columns))
    source, parameters = _source(report, as_of, known_at)
    query = SQL("SELECT {}, count(*) AS rows FROM {} WHERE {} GROUP BY {} ORDER BY {}").format(
        names, source, SQL(report.only), names, names
    )
    return _rows(connection, query, parameters)


def meanings(connection: Connection[Any], report: Report) -> dict[str, str]:
    """What each column of a report's view means, as docs/audit-sql.md has it."""
    query = SQL("""
    SELECT attname AS name, col_description(attrelid, attnum) AS meaning FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
    """)
    return {row["name"]: row["meaning"] or "" for row in _rows(connection, query, [f"audit.{report.view}"])}


def streams_of(connection: Connection[Any], kinds: Sequence[str], about: str) -> list[str]:
    """Streams of those kinds with that id, and whose name it is; a customer has one also where nothing is in it."""
    query = SQL("""
    SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS asked (name, place)
    WHERE EXISTS (SELECT FROM ledger.events WHERE originator_id = name COLLATE "C")
       OR starts_with(name, 'customer:')
       AND EXISTS (SELECT FROM audit.customer_timeline WHERE customer_id = substr(name, 10))
    ORDER BY place
    """)
    named = [*(f"{kind}:{about}" for kind in kinds), about]
    return [row["name"] for row in _rows(connection, query, [named])]


def erased_mark(connection: Connection[Any], keys: Keyring, customer_id: str) -> str | None:
    """What stands in place of the customer's words since their erasure is in effect; None where it is not."""
    return _erased(connection, keys, [customer_id]).get(customer_id)


def timeline(
    connection: Connection[Any],
    keys: Keyring,
    customer: str,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    newest_first: bool = False,
    part: Part = ALL,
) -> list[Row]:
    """Everything that happened with the customer, in the order of the log; `text` has the words of each event."""
    query = SQL("""
    SELECT * FROM audit.customer_timeline WHERE customer_id = %s
      AND occurred_at <= coalesce(%s, 'infinity'::timestamptz) AND recorded_at <= coalesce(%s, 'infinity'::timestamptz)
    ORDER BY leaf_index {} LIMIT %s OFFSET %s
    """).format(SQL("DESC" if newest_first else "ASC"))
    rows = _rows(connection, query, (customer, as_of, known_at, *part))
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


def trail(connection: Connection[Any], keys: Keyring, stream: str, *, part: Part = ALL) -> list[Row]:
    """Every event of one stream, in order, from the log itself and no read table; texts opened where they may be."""
    return _from_the_log(connection, keys, _STREAM, (stream, *part))


def event(connection: Connection[Any], keys: Keyring, leaf_index: int) -> Row | None:
    """One event as `trail` gives it, with the bytes that are hashed (`entry`); None where the log is not that long."""
    found = _from_the_log(connection, keys, _LEAF, (leaf_index,))
    if not found:
        return None
    entry = reader(connection).execute(QUERIES["range"], {"first": leaf_index, "stop": leaf_index + 1}).fetchone()
    return None if entry is None else found[0] | {"entry": bytes(entry[2])}


def _from_the_log(connection: Connection[Any], keys: Keyring, query: Composed, parameters: Sequence[Any]) -> list[Row]:
    cursor = reader(connection)
    found = cursor.execute(query, parameters).fetchall()
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
    report: Report,
    where: Mapping[str, str | None],
    as_of: datetime | None,
    known_at: datetime | None,
    part: Part,
) -> list[Row]:
    """The rows of a report, of its past where a moment is given; None in `where`: any value."""
    source, parameters = _source(report, as_of, known_at)
    wanted = {column: value for column, value in where.items() if value is not None}
    query = SQL("SELECT * FROM {} WHERE {} AND {} ORDER BY {} LIMIT %s OFFSET %s").format(
        source, SQL(report.only), _having(wanted), SQL(report.order)
    )
    return _rows(connection, query, [*parameters, *wanted.values(), *part])


def _having(columns: Iterable[str]) -> Composable:
    """The condition that each of these has the value given for it."""
    return SQL(" AND ").join([SQL("true"), *(SQL("{} = %s").format(Identifier(each)) for each in columns)])


def _source(report: Report, as_of: datetime | None, known_at: datetime | None) -> tuple[Composable, list[Any]]:
    """What to select a report from, and its parameters."""
    if as_of is None and known_at is None:
        return SQL("audit.{}").format(Identifier(report.view)), []
    past = SQL("audit.{}(%s::timestamptz, %s::timestamptz)").format(Identifier(report.past))
    return past, [as_of, known_at]


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
