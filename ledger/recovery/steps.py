"""The recoveries, step by step; what a crash leaves is said at each step. All is checked before anything is written.

guard    1. log.recovered is committed             before: nothing happened. After: the guard is missing as it was,
                                                   and the same again goes on
         2. the guard is written, the head signed
entries  1. events, inbox, keys, tiles, head and   before: nothing happened. After: the next start signs the head
            log.recovered are committed
         2. the head is signed
anew     1. keys/log.new                           nothing happened
         2. as above, the log's new name, lost    nobody can sign: the guard is of the old name. From here on the
            erasures that are ordered again        same again goes on
         3. signed with the new key, in guard.new
         4. keys/log is log.<key id>, log.new log
         5. guard is guard.<key id>, guard.new guard
                                                   the same again does what comes behind: tables, senders
"""

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
from psycopg import Connection

from ledger.app import Ledger, Submission
from ledger.clock import Clock
from ledger.domain.erasures import EraseSubject
from ledger.domain.recoveries import Kind, RecoverLog
from ledger.erasure.keyring import Keyring
from ledger.receipts import Receipt
from ledger.recovery.copies import Missing, refuse_rewritten
from ledger.recovery.diagnosis import Found, ended, later_key
from ledger.recovery.evidence import Kept, NotRecovered, Unrelated, opened
from ledger.recovery.records import ended_logs
from ledger.recovery.rows import BEGINNING_OF_TIME, Restored, restored
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import ForkGuard, flush_directory, put_aside
from ledger.storage.log_keys import KeyRange
from ledger.storage.recorder import Append, LogRecorder, authenticator, open_datastore, refuse_another_digest_key
from ledger.storage.sql import QUERIES
from ledger.tlog.note import Signer, Verifier

SOURCE: Final = "ledger-recovery"
"""The source of what a recovery says; no sender may use it."""


def refuse_running(connection: Connection[Any]) -> None:
    """Raises NotRecovered where a part that writes was seen at work within the last seconds."""
    for part, seconds in connection.execute(QUERIES["at_work"]).fetchall():
        raise NotRecovered(
            f"{part} was at work {seconds:.0f} s ago: stop the services that write, and 5 s later run this again"
        )


