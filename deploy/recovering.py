"""`promise-ledger recover`: gathers what anybody kept of a log, and has it diagnosed or recovered."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Any

import nats.errors
import psycopg
from psycopg.rows import tuple_row

from consumers import lost
from consumers.lost import Command
from deploy.copies import published, read_checkpoint, site
from ledger.clock import Clock, system_clock
from ledger.domain.erasures import EraseSubject, ErasureRequested
from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.receipts import ProvenEvent
from ledger.recovery.copies import Copies, Missing, find_missing, read_entry
from ledger.recovery.diagnosis import GUARD, Found, Guard
from ledger.recovery.evidence import Kept, NotRecovered, Unrelated, keys_of, opened, read_stored, stored_kept
from ledger.recovery.records import ended_logs, records
from ledger.recovery.steps import Recovery, refuse_running
from ledger.settings import MAX_BATCH, Settings
from ledger.storage import keys
from ledger.storage.guard import GuardDamaged, read_guard
from ledger.storage.log_keys import KeyRange, read_rotations, refuse_replaced
from ledger.storage.recorder import authenticator, refuse_another_digest_key
from ledger.storage.sql import QUERIES
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Note, Signer, open_note
from ledger.verification.report import read_any_moment
from projections import reports
from projections.rebuilding import rebuild
from projections.runner import status
from projections.versions import NotInstalled

Connection = psycopg.Connection[Any]
_HEAD = "SELECT origin FROM ledger.head"
_THERE = "SELECT to_regclass('ledger.events') IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Case:
    """One log and all that was found out about it. `lost`: commands with a receipt for events that are not here, and
    these; `hashes`: of leaves, as receipts prove them.
    """

    settings: Settings
    connection: Connection
    secrets: keys.Secrets
    signer: Signer
    found: Found
    lost: dict[Command, Sequence[ProvenEvent]]
    hashes: dict[int, bytes]
    sites: Sequence[Copies]

    def missing(self, *, strict: bool = True) -> Missing:
        """The entries behind those of the database, from the sites and, behind these, from the stream of events."""
        copies = [*self.sites]
        if self.settings.broker_url is None:
            return find_missing(self.found, copies, strict=strict)
        with _queue():
            said = lost.read_entries(self.settings.broker_url, self.found.stored.size, self.signer.name)
        queue = published(said, self.hashes)
        return replace(find_missing(self.found, [*copies, queue], strict=strict), left_out=queue.left_out)

    def lost_erasures(self, size: int) -> dict[int, EraseSubject]:
        """The orders of erasures that took effect behind the first `size` events, by leaf: those whose events are on
        the queue and proven by receipts, as many as one append takes beside the record of the recovery.
        """
        if self.settings.broker_url is None:
            return {}
        with _queue():
            said = lost.read_entries(self.settings.broker_url, size, self.signer.name)
        found = {}
        for leaf_index in sorted(said.keys() & self.hashes):
            for state in said[leaf_index]:
                if leaf_hash(state) == self.hashes[leaf_index]:
                    entry = read_entry(leaf_index, state)
                    if isinstance(event := entry.event, ErasureRequested):
                        found[leaf_index] = EraseSubject(
                            actor=entry.happened.actor,
                            occurred_at=entry.happened.occurred_at,
                            customer_id=event.customer_id,
                            grounds=event.grounds,
                        )
        return dict(islice(found.items(), MAX_BATCH - 1))

    def recovery(self, grounds: str, clock: Clock = system_clock) -> Recovery:
        """The steps, where no service is at work."""
        refuse_running(self.connection)
        return Recovery(self.connection, self.settings, self.secrets, self.signer, self.found, grounds, clock)

    def ask_again(self) -> None:
        """The senders of what is lost are asked for it; those of commands that were brought back are not."""
        assert self.settings.broker_url is not None
        with _queue():
            lost.ask_again(self.settings.broker_url, self.lost)


@contextmanager
def opened_case(settings: Settings, *, kept: Sequence[str] = (), sites: Sequence[str] = ()) -> Iterator[Case]:
    """The log of `settings` with everything that was kept of it: by itself, at the places `kept`, by `sites`, and on
    the queue, where `settings` name one. Raises NotRecovered where one of them cannot be read.
    """
    assert settings.database_url is not None
    secrets = keys.secrets_of(settings)
    with psycopg.connect(settings.database_url, autocommit=True, row_factory=tuple_row) as connection:
        read_any_moment(connection)
        if connection.execute(_THERE).fetchone() != (True,):
            raise NotRecovered("the database has no tables of a ledger: run `promise-ledger migrate`, then this again")
        yield _case(settings, connection, secrets, kept, sites)


def _case(
    settings: Settings, connection: Connection, secrets: keys.Secrets, places: Sequence[str], sites: Sequence[str]
) -> Case:
    unfinished, signer = _signer(settings, connection, secrets, _guard(settings)[1])
    known = keys_of(connection, signer.verifier)
    said: list[Kept | Unrelated] = []
    opened_sites = [site(place) for place in sites]
    outside = {each.place: each.note for each in opened_sites} | {place: _read(place) for place in places}
    for place, each in outside.items():
        _refuse_damaged(place, each, known)
        said.append(opened(each, known, f"the checkpoint of {place}", own=False))
    said += stored_kept(connection, known)
    receipts = lost.Receipts((), {}, {})
    if settings.broker_url is not None:
        receipts = _receipts(settings.broker_url, connection, signer)
        said += [opened(newest, known, "the newest receipt on the queue", own=False) for newest in receipts.newest]
    guard, note = _guard(settings)  # behind all that was signed before, ahead of the events: a service may be at work
    if note is not None:
        said.insert(0, opened(note, known, GUARD, own=True))
        guard = "foreign" if isinstance(said[0], Unrelated) else guard
    kept = [each for each in said if isinstance(each, Kept)]
    stored = read_stored(connection, kept, authenticator(secrets.digest))
    earlier = {each.event.old_origin for each in stored.recoveries} if stored.authentic else set()
    found = Found(
        stored=stored,
        guard=guard,
        kept=kept,
        unrelated=[each for each in said if isinstance(each, Unrelated)],
        lost=len(receipts.lost),
        not_looked_at=[] if settings.broker_url is not None else ["receipts and events on the queue"],
        unfinished=unfinished,
        replaced=_replaced(connection, signer) if unfinished is None and stored.authentic else None,
        ended=signer.name if unfinished is None and signer.name in earlier - {stored.origin} else None,
        other_keys=_other_keys(connection, secrets),
    )
    return Case(settings, connection, secrets, signer, found, receipts.lost, receipts.hashes, opened_sites)


def _replaced(connection: Connection, signer: Signer) -> str | None:
    try:
        refuse_replaced(connection.cursor(), signer.verifier)
    except keys.KeyProblem as problem:
        return str(problem)
    return None


def _other_keys(connection: Connection, secrets: keys.Secrets) -> list[str]:
    """Why nothing can be sealed, or no command known again, with the keys that are here."""
    keyring = Keyring(secrets.kek, reread=secrets.key_encryption_keys)
    found = []
    for refuse in (
        keyring.refuse_another,
        lambda cursor: refuse_another_digest_key(cursor, authenticator(secrets.digest)),
    ):
        try:
            refuse(connection.cursor())
        except (keys.KeyProblem, KeyUnwrapFailed) as problem:
            found.append(str(problem))
    return found


def _guard(settings: Settings) -> tuple[Guard, bytes | None]:
    try:
        note = read_guard(settings.guard_path)
    except GuardDamaged:
        return "damaged", None
    return ("missing" if note is None else "there"), note


def _signer(
    settings: Settings, connection: Connection, secrets: keys.Secrets, note: bytes | None
) -> tuple[str | None, Signer]:
    """(the name under which a log that ended is to go on, where that is not finished; what it was signed with).

    The name is the guard's, which no owner of the database can change; that of the database's head where there is no
    guard, or one of a log that ended and that keys/log did not sign: a file from before `anew`.
    """
    head = connection.execute(_HEAD).fetchone()
    recoveries = records(connection)
    last = recoveries[-1].event if recoveries else None
    renewed = (settings.keys_dir / "log.new", settings.guard_path.with_name("guard.new"))
    if last is not None and last.kind == "anew" and head is not None and any(map(Path.exists, renewed)):
        assert last.old_origin is not None
        return str(head[0]), Signer(last.old_origin, secrets.log)
    origin = settings.origin if head is None else str(head[0])
    if note is not None:
        with suppress(TlogError):
            guarded = Signer(Checkpoint.parse(Note.parse(note).text).origin, secrets.log)
            ours = isinstance(opened(note, [KeyRange(guarded.verifier, 0, None)], GUARD, own=True), Kept)
            if ours or guarded.name not in {each.event.old_origin for each in recoveries}:
                return None, guarded
    return None, Signer(origin, secrets.log)


def _read(place: str) -> bytes:
    """The note that somebody kept there, of whatever log."""
    try:
        return read_checkpoint(place)
    except (OSError, HTTPException) as error:
        raise NotRecovered(f"{place}: {error}") from error


def _refuse_damaged(place: str, note: bytes, keys: Sequence[KeyRange]) -> None:
    """Raises NotRecovered where what somebody kept there was damaged. It must not be left out: it may be the only
    checkpoint that shows how far this log was signed.
    """
    try:
        parsed = Note.parse(note)
        Checkpoint.parse(parsed.text)
        named = {(signature.name, signature.key_id) for signature in parsed.signatures}
        if ours := [each.verifier for each in keys if (each.verifier.name, each.verifier.key_id) in named]:
            open_note(note, ours)
    except TlogError as error:
        raise NotRecovered(f"{place} is no signed checkpoint, or it was damaged: {error}") from error


def _receipts(broker_url: str, connection: Connection, signer: Signer) -> lost.Receipts:
    """What the receipts on the queue say, of this log and of those that it goes on from."""
    earlier = [each.old for each in read_rotations(connection.cursor())]
    verifiers = [signer.verifier, *(each.verifier for each in ended_logs(records(connection))), *earlier]
    with _queue():
        return lost.read_receipts(broker_url, verifiers, lambda *leaf: _holds(connection, *leaf))


@contextmanager
def _queue() -> Iterator[None]:
    """Raises NotRecovered where the queue is away: what it would show must not be left out in silence."""
    try:
        yield
    except (OSError, nats.errors.Error) as error:
        raise NotRecovered(
            f"the queue does not answer ({type(error).__name__}), and its receipts say what was signed: start it, or "
            "go on with --without-queue"
        ) from error


def _holds(connection: Connection, leaf_index: int, expected: bytes) -> bool:
    rows = connection.execute(QUERIES["entries"], {"ids": [leaf_index + 1]}).fetchall()
    return bool(rows) and leaf_hash(bytes(rows[0][2])) == expected


def still_lost(case: Case) -> Case:
    """The case with those commands alone that the log, as it is now, does not hold."""
    assert case.settings.broker_url is not None
    return replace(case, lost=_receipts(case.settings.broker_url, case.connection, case.signer).lost)


def carried_on(case: Case) -> int:
    """How many events of the log that ended last go on in this one."""
    return ended_logs(records(case.connection))[-1].size


def rebuild_ahead(case: Case) -> list[str]:
    """Read tables that know of more events than go on are derived again; which they were.

    A database that was empty has none of them until the next `up` or `migrate`.
    """
    assert case.settings.database_url is not None
    ahead: set[str] = set()
    size = carried_on(case)
    with suppress(NotInstalled):
        ahead = {each.name for each in status(case.settings.database_url) if each.position > size}
    definitions = [definition for definition in reports.ALL if definition.name in ahead]
    if definitions:
        rebuild(case.settings.database_url, keys.secrets_of(case.settings), definitions)
    return sorted(ahead)
