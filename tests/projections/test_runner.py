"""The runner: read tables are what the log makes them, whatever the batches, the runners and the faults."""

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import Cursor
from structlog.testing import capture_logs

from ledger.storage.keys import Secrets
from ledger.storage.signer import Fork
from projections import applying, runner, states, versions
from projections.applying import Applier, Stopped
from projections.followups import FOLLOWUPS
from projections.log import Batch, Log
from projections.promises import PROMISES
from projections.reports import ALL
from projections.runner import NAMES, Runner, rebuild, rebuild_all, status
from projections.versions import Definition, Fold, Outdated
from tests.projections.world import World, story, wait_for


def everything(world: World) -> dict[str, Any]:
    return {name: world.rows(name) for name in NAMES}


def positions(world: World) -> dict[str, int]:
    return {each.name: each.position for each in status(world.url)}


def breaking(definition: Definition, before: Callable[[Cursor[Any], Batch], None]) -> Definition:
    """The same projection, with `before` called on each batch ahead of its fold."""

    def start(cursor: Cursor[Any], secrets: Secrets) -> Fold:
        fold = definition.start(cursor, secrets)

        def both(cursor: Cursor[Any], batch: Batch) -> None:
            before(cursor, batch)
            fold(cursor, batch)

        return both

    return replace(definition, start=start)


def poison(definition: Definition, leaf_index: int) -> Definition:
    def refuse(_: Cursor[Any], batch: Batch) -> None:
        if batch.first <= leaf_index < batch.stop:
            raise ValueError("the words of a customer")

    return breaking(definition, refuse)


def with_poison(definition: Definition, leaf_index: int) -> list[Definition]:
    return [poison(each, leaf_index) if each is definition else each for each in ALL]


def test_live_equals_rebuilt_at_any_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "LIVE_BATCH", 17)
    monkeypatch.setattr(states, "REMEMBERED", 3)  # so that states are read back from their tables as well
    commands = story(world, 1, 240)
    chance = random.Random(1)
    for start in range(0, len(commands), 60):
        world.ledger.submit(commands[start : start + 60])
        Runner(world.url, world.secrets).catch_up(chance.randrange(start, start + 60))
        world.catch_up()
        live = everything(world)
        assert all(live["promises"].values())
        name = NAMES[start // 60]
        assert rebuild(world.url, world.secrets, name) == 2
        assert everything(world) == live
    assert len(world.rows("promises")["history"]) > 80


def test_one_batch_size_or_another_gives_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ledger.submit(story(world, 2, 120))
    world.catch_up()
    live = everything(world)
    monkeypatch.setattr(applying, "LIVE_BATCH", 1)
    rebuild_all(world.url, world.secrets, NAMES)
    assert everything(world) == live


@pytest.mark.parametrize("definition", ALL, ids=NAMES)
def test_poison_stops_its_own_projection_alone(world: World, definition: Definition) -> None:
    world.ledger.submit(story(world, 3, 60))
    with pytest.raises(Stopped) as caught:
        world.catch_up(with_poison(definition, 41))
    assert (caught.value.name, caught.value.leaf_index) == (definition.name, 41)
    assert positions(world) == {name: 41 if name == definition.name else 60 for name in NAMES}
    (stopped,) = [each for each in status(world.url) if each.stopped_at is not None]
    assert (stopped.name, stopped.stopped_at, stopped.lag_events) == (definition.name, 41, 19)
    assert stopped.reason is not None
    assert stopped.reason.startswith("ValueError in refuse")  # and not a word of what the event holds
    world.catch_up()
    assert all(each.stopped_at is None and each.lag_events == 0 for each in status(world.url))
    live = everything(world)
    rebuild(world.url, world.secrets, definition.name)
    assert everything(world) == live


def test_a_poisoned_runner_goes_on_with_the_others_and_stays_poisoned(world: World) -> None:
    world.ledger.submit(story(world, 3, 60))
    with running(world, with_poison(FOLLOWUPS, 5)):
        wait_for(lambda: positions(world) == dict.fromkeys(NAMES, 60) | {"followups": 5})
        world.make(90)
        wait_for(lambda: positions(world) == dict.fromkeys(NAMES, 61) | {"followups": 5})


def test_a_gap_in_the_log_is_not_read_past(world: World) -> None:
    world.ledger.submit(story(world, 4, 30))
    world.connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER append_only")
    world.connection.execute("DELETE FROM ledger.events WHERE notification_id = 12")
    with pytest.raises(Stopped):
        world.catch_up()
    assert {each.stopped_at for each in status(world.url)} == {11}
    assert {each.reason for each in status(world.url)} == {"leaf 11 is missing from the log"}


def test_an_entry_that_is_none_stops_everything_before_it(world: World) -> None:
    world.ledger.submit(story(world, 4, 30))
    world.connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER append_only")
    world.connection.execute("UPDATE ledger.events SET state = 'secret words' WHERE notification_id = 12")
    with pytest.raises(Stopped):
        world.catch_up()
    assert {each.position for each in status(world.url)} == {11}
    assert "secret" not in str(status(world.url))


def test_of_a_log_that_goes_on_as_another_one_nothing_is_remembered(world: World) -> None:
    """As after `recover anew`, which the read side need not be stopped for: the tables would say what is lost."""
    world.make(1)
    world.make(2)
    log = Log(world.connection_of_tuples())
    log.read(log.size() - 1, log.size())
    world.connection.execute(
        "SET session_replication_role = replica; UPDATE ledger.head SET origin = 'ledger.example/2';"
        "UPDATE ledger.events SET state = (SELECT state FROM ledger.events WHERE notification_id = 1)"
    )
    (entry,) = log.read(log.size() - 1, log.size()).entries
    assert entry.heading.stream == "promise:P-1"


def test_a_crash_between_batches_loses_and_repeats_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "LIVE_BATCH", 10)
    world.ledger.submit(story(world, 5, 60))

    class Crash(BaseException):
        pass

    def crash(_: Cursor[Any], batch: Batch) -> None:
        if batch.first == 30:
            raise Crash

    with pytest.raises(Crash):
        world.catch_up([breaking(each, crash) if each is PROMISES else each for each in ALL])
    assert positions(world) == dict.fromkeys(NAMES, 30) | {"texts": 40}
    world.catch_up()
    live = everything(world)
    rebuild_all(world.url, world.secrets, NAMES)
    assert everything(world) == live


