"""Erasures that wait for whoever can still look back: for whom, what goes on meanwhile, and what they count."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from consumers import deadletters, erasing
from deploy.pack import verify_pack
from deploy.pack.publishing import export_pack
from deploy.pack.selecting import Wanted
from ledger.erasure.eraser import NotErased
from tests.erasure.conftest import Erasing, until


def looking(url: str) -> Connection[Any]:
    """A connection whose transaction sees the database as it is now, until it is closed."""
    connection = psycopg.connect(url)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.execute("SELECT size FROM ledger.head")
    return connection


def test_space_is_not_waited_for_while_somebody_reads_for_long(told: Erasing) -> None:
    assert told.erase() == "recorded"
    eraser = told.eraser()
    with psycopg.connect(told.url) as reader:
        reader.execute("SELECT * FROM ledger.customer_keys")
        with pytest.raises(NotErased, match="long reader"):
            eraser.round()
        assert told.left() == {}
        assert told.completions() == []
    assert eraser.round() == 1


def test_an_erasure_is_not_completed_while_somebody_can_still_look_back(told: Erasing) -> None:
    """Whoever began before, reading something else, keeps the deleted rows in the files, and can even ask for them."""
    with looking(told.url) as before:
        assert told.erase() == "recorded"
        eraser = told.eraser()
        with pytest.raises(NotErased, match="long reader"):
            eraser.round()
        assert (told.left(), told.completions()) == ({}, [])
        before.close()
        assert eraser.round() == 1
        told.connection.execute("CHECKPOINT")
        read = "SELECT pg_read_binary_file(pg_relation_filepath(%s)) AS bytes"
        (row,) = told.ask(read, "read_texts_v1.texts")
        assert b"It snows." not in row["bytes"]


def test_an_erasure_does_not_wait_for_whom_only_a_later_one_waits_for(told: Erasing) -> None:
    """Else none of them would be completed where an order comes more often than a long report ends."""
    first = looking(told.url)
    assert told.erase("C-1") == "recorded"
    eraser = told.eraser()
    with pytest.raises(NotErased, match="long reader"):
        eraser.round()
    with looking(told.url):
        assert told.erase("C-2") == "recorded"
        with pytest.raises(NotErased, match="long reader"):
            eraser.round()
        first.close()
        assert eraser.round() == 1
        assert [each["through_leaf"] for each in told.completions()] == [told.order("C-1").leaf_index]
        with pytest.raises(NotErased, match="long reader"):
            eraser.round()
    assert eraser.round() == 1
    assert len(told.completions()) == 2


def test_dead_letters_that_were_removed_before_an_erasure_had_to_wait_are_counted(
    told: Erasing, no_letters: None
) -> None:
    told.bury(b'{"data":{"customer_id":"C-1"}')
    with looking(told.url):
        assert told.erase() == "recorded"
        eraser = told.eraser()
        with pytest.raises(NotErased, match="long reader"):
            eraser.round()
        assert deadletters.dead_letters(told.broker_url) == []
        told.bury(b'{"data":{"promise_id":"P-1"}')
    assert eraser.round() == 1
    assert [each["letters"] for each in told.completions()] == [2]


def test_an_erasure_that_waits_writes_no_table_anew_and_nobody_waits_behind_it(told: Erasing) -> None:
    """It may wait for hours and looks every few seconds: of 200,000 customers a copy of the keys is 30 MB of WAL."""
    file = "SELECT pg_relation_filenode('ledger.customer_keys') AS number"
    assert told.erase() == "recorded"
    with looking(told.url), psycopg.connect(told.url) as reader:
        before = told.ask(file)
        reader.execute("SELECT * FROM ledger.customer_keys")
        eraser = told.eraser()
        for _ in range(2):
            with pytest.raises(NotErased, match="long reader"):
                eraser.round()
        reader.close()
        with pytest.raises(NotErased, match="long reader"):
            eraser.round()
        assert told.ask(file) == before
    assert eraser.round() == 1
    assert told.ask(file) != before


def test_an_erasure_that_waits_looks_through_the_dead_letters_before_and_after(
    told: Erasing, no_letters: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not every few seconds: 10,000 of them take eight, and a pass over the log goes with it."""
    looks: list[int] = []
    forget = deadletters.forget

    def counted(*asked: Any, **after: int) -> Any:
        looks.append(len(looks))
        return forget(*asked, **after)

    monkeypatch.setattr(deadletters, "forget", counted)
    assert told.erase() == "recorded"
    with looking(told.url):
        eraser = told.eraser()
        for _ in range(3):
            with pytest.raises(NotErased, match="long reader"):
                eraser.round()
            assert looks == [0]
        told.bury(b'{"data":{"promise_id":"P-1"}')
    assert eraser.round() == 1
    assert deadletters.dead_letters(told.broker_url) == []


