"""Where answers or dead letters cannot be stored: what can go on does, the rest comes again, and health says why."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from nats.js.errors import APIError

from tests.consumers.conftest import Sender, Service
from tests.consumers.events import body, promise

FULL = "the dead letters are full: list, replay or remove some"


async def limit(sender: Sender, stream: str, **limits: Any) -> None:
    config = (await sender.js.stream_info(stream)).config
    await sender.js.update_stream(replace(config, **limits))


async def until(true: Any, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.intake._delay", lambda times: 0.2 * times)


@pytest.mark.usefixtures("impatient")
def test_bad_messages_that_cannot_be_buried_wait_alone_and_health_says_why(service: Service) -> None:
    async def story() -> None:
        async with service.sender() as sender:
            await limit(sender, "LEDGER_DEADLETTERS", max_bytes=300)
            good, bad = [], []
            for number in range(3):
                bad.append(await sender.send(b"We promise.", subject="ledger.commands.promise.make"))
                good.append(await sender.send(body(promise(promise_id=f"P-{number}"), id=f"c-{number}")))
            async with service.running():
                for future in good:
                    assert (await asyncio.wait_for(future, 30))["status"] == "recorded"
                await until(lambda: says(service, FULL))
                later = await sender.ask(body(promise(promise_id="P-later"), id="c-later"))
                assert later["status"] == "recorded"
                assert service.progress.failure == FULL, "commands that get on do not hide it"
                await until(lambda: holds(sender, 3))  # the bad ones alone
                assert not any(future.done() for future in bad)
                await limit(sender, "LEDGER_DEADLETTERS", max_bytes=2**20)
                for future in bad:
                    assert (await asyncio.wait_for(future, 15))["code"] == "not-json"
            assert service.progress.failure is None
            assert await sender.stored("LEDGER_DEADLETTERS") == 3
            await until(lambda: holds(sender, 0))

    asyncio.run(story())


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_cannot_be_stored_holds_up_no_other_and_buries_nothing_twice(service: Service) -> None:
    nameless, wrong = b"We promise.", body(type="promise.forget", id="x" * 120)

    async def story() -> None:
        async with service.sender() as sender:
            await limit(sender, "LEDGER_RECEIPTS", max_msg_size=250, allow_atomic=False)
            for sent in (nameless, wrong, body(), body(promise(text="Once more."), id="c-2")):
                await sender.send(sent)
            async with service.running():
                await until(lambda: holds(sender, 2))
                refused = await sender.js.get_last_msg("LEDGER_RECEIPTS", "ledger.receipts.crm")
                assert b'"id-taken"' in (refused.data or b""), "a small answer is stored beside one too large"
                await until(lambda: says(service, "answers cannot be stored in LEDGER_RECEIPTS: "))
                await asyncio.sleep(1)
                assert await sender.stored("LEDGER_DEADLETTERS") == 2, "one for each, however often it came again"
                await limit(sender, "LEDGER_RECEIPTS", max_msg_size=-1, allow_atomic=True)
                await until(lambda: holds(sender, 0))
            assert await sender.stored("LEDGER_RECEIPTS") == 3
            assert service.progress.failure is None

    asyncio.run(story())


async def says(service: Service, why: str) -> bool:
    return (service.progress.failure or "").startswith(why)


async def holds(sender: Sender, commands: int) -> bool:
    return await sender.stored("LEDGER_COMMANDS") == commands


def test_a_queue_that_is_full_refuses_the_sender_and_loses_nothing_that_it_took(service: Service) -> None:
    async def story() -> None:
        async with service.sender() as sender:
            await limit(sender, "LEDGER_COMMANDS", max_bytes=4_000)
            taken = []

            async def fill() -> None:
                for number in range(100):
                    taken.append(await sender.send(body(promise(promise_id=f"P-{number}"), id=f"c-{number}")))

            with pytest.raises(APIError, match="maximum bytes exceeded"):
                await fill()
            assert len(taken) == await sender.stored("LEDGER_COMMANDS") > 0
            async with service.running():
                for future in taken:
                    assert (await asyncio.wait_for(future, 15))["status"] == "recorded"
                refused = body(promise(promise_id=f"P-{len(taken)}"), id=f"c-{len(taken)}")
                await until(lambda: holds(sender, 0))
                assert (await sender.ask(refused))["status"] == "recorded"

    asyncio.run(story())
