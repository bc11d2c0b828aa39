"""The pages of the console, each one snapshot of the database; lists and pages of things are those of `lists`.

/console/                      how the ledger gets on, and what there is to look at
/console/list/outstanding      a list, with filters and as of other moments
/console/stream/promise:P-1    a thing: how it stands, and every event of it
/console/event/17              one event, and its proof
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, LiteralString, get_args

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from ledger.domain.model import ID_PATTERN, WANTED
from ledger.erasure.keyring import Keyring
from ledger.recovery.records import records
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Note
from projections import queries
from projections.blast import blast_radius
from projections.findings.registry import FINDINGS
from projections.proving import proof_of
from projections.queries import Part, Row
from projections.reports import ALL
from projections.scorecard import By, scorecard
from projections.site import Site
from projections.versions import outdated, standing
from projections.web.console.answers import Absent, Page, render
from projections.web.console.asked import ROWS, Asked, Unclear, moment
from projections.web.console.cells import cell, facts
from projections.web.console.lists import CUSTOMER, LISTS, SEARCHED, THINGS, Section
from projections.web.console.narrowing import narrowed, narrowing
from projections.web.health import Health

_FIRST_ON_A_PAGE: Final = Part(ROWS + 1)
_LONGEST_QUESTION: Final = 300
_STREAM: Final = re.compile(r"[a-z]+(:[A-Za-z0-9._:-]{1,140})?")
_FIGURES: Final[Mapping[str, tuple[LiteralString, ...]]] = {
    "outstanding": ("timeliness",),
    "findings": ("severity", "code"),
    "followups": ("overdue",),
    "falsehoods": ("contaminated",),
    "problems": ("state",),
}
"""Which lists are counted on the first page, and by what."""
_SAID: Final = {
    ("overdue", False): "not yet",
    ("overdue", True): "overdue",
    ("contaminated", False): "declared false",
    ("contaminated", True): "rests on such",
}
OF_ONE_CUSTOMER: Final = ("promise", "disclosure", "followup", "concern")
"""Kinds of which each, and all that is about it, is one customer's: asked for by customer, which is what is indexed."""
_SEVERITIES: Final = ("high", "medium", "low")
_COUNT_QUICKLY: Final = "SET LOCAL statement_timeout = '2s'"


