"""The eraser at work: dead letters, appends beside it, and what keeps it from its work for a while."""

import asyncio
import threading

import psycopg
import pytest

from consumers import deadletters, erasing
from projections import texts
from tests.erasure.conftest import Erasing, until
from tests.projections.world import wait_for

LETTERS = {
    "the customer": b'{"customer_id":"C-1","text":"sesame"',
    "escaped": b'{"customer_id":"\\u0043-1","text":"sesame"}',
    "in a form": b"customer=C%2D1&text=sesame&other=C-2",
    "in a sentence": b"Customer C-1. said sesame",
    "in base64": b'{"data_base64":"eyJjdXN0b21lcl9pZCI6IkMtMSIsInRleHQiOiJzZXNhbWUifQ=="}',
    "in UTF-16": '{"customer_id":"C-1"}'.encode("utf-16-le"),
    "a promise of theirs": b'{"promise_id":"P-1","text":"sesame"',
    "a stream of theirs": b'["promise:P-2"]',
}
OTHER_LETTERS = {"another": b'{"customer_id":"C-2"}', "a longer id": b"xC-1 C-1x C-2"}
NOBODYS_LETTERS = {
    "a customer never heard of": b'{"customer_id":"C-10","text":"sesame"}',
    "a longer id": b"C-1x said sesame",
    "no text": b"\xff\x00",
    "somebody erased before": b'{"customer_id":"C-3","text":"sesame"}',
}


def test_dead_letters_of_the_customer_go_and_those_of_others_stay(told: Erasing, no_letters: None) -> None:
    """And with them go those that nobody can be told from: the words may be theirs."""
    told.make(5, customer_id="C-3")
    assert told.erase("C-3") == "recorded"
    told.eraser().round()
    for body in (*LETTERS.values(), *NOBODYS_LETTERS.values(), *OTHER_LETTERS.values()):
        told.bury(body)
    told.bury(b"{}", ce_subject="C-1")
    told.bury(b'{"customer_id":"C-2","text":"sesame, sesa', body_bytes=70_000)  # cut, as earlier versions did
    assert told.erase() == "recorded"
    told.eraser().round()
    assert [letter.body for letter in deadletters.dead_letters(told.broker_url)] == list(OTHER_LETTERS.values())
    assert sorted(each["letters"] for each in told.completions()) == [0, len(LETTERS) + 1]


def test_dead_letters_that_come_later_go_as_well(told: Erasing, no_letters: None) -> None:
    assert told.erase() == "recorded"
    eraser = told.eraser()
    eraser.round()
    for body in (LETTERS["the customer"], OTHER_LETTERS["another"], NOBODYS_LETTERS["no text"]):
        told.bury(body)
    assert eraser.forget_late_letters() == 1
    assert eraser.forget_late_letters() == 0
    told.bury(LETTERS["the customer"])
    assert (eraser.forget_late_letters(), told.eraser().forget_late_letters()) == (1, 0)
    assert len(deadletters.dead_letters(told.broker_url)) == 2


def test_dead_letters_that_an_older_copy_of_the_queue_brought_back_go_at_the_next_start(
    told: Erasing, no_letters: None
) -> None:
    assert told.erase() == "recorded"
    told.eraser().round()
    for body in (LETTERS["a promise of theirs"], OTHER_LETTERS["another"], NOBODYS_LETTERS["no text"]):
        told.bury(body)
    assert told.eraser().forget_late_letters() == 1
    assert len(deadletters.dead_letters(told.broker_url)) == 2


def test_appends_go_on_while_an_erasure_is_carried_out(told: Erasing) -> None:
    """Staged: the eraser waits for a batch of the read side, and holds nobody else up."""
    assert told.erase() == "recorded"
    with told.connection_of_tuples().transaction(), psycopg.connect(told.url) as held:
        held.execute("SELECT FROM projection.versions WHERE name = 'texts' FOR UPDATE")
        working = threading.Thread(target=told.eraser().round)
        working.start()
        wait_for(lambda: told.ask("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != [])
        told.make(7, customer_id="C-7")
        told.make(8, customer_id="C-2")
        held.rollback()
        working.join()
    assert told.left() == {}


def test_an_eraser_without_its_role_says_what_to_give_it_and_goes_on_once_it_has(
    told: Erasing, no_letters: None
) -> None:
    async def story() -> None:
        async with told.at_work("ledger_appender") as progress:
            await until(lambda: progress.failure)
        assert "LEDGER_ERASER_URL" in str(progress.failure)
        async with told.at_work() as progress:
            await until(lambda: progress.completed)
        assert progress.failure is None

    assert told.erase() == "recorded"
    asyncio.run(asyncio.wait_for(story(), 60))
    assert told.left() == {}


def test_an_eraser_outlives_what_nobody_foresaw_and_repeats_no_word_of_it(
    told: Erasing, no_letters: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with told.at_work() as progress:
            await until(lambda: progress.failure)
            assert str(progress.failure).startswith("KeyError in purge")
            assert "snows" not in str(progress.failure)
            monkeypatch.undo()
            await until(lambda: progress.completed)
        assert progress.failure is None

    def purge(connection: object, customer_id: str) -> int:
        raise KeyError("It snows.")

    monkeypatch.setattr(texts, "purge", purge)
    monkeypatch.setattr(erasing, "RETRY_SECONDS", 0.01)
    assert told.erase() == "recorded"
    asyncio.run(asyncio.wait_for(story(), 60))
    assert told.left() == {}