def _submission(command: RecoverLog | EraseSubject) -> Submission:
    canonical = orjson.dumps(command.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    return Submission(SOURCE, f"recover-{os.urandom(16).hex()}", command, canonical)


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovery of what was `found`, on a `connection` of the owner's; each method may run again after a crash."""

    connection: Connection[Any]
    settings: Settings
    secrets: keys.Secrets
    signer: Signer
    """What the log has been signed with so far."""
    found: Found
    grounds: str
    clock: Clock

    def guard(self) -> None:
        """The guard holds the largest checkpoint known, and the log says so."""
        newest = self._agreed()
        if self.found.guard_fits:
            raise NotRecovered("the fork guard is whole, and nothing larger was signed: nothing is to be recovered")
        if newest.size > self.found.stored.size:
            raise NotRecovered(
                f"{newest.where} covers {newest.size} events and the database holds {self.found.stored.size}: the "
                "guard is not all that is amiss; `promise-ledger recover` says what fits"
            )
        refuse_another_digest_key(self.connection.cursor(), authenticator(self.secrets.digest))
        self._carry_on(self._command("guard", newest, None), newest, lambda append: None)

    def entries(self, missing: Missing) -> None:
        """The database holds what was signed again, and the log says which words were lost."""
        newest = self._agreed()
        if newest.size <= self.found.stored.size:
            raise NotRecovered("nobody kept a checkpoint over more events than there are: no entries are missing")
        if missing.size < newest.size:
            raise NotRecovered(
                f"the copies lead to {missing.size} of the {newest.size} events that {newest.where} covers: nothing "
                f"can be signed under this name until the entries from leaf {missing.size} on are found"
            )
        self._begin_head()
        back = self._restored(missing)

        def within(append: Append) -> None:
            back.put_back(append)
            append.cursor.execute(QUERIES["rename_log"], {"origin": self.signer.name})  # a copy from before `anew`

        self._carry_on(self._command("entries", newest, back), newest, within)

    def anew(self, origin: str, missing: Missing, erasures: Sequence[EraseSubject] = ()) -> str:
        """The log goes on as `origin`, under a new key, and says what it lost; returns the new verifier key.

        `erasures`, at most 499, were lost: they are ordered again before anybody can send the words again.
        """
        refuse_rewritten(self.found.stored)
        if self.found.unfinished == origin:
            return self.finish(origin, ended_logs(self.found.stored.recoveries)[-1].verifier)
        self._refuse_unfinished()
        if self._went_on(origin):
            return self.signer.vkey
        stored = self.found.stored
        if origin in {self.signer.name, stored.origin, *(each.event.old_origin for each in stored.recoveries)}:
            raise NotRecovered(f"the log is or was called {origin}: one that goes on anew needs another name")
        self._rename(origin, missing, erasures)
        return self.finish(origin, self.signer.verifier)

    def _went_on(self, origin: str) -> bool:
        """Every step was taken, and nobody has appended since: what comes behind them may not be done yet."""
        head = self.connection.execute(QUERIES["read_head"]).fetchone()
        last = self.found.stored.recoveries[-1:]
        whole = origin == self.signer.name and bool(last) and last[0].event.kind == "anew"
        return whole and head is not None and head[2] == last[0].recorded_at

    def finish(self, origin: str, old: Verifier) -> str:
        """Steps 3 to 5 after the log signed under `old`; returns the new verifier key."""
        directory, guard = self.settings.keys_dir, self.settings.guard_path
        fresh, archived = guard.with_name("guard.new"), old.key_id.hex()
        if Signer(old.name, self.secrets.log).vkey == old.vkey:
            with self._ledger(Signer(origin, keys.new_log_key(directory)), fresh) as ledger:
                ledger.begin()
            keys.replace_log_key(directory, f"log.{archived}")
        if fresh.exists():
            if guard.exists():
                put_aside(guard, archived)
            fresh.replace(guard)
            flush_directory(guard.parent)
        return Signer(origin, keys.secrets_of(self.settings).log).vkey

    def _rename(self, origin: str, missing: Missing, erasures: Sequence[EraseSubject]) -> None:
        """Steps 1 and 2."""
        self._refuse_guard_of_another_log()
        self._refuse_unvouched(missing)
        self._refuse_left_behind(missing.size)
        self._begin_head()
        stored = self.found.stored
        back = self._restored(missing, [each.customer_id for each in erasures])
        newest = self.found.newest or Kept(stored.size, stored.frontier.root(), b"", "the database", own=True)
        signer = Signer(origin, keys.new_log_key(self.settings.keys_dir))
        fresh = self.settings.guard_path.with_name("guard.new")
        fresh.unlink(missing_ok=True)

        def within(append: Append) -> None:
            back.put_back(append)
            append.cursor.execute(QUERIES["rename_log"], {"origin": origin})
            append.cursor.execute(QUERIES["announce_again"], {"size": missing.size})

        with self._ledger(signer, fresh) as ledger:
            again = map(_submission, erasures)
            ledger.append([self._command("anew", newest, back), *again], within=self._alone(within))

    def _refuse_unvouched(self, missing: Missing) -> None:
        """Raises NotRecovered where nobody vouches for the last events, or the key is not ours to replace."""
        held, path = keys.log_key(self.settings), self.settings.keys_dir / "log"
        if held is None or held.where != str(path):
            raise NotRecovered(f"the signing key is not in {path}: another one can be made in its place only there")
        signed = any(
            each.size == missing.size for each in self.found.kept if each not in self.found.stored.contradicted
        )
        if missing.size and not signed and not self.found.stored.authentic:
            raise NotRecovered(
                "nobody signed the last events that are stored, and no service of this log wrote its head: they may "
                "have been appended or cut off by hand; restore a backup"
            )

    def _refuse_unfinished(self) -> None:
        """Raises NotRecovered where the log has a new name on record, under which alone its key may have signed."""
        if self.found.unfinished is not None:
            raise NotRecovered(
                f"the recovery of this log as {self.found.unfinished} began: finish that first, with `promise-ledger "
                f"recover anew --origin {self.found.unfinished}`"
            )

    def _refuse_guard_of_another_log(self) -> None:
        """Raises NotRecovered where a guard that keys/log did not sign names another log than the database: neither its
        name nor what would be said of that log is to be put on record.
        """
        if self.found.guard == "foreign" and self.signer.name != self.found.stored.origin:
            raise NotRecovered(
                f"the fork guard is of the log {self.signer.name} and of another key than keys/log: put the one of "
                "this log back, or move it away, then run this again"
            )

    def _refuse_left_behind(self, size: int) -> None:
        """Raises NotRecovered where rows of lost events are left: new events would meet them, and get their answers."""
        ((commands, texts, tiles),) = self.connection.execute(QUERIES["left_behind"], {"size": size}).fetchall()
        if commands or texts or tiles:
            raise NotRecovered(
                f"of events that nobody has, from leaf {size} on, {commands} commands, {texts} texts and {tiles} tiles "
                "are left in the database: its tail was cut off by hand. Restore a backup, or have a superuser remove "
                "these rows as well (docs/recovery.md)"
            )

    def _agreed(self) -> Kept:
        """The largest checkpoint known, where the events contradict none of all, and no other key signed a larger."""
        if self.found.beyond is not None:
            raise NotRecovered(f"{later_key(self.found.beyond)}; put the newer keys/log in place, or leave that out")
        self._refuse_unfinished()
        if self.found.ended is not None:
            raise NotRecovered(f"{ended(self.found)}: put the newer ones in place")
        self._refuse_guard_of_another_log()
        refuse_rewritten(self.found.stored)
        for each in self.found.stored.contradicted:
            raise NotRecovered(
                f"{each.where} was signed over other events than these: two services have signed with one key, and no "
                "recovery makes one log of them; `promise-ledger recover` says what fits"
            )
        if self.found.newest is None:
            raise NotRecovered("nobody kept a checkpoint of this log: give one with --against")
        return self.found.newest

    def _carry_on(self, submission: Submission, newest: Kept, within: Callable[[Append], None]) -> None:
        """Commit under the log's own name, see to the guard, sign."""
        path = self.settings.guard_path
        in_use = [KeyRange(self.signer.verifier, 0, None)]
        if not self.found.guard_fits and isinstance(opened(newest.note, in_use, newest.where, own=True), Unrelated):
            raise NotRecovered(
                f"{newest.where} is signed by an earlier key alone, and a fork guard has to be of the key in use: give "
                "a checkpoint from after the rotation with --against"
            )
        if self.found.guard in ("damaged", "foreign") and path.exists():
            put_aside(path, self.found.guard)
        with self._ledger(self.signer, path) as ledger:
            appended = ledger.append([submission], within=self._alone(within))
            if not self.found.guard_fits:
                guard = ForkGuard(path)
                with guard.locked():
                    guard.write(newest.note)
                guard.close()
            (outcome,) = ledger.answer(appended)
            assert isinstance(outcome, Receipt), "no rule refuses what was done in the same transaction"

    def _alone(self, within: Callable[[Append], None]) -> Callable[[Append], None]:
        """`within`, once the head lock is held and nobody has appended since it was looked at."""

        def checked(append: Append) -> None:
            stored = self.found.stored
            if append.head.size != (stored.head_size or 0):
                raise NotRecovered("somebody appends meanwhile: stop the services that write, then run this again")
            within(append)

        return checked

    def _restored(self, missing: Missing, customers: Sequence[str] = ()) -> Restored:
        keyring = Keyring(self.secrets.kek, reread=self.secrets.key_encryption_keys)
        return restored(self.connection, keyring, missing, customers)

    def _begin_head(self) -> None:
        """There is a head row to be locked. Where it was gone it says nothing yet, and nothing is signed over that."""
        begun = {"origin": self.signer.name, "recorded_at": BEGINNING_OF_TIME}
        self.connection.execute(QUERIES["begin_log"], begun)

    def _command(self, kind: Kind, newest: Kept, back: Restored | None) -> Submission:
        anew = kind == "anew"
        command = RecoverLog(
            actor=SOURCE,
            occurred_at=self.clock(),
            kind=kind,
            grounds=self.grounds,
            kept_size=self.found.stored.size,
            restored=0 if back is None else len(back.missing.hashes),
            texts_lost=0 if back is None else back.texts_lost,
            signed_size=newest.size,
            signed_root=base64.b64encode(newest.root).decode(),
            old_origin=self.signer.name if anew else None,
            old_vkey=self.signer.vkey if anew else None,
        )
        return _submission(command)

    @contextmanager
    def _ledger(self, signer: Signer, guard: Path) -> Iterator[Ledger]:
        """A ledger that was not started: whether this database may be signed is what was found out here."""
        assert self.settings.database_url is not None
        ledger = Ledger(
            LogRecorder(open_datastore(self.settings.database_url), authenticator(self.secrets.digest)),
            secrets=replace(self.secrets, log=signer.private_key),
            origin=signer.name,
            guard=ForkGuard(guard),
            clock=self.clock,
        )
        with ledger:
            yield ledger