def test_a_pack_that_is_being_made_has_its_name_before_the_erasure_is_completed(
    told: Erasing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words were read before the order: nobody finds it later and thinks that it was made afterwards."""
    eraser, check, pack = told.eraser(), verify_pack.check, tmp_path / "pack"

    def meanwhile(directory: str, vkey: str | None) -> verify_pack.Pack:
        assert told.erase() == "recorded"
        with pytest.raises(NotErased, match="long reader"):
            eraser.round()
        assert not pack.exists()
        return check(directory, vkey)

    monkeypatch.setattr(verify_pack, "check", meanwhile)
    told.ledger.start()
    assert export_pack(told.url, told.secrets, pack, Wanted("customer", "C-1")).texts > 0
    assert (told.left(), told.completions()) == ({}, [])
    assert eraser.round() == 1
    monkeypatch.undo()
    assert export_pack(told.url, told.secrets, pack, Wanted("customer", "C-1")).texts == 0


def test_a_pack_that_was_ended_so_that_an_erasure_need_not_wait_never_appears(
    told: Erasing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eraser, check, pack = told.eraser(), verify_pack.check, tmp_path / "pack"
    others = "pid <> pg_backend_pid() AND datname = current_database() AND application_name <> 'promise-ledger eraser'"

    def meanwhile(directory: str, vkey: str | None) -> verify_pack.Pack:
        assert told.erase() == "recorded"
        shown = check(directory, vkey)
        told.ask(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND {others}"
        )
        assert eraser.round() == 1
        return shown

    monkeypatch.setattr(verify_pack, "check", meanwhile)
    told.ledger.start()
    with pytest.raises(psycopg.OperationalError):
        export_pack(told.url, told.secrets, pack, Wanted("customer", "C-1"))
    assert list(tmp_path.iterdir()) == []


def test_an_erasure_waits_for_who_began_before_and_not_for_who_begins_meanwhile(
    told: Erasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else reports that overlap would put it off for ever."""
    monkeypatch.setattr(erasing, "RETRY_SECONDS", 0.01)

    async def story() -> None:
        async with told.at_work() as progress:
            await until(lambda: progress.failure)
            with looking(told.url):
                before.close()
                await until(lambda: progress.completed)

    with looking(told.url) as before:
        assert told.erase() == "recorded"
        asyncio.run(asyncio.wait_for(story(), 60))


def test_late_dead_letters_of_one_go_while_the_erasure_of_another_waits(
    told: Erasing, no_letters: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(erasing, "LETTERS_SECONDS", 0.01)
    assert told.erase("C-1") == "recorded"
    assert told.eraser().round() == 1

    async def story() -> None:
        async with told.at_work() as progress:
            await until(lambda: progress.failure)
            await asyncio.to_thread(told.bury, b'{"data":{"customer_id":"C-1","case_id":"C-4"}')
            while await asyncio.to_thread(deadletters.dead_letters, told.broker_url):
                await asyncio.sleep(0.01)
        assert progress.failure is not None

    told.make(9, customer_id="C-4")
    with looking(told.url):
        assert told.erase("C-2") == "recorded"
        asyncio.run(asyncio.wait_for(story(), 30))