def test_a_lost_connection_within_a_batch_is_nobodys_poison(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RECONNECT_SECONDS", 0.0)
    world.ledger.submit(story(world, 6, 60))
    times = []

    def cut(cursor: Cursor[Any], _: Batch) -> None:
        times.append(1)
        if len(times) == 1:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with running(world, [breaking(each, cut) if each is PROMISES else each for each in ALL]):
        wait_for(lambda: set(positions(world).values()) == {60})
    assert len(times) == 2
    assert all(each.stopped_at is None for each in status(world.url))


def test_it_listens_and_does_not_wait_for_the_poll(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 3600.0)
    world.make(1)
    with running(world, ALL) as stop:
        wait_for(lambda: set(positions(world).values()) == {1})
        world.make(2)
        wait_for(lambda: set(positions(world).values()) == {2})
        stop.set()
        world.make(3)


def test_it_polls_where_a_notification_was_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHANNEL", "nobody_notifies_this")
    with running(world, ALL):
        wait_for(lambda: listening(world))
        world.make(1)
        wait_for(lambda: set(positions(world).values()) == {1})


def test_it_waits_for_a_head_that_says_how_long_the_log_is(world: World) -> None:
    with psycopg.connect(world.url) as connection:
        connection.execute("ALTER TABLE ledger.head ALTER size DROP NOT NULL")
    world.make(1)
    world.tamper("UPDATE ledger.head SET size = NULL")
    with pytest.raises(Fork, match="the head of the log has no size: run `promise-ledger recover`"):
        world.catch_up()
    with capture_logs() as logs, running(world, ALL):
        wait_for(lambda: logs != [])
        world.tamper("UPDATE ledger.head SET size = 1")
        wait_for(lambda: set(positions(world).values()) == {1})
    assert [logs[0]["event"], logs[-1]["event"]] == ["projections.waiting", "no more: projections.waiting"]


def test_it_waits_for_the_read_side_to_be_installed(world: World) -> None:
    world.make(1)
    world.connection.execute("DROP SCHEMA projection CASCADE")
    with capture_logs() as logs, running(world, ALL):
        wait_for(lambda: logs != [])
        assert logs[0]["reason"] == "the read side does not exist yet: run `promise-ledger migrate`"
        for name in NAMES:
            world.connection.execute(f"DROP SCHEMA IF EXISTS read_{name}_v1 CASCADE".encode())
        runner.install(world.url)
        wait_for(lambda: set(positions(world).values()) == {1})


def test_two_runners_take_turns(world: World) -> None:
    """Staged: the second asks for the version's row while the first has applied its batch and not committed."""
    world.ledger.submit(story(world, 7, 50))
    with versions.connect(world.url, "one") as one, versions.connect(world.url, "two") as two:
        first = Applier(one, Log(world.connection_of_tuples()), world.secrets)
        second = Applier(two, Log(world.connection_of_tuples()), world.secrets)
        applied: list[int] = []
        other = threading.Thread(target=lambda: applied.append(second.advance(PROMISES, 50)))
        with one.transaction():
            assert first.advance(PROMISES, 30) == 30
            other.start()
            wait_for(lambda: waiting(world) != [])
            assert all("FROM projection.versions" in query for query in waiting(world))
        other.join()
        assert applied == [20]  # went on where the first one stopped
        assert first.advance(PROMISES, 50) == 0
        for number in range(8):
            world.tell("promise.read_back", 60, promise_id=f"P-{number}", confirmed=True)
        assert first.advance(PROMISES, 58) == 8  # its memory was of 30 leaves: it began anew
    live = world.rows("promises")
    rebuild(world.url, world.secrets, "promises")
    assert world.rows("promises") == live


def test_a_rebuild_that_dies_leaves_the_old_version_and_the_next_one_clears_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ledger.submit(story(world, 8, 60))
    world.catch_up()
    live = everything(world)

    def die(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(world.url, world.secrets, "promises", die)
    assert schemas(world, "promises") == ["read_promises_v1", "read_promises_v2"]
    assert everything(world) == live
    assert [each.version for each in status(world.url) if each.name == "promises"] == [1]
    assert rebuild(world.url, world.secrets, "promises") == 2
    assert schemas(world, "promises") == ["read_promises_v2"]
    assert everything(world) == live
    assert len(world.ask("SELECT * FROM audit.promises")) == len(live["promises"]["promises"])


def test_a_runner_follows_the_switch(world: World) -> None:
    with versions.connect(world.url, "one") as one:
        world.ledger.submit(story(world, 9, 30))
        applier = Applier(one, Log(world.connection_of_tuples()), world.secrets)
        assert applier.advance(PROMISES, 30) == 30
        rebuild(world.url, world.secrets, "promises")
        world.make(92)
        assert applier.advance(PROMISES, 31) == 1
    assert world.ask("SELECT 1 FROM audit.promises WHERE promise_id = 'P-92'")


def test_the_switch_never_goes_back(world: World) -> None:
    """The live version moved on while the new one was filled: the new one is as far when it is shown."""
    world.ledger.submit(story(world, 10, 40))
    world.catch_up()

    numbers = iter([93, 94])  # one while it is filled, one while it is filled with what came meanwhile

    def grow(done: int, total: int) -> None:
        world.make(next(numbers))
        world.catch_up()

    rebuild(world.url, world.secrets, "promises", grow)
    assert positions(world)["promises"] == 42
    assert world.ask("SELECT 1 FROM audit.promises WHERE promise_id = 'P-94'")


def test_tables_of_another_release_are_not_written_to(world: World) -> None:
    world.make(1)
    world.connection.execute("UPDATE projection.versions SET digest = 'older' WHERE name = 'promises'")
    assert runner.install(world.url) == ["promises"]
    with pytest.raises(Stopped, match="promise-ledger rebuild promises"):
        world.catch_up()
    assert positions(world) == dict.fromkeys(NAMES, 1) | {"promises": 0}
    assert [each.reason for each in status(world.url) if each.stopped_at == 0] == [
        "the tables of promises were made by another release: run `promise-ledger rebuild promises`"
    ]
    rebuild(world.url, world.secrets, "promises")
    assert set(positions(world).values()) == {1}


def test_views_that_ask_for_what_older_tables_lack_wait_for_their_rebuild(world: World) -> None:
    world.make(1)
    world.catch_up()
    meant = world.ask("SELECT * FROM audit.scorecard()")
    world.connection.execute("ALTER VIEW audit.promise_history RENAME COLUMN moved_to TO moved")
    world.connection.execute("UPDATE projection.versions SET digest = 'older' WHERE name = 'promises'")
    assert runner.install(world.url) == ["promises"]
    with pytest.raises(Outdated, match="rebuild promises`"):
        rebuild(world.url, world.secrets, "scorecard")
    assert rebuild(world.url, world.secrets, "promises") == 2
    assert runner.install(world.url) == []
    assert world.ask("SELECT * FROM audit.scorecard()") == meant


def test_a_dump_that_left_the_read_tables_out_is_made_whole_again(world: World) -> None:
    world.make(1)
    world.catch_up()
    before = world.ask("SELECT * FROM audit.promises")
    for name in NAMES:
        world.connection.execute(f"DROP SCHEMA read_{name}_v1 CASCADE".encode())
    assert runner.install(world.url) == []
    assert set(positions(world).values()) == {0}
    world.catch_up()
    assert world.ask("SELECT * FROM audit.promises") == before


def test_install_twice_changes_nothing(world: World) -> None:
    world.make(1)
    world.catch_up()
    before = world.ask("SELECT * FROM projection.versions ORDER BY name")
    assert runner.install(world.url) == []
    assert world.ask("SELECT * FROM projection.versions ORDER BY name") == before
    assert len(world.ask("SELECT * FROM audit.promises")) == 1


@pytest.mark.parametrize("mend", ["install", "rebuild"])
def test_a_release_that_changed_columns_makes_the_views_anew(world: World, mend: str) -> None:
    world.make(1)
    world.catch_up()
    views = "SELECT relname, relacl FROM pg_class WHERE relnamespace = 'audit'::regnamespace ORDER BY 1"
    meant = world.ask(views)
    world.connection.execute(
        "DROP VIEW audit.texts CASCADE; "
        "CREATE VIEW audit.texts AS SELECT text, leaf_index, 1 AS old FROM read_texts_v1.texts"
    )
    if mend == "install":
        assert runner.install(world.url) == []
    else:
        world.connection.execute("UPDATE projection.versions SET digest = 'older' WHERE name = 'texts'")
        assert rebuild(world.url, world.secrets, "texts") == 2
    assert world.ask(views) == meant
    assert world.ask("SELECT text FROM audit.outstanding_promises") == [{"text": "The router 1 comes."}]


def test_without_a_read_side_it_says_what_to_do(database: str) -> None:
    with pytest.raises(versions.NotInstalled, match="promise-ledger migrate"):
        status(database)


def schemas(world: World, name: str) -> list[str]:
    rows = world.ask("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s ORDER BY 1", f"read\\_{name}\\_v%")
    return [row["nspname"] for row in rows]


def waiting(world: World) -> list[str]:
    """The statements of those who wait for a lock."""
    return [row["query"] for row in world.ask("SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'")]


def listening(world: World) -> bool:
    return world.ask("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND state = 'idle'") != []


class running:
    """A runner in a thread of its own, stopped at the end; gives the event that stops it."""

    def __init__(self, world: World, definitions: Any) -> None:
        self._stop = threading.Event()
        self._runner = Runner(world.url, world.secrets, definitions)
        self._thread = threading.Thread(target=self._runner.run, args=(self._stop,))
        self._world = world

    def __enter__(self) -> threading.Event:
        self._thread.start()
        return self._stop

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with psycopg.connect(self._world.url, autocommit=True) as connection:
            connection.execute("NOTIFY events")  # wakes it, whatever the poll is
        self._thread.join(30)
        assert not self._thread.is_alive()