@dataclass(frozen=True)
class Console:
    """Pages over one database. `open_keyring` gives what opens the texts of a trail; `sites`: whose checkpoint proves,
    the one to prefer first."""

    pool: ConnectionPool[Connection[TupleRow]]
    open_keyring: Callable[[], Keyring]
    health: Callable[[], Health]
    sites: Sequence[Site]

    def overview(self, query: Mapping[str, str]) -> Page:
        """How the ledger gets on, what was signed last, and how much of what there is to look at."""
        asked = Asked.read(query)
        with self._snapshot() as connection:
            signed = self._signed(connection)
            figures = {name: self._counts(connection, name, asked) for name in _FIGURES}
        return self._page(
            "overview.html",
            asked,
            "",
            figures=figures,
            by=_FIGURES,
            said=_SAID,
            health=self.health(),
            signed=signed,
        )

    def _counts(self, connection: Connection[Any], name: str, asked: Asked) -> list[Row] | None:
        """How many rows of a list there are of each sort; None where counting them takes too long for a first page."""
        try:
            with connection.transaction():
                connection.execute(_COUNT_QUICKLY)
                counts = queries.counts_of(connection, LISTS[name].report, _FIGURES[name], **asked.moments)
        except psycopg.errors.QueryCanceled:
            return None
        return sorted(counts, key=lambda each: _SEVERITIES.index(each["severity"])) if name == "findings" else counts

    def listing(self, name: str, query: Mapping[str, str]) -> Page:
        """One list of `LISTS`, a page of it."""
        asked, listing = Asked.read(query), LISTS.get(name)
        if listing is None:
            raise Absent(f"there is no list {name}")
        where = narrowed(listing, query)
        with self._snapshot() as connection:
            rows = queries.rows_of(
                connection, self.open_keyring(), listing.report, where, part=asked.part, **asked.moments
            )
            meanings, behind = queries.meanings(connection, listing.report), _behind(connection)
        rule = FINDINGS.get(where.get("code", "")) if name == "findings" else None
        return self._page(
            "list.html",
            asked,
            f"list/{name}",
            cell=partial(narrowing, name=name, where=where, asked=asked),
            listing=listing,
            rows=rows,
            where=where,
            meanings=meanings,
            rule=rule,
            behind=behind,
        )

    def stream(self, name: str, query: Mapping[str, str]) -> Page:
        """A customer, a promise, or whatever else has events under a name: how it stands, and all that happened."""
        asked = Asked.read(query)
        if _STREAM.fullmatch(name) is None:
            raise Absent(f"{name!r} names nothing: a kind, a colon and an id, such as promise:P-1")
        kind, _, about = name.partition(":")
        with self._snapshot() as connection:
            if kind == "customer":
                return self._customer(connection, about, asked)
            return self._thing(connection, name, kind, about, asked)

    def _customer(self, connection: Connection[Any], customer_id: str, asked: Asked) -> Page:
        keys = self.open_keyring()
        timeline = queries.timeline(connection, keys, customer_id, newest_first=True, part=asked.part, **asked.moments)
        sections = self._sections(connection, keys, CUSTOMER, customer_id, asked)
        closed = queries.closed_findings(
            connection, {"customer_id": customer_id}, part=_FIRST_ON_A_PAGE, **asked.moments
        )
        if asked.page == 1 and not timeline and not any(rows for _, rows in sections):
            raise _absent(f"customer {customer_id}", asked)
        return self._page(
            "customer.html",
            asked,
            f"stream/customer:{customer_id}",
            customer_id=customer_id,
            erased=queries.erased_mark(connection, keys, customer_id),
            sections=sections,
            closed=closed,
            timeline=timeline,
            behind=_behind(connection),
        )

    def _thing(self, connection: Connection[Any], name: str, kind: str, about: str, asked: Asked) -> Page:
        keys, thing = self.open_keyring(), THINGS.get(kind)
        events = queries.trail(connection, keys, name, part=asked.part)
        trail = [row | {"data": facts(row["type"], row["data"])} for row in events[:ROWS] if asked.keeps(row)]
        if not trail and asked.page == 1 and len(events) <= ROWS:  # what is recorded late may have occurred early
            raise _absent(name, asked)
        state, meanings = None, {}
        if thing is not None:
            found = queries.rows_of(
                connection, keys, thing.report, {f"{kind}_id": about}, part=Part(1), **asked.moments
            )
            state = found[0] if found else None
            meanings = queries.meanings(connection, thing.report)
        whose = state.get("customer_id") if state is not None and kind in OF_ONE_CUSTOMER else None
        sections = self._sections(connection, keys, () if thing is None else thing.sections, about, asked, whose)
        about_it = {"subject": name, "customer_id": whose}
        findings = queries.rows_of(
            connection, keys, LISTS["findings"].report, about_it, part=_FIRST_ON_A_PAGE, **asked.moments
        )
        closed = queries.closed_findings(connection, about_it, part=_FIRST_ON_A_PAGE, **asked.moments)
        return self._page(
            "stream.html",
            asked,
            f"stream/{name}",
            name=name,
            kind=kind,
            about=about,
            state=state,
            meanings=meanings,
            sections=sections,
            findings=findings,
            closed=closed,
            trail=trail,
            more=len(events) > ROWS,
            behind=_behind(connection),
        )

    def _sections(
        self,
        connection: Connection[Any],
        keys: Keyring,
        sections: Sequence[Section],
        about: str,
        asked: Asked,
        whose: str | None = None,
    ) -> list[tuple[Section, list[Row]]]:
        """The rows of each section; `whose` is the customer of the thing, where all of them can only be theirs."""
        return [
            (
                section,
                queries.rows_of(
                    connection,
                    keys,
                    section.report,
                    {"customer_id": whose, section.column: about},
                    part=_FIRST_ON_A_PAGE,
                    **asked.moments,
                ),
            )
            for section in sections
        ]

    def blast(self, name: str, query: Mapping[str, str]) -> Page:
        """What rests on a disclosure, by its id or stream; who was told it, and which corrections are owed."""
        asked, disclosure_id = Asked.read(query), name.removeprefix("disclosure:")
        with self._snapshot() as connection:
            found = blast_radius(connection, identifier(disclosure_id), **asked.moments)
            behind = _behind(connection)
        if found is None:
            raise _absent(f"disclosure {disclosure_id}", asked)
        items = [
            item._asdict() | {f"{item.kind}_id": item.id} for item in found.items[(asked.page - 1) * ROWS :][: ROWS + 1]
        ]
        return self._page(
            "blast.html", asked, f"blast/disclosure:{disclosure_id}", found=found, items=items, behind=behind
        )

    def card(self, query: Mapping[str, str]) -> Page:
        """The scorecard of a period, which ends at the moment that a link asks as of."""
        asked, start, by = Asked.read(query), moment(query.get("from", "")), query.get("by") or None
        stop = moment(query.get("to", "")) or asked.as_of
        if by is not None and by not in get_args(By):
            raise Unclear(f"there is no card by {by!r}: {', '.join(get_args(By))}")
        if start is not None and stop is not None and start > stop:
            raise Unclear("the period begins later than it ends: nothing lies between them")
        with self._snapshot() as connection:
            measures = scorecard(connection, start=start, stop=stop, by=by, known_at=asked.known_at)  # type: ignore[arg-type]
            behind = _behind(connection)
        return self._page(
            "scorecard.html",
            asked,
            "scorecard",
            measures=measures[asked.part.offset :][: ROWS + 1],
            start=start,
            stop=stop,
            by=by,
            groups=get_args(By),
            behind=behind,
        )

    def event(self, leaf_index: int) -> Page:
        """One event: what was recorded, the bytes that are hashed, and under which checkpoint it can be proved."""
        with self._snapshot() as connection:
            row = _there(queries.event(connection, self.open_keyring(), leaf_index), leaf_index)
            signed = self._signed(connection)
        entry = row.pop("entry")
        del row["text" if row["words"] is not None else "words"]
        return self._page(
            "event.html",
            Asked(),
            f"event/{leaf_index}",
            row=row | {"data": facts(row["type"], row["data"])},
            entry=entry.decode(errors="replace"),
            leaf_hash=leaf_hash(entry).hex(),
            signed=signed,
        )

    def entry(self, leaf_index: int) -> bytes:
        """The bytes of an event that are hashed. Raises Absent."""
        with self._snapshot() as connection:
            entry: bytes = _there(queries.event(connection, queries.keyring(None), leaf_index), leaf_index)["entry"]
        return entry

    def proof(self, leaf_index: int) -> bytes:
        """The tlog-proof of an event. Raises Absent where no checkpoint covers it, NotSigned."""
        with self._snapshot() as connection:
            cursor = connection.cursor()
            for site in self.sites:
                note = site.checkpoint(cursor)
                if note is not None and leaf_index < Checkpoint.parse(Note.parse(note).text).size:
                    return proof_of(cursor, leaf_index, note).format().encode()
        raise Absent(f"event {leaf_index} is not under a checkpoint: ask again in a moment, or it is not there")

    def search(self, query: Mapping[str, str]) -> Page | str:
        """The address of the one thing of that name, or a page of all of them."""
        asked, question = Asked.read(query), query.get("q", "").strip()[:_LONGEST_QUESTION]
        found: list[str] = []
        if re.fullmatch(ID_PATTERN, question) is not None:
            with self._snapshot() as connection:
                found = [f"stream/{stream}" for stream in queries.streams_of(connection, SEARCHED, question)]
                if (
                    question.isdigit()
                    and len(question) < 18
                    and queries.event(connection, queries.keyring(None), int(question))
                ):
                    found.append(f"event/{int(question)}")
        if len(found) == 1:
            return asked.address(found[0])
        return self._page("search.html", asked, "search", question=question, found=found)

    def _signed(self, connection: Connection[Any]) -> dict[str, Any] | None:
        """The checkpoint that proofs lead to, and how many signatures it has."""
        note = self.sites[0].checkpoint(connection.cursor())
        if note is None:
            return None
        parsed = Note.parse(note)
        signed = Checkpoint.parse(parsed.text)
        return {
            "origin": signed.origin,
            "size": signed.size,
            "root": signed.root.hex(),
            "signatures": [signature.name for signature in parsed.signatures],
            "recoveries": [each.sentence for each in records(connection)],
        }

    @contextmanager
    def _snapshot(self) -> Iterator[Connection[TupleRow]]:
        """A connection in one transaction, which sees one state of the database."""
        with self.pool.connection() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    def _page(self, template: str, asked: Asked, path: str, *, behind: Sequence[str] = (), **about: Any) -> Page:
        shown: dict[str, Any] = {"cell": partial(cell, asked=asked), "most": ROWS, "behind": behind} | about
        return render(template, asked=asked, path=path, **shown)


def _behind(connection: Connection[Any]) -> list[str]:
    """Why a page may not have all that was recorded, a sentence each. Raises NotInstalled."""
    found = standing(connection, ALL)
    old = [each.name for each in found if each.outdated]
    said = [f"answered as before an update of the program: {outdated(*old)}"] if old else []
    return said + [
        f"projection {each.name} stopped at leaf {each.stopped_at}: what was recorded since is not in its answers, see "
        "`promise-ledger health`"
        for each in found
        if each.stopped_at is not None and not each.outdated
    ]


def _there(row: Row | None, leaf_index: int) -> Row:
    if row is None:
        raise Absent(f"there is no event {leaf_index}: the log is not that long")
    return row


def _absent(thing: str, asked: Asked) -> Absent:
    return Absent(f"there is no {thing}" if asked.now else f"there was no {thing} then")


def identifier(text: str) -> str:
    """`text`, which may be an id. Raises Absent."""
    if re.fullmatch(ID_PATTERN, text) is None:
        raise Absent(f"{text!r} is no id: {WANTED[ID_PATTERN]}")
    return text
