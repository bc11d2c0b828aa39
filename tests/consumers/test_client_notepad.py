"""The notepad behind the client: what waits is delivered once, in order, and no trouble is silent."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from consumers import asking
from consumers.asking import NoAnswer
from consumers.client import Client, Delivery, Spooled
from consumers.cloudevents import event_of
from consumers.connection import LedgerClient
from consumers.receipts import UnprovenReceipt
from consumers.spool import Spool
from deploy.embedded import Nats
from ledger.receipts import Receipt
from ledger.settings import Settings
from ledger.tlog.note import Signer
from tests.conftest import new_data_dir, remove
from tests.consumers.conftest import Service
from tests.consumers.sending import NOWHERE, making, run, streams, vkey


def test_a_notepad_that_grows_is_not_read_for_every_line(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is read where somebody may take it; while the queue is away, a line costs a line."""
    pad = tmp_path / "pad"
    Spool(pad).append(event_of(making("P-0"), "crm", "c-0"))
    monkeypatch.setattr(asking, "QUEUE_SECONDS", 0.1)
    monkeypatch.setattr(Spool, "contents", None)

    async def story() -> None:
        async with Client(NOWHERE, "crm", spool=pad) as away:
            assert isinstance(await away.send(making("P-1")), Spooled)
        async with Client(service.broker_url, "crm", spool=pad) as client:
            monkeypatch.setattr(LedgerClient, "is_connected", False)
            assert isinstance(await client.send(making("P-2")), Spooled)
        monkeypatch.undo()

    run(story)
    assert len(Spool(pad).contents().pending) == 3


def test_what_was_noted_is_delivered_once_in_order_before_the_next_command(service: Service, tmp_path: Path) -> None:
    pad = tmp_path / "pad"

    async def story() -> None:
        async with Client(NOWHERE, "crm", spool=pad) as away:
            for number in range(5):
                await away.send(making(f"P-{number}"), id=f"c-{number}")
        key = vkey(service.settings)
        async with service.running(), Client(service.broker_url, "crm", spool=pad, vkey=key) as client:
            assert isinstance(await client.send(making("P-5")), Receipt)
            assert await client.deliver() == Delivery(0, (), (), 0)
        assert not pad.exists()

    run(story)
    assert streams(service.settings) == [f"promise:P-{number}" for number in range(6)]


def test_nothing_overtakes_what_waits_in_the_notepad(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger comes back between a note that nobody answered and the command after it."""
    spool = Spool(tmp_path / "pad")
    spool.append(event_of(making("P-1"), "crm", "c-1"))
    ask, asked = asking.Asker.ask, []

    async def silent_once(self: asking.Asker, command_type: str, body: bytes, patience_seconds: float) -> bytes:
        asked.append(orjson.loads(body)["id"])
        if len(asked) == 1:
            raise NoAnswer("not yet")
        return await ask(self, command_type, body, patience_seconds)

    monkeypatch.setattr(asking.Asker, "ask", silent_once)

    async def story() -> None:
        async with service.running(), Client(service.broker_url, "crm", spool=spool.path) as client:
            assert await client.send(making("P-2"), id="c-2") == Spooled("crm", "c-2", "not yet")
            assert isinstance(await client.send(making("P-3"), id="c-3"), Receipt)

    run(story)
    assert asked == ["c-1", "c-1", "c-2", "c-3"]
    assert streams(service.settings) == ["promise:P-1", "promise:P-2", "promise:P-3"]


def test_a_crash_after_delivery_records_nothing_twice(service: Service, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "pad")
    sent = [event_of(making(f"P-{number}"), "crm", f"c-{number}") for number in range(3)]

    async def deliver() -> Delivery:
        async with Client(service.broker_url, "crm", spool=spool.path) as client:
            return await client.deliver()

    async def story() -> None:
        async with service.running():
            for each in sent:
                spool.append(each)
            before = spool.path.read_bytes()
            assert await deliver() == Delivery(3, (), (), 0)
            spool.path.write_bytes(before)  # killed before the file was cleared, which the last line says
            answers = spool.answers_path.read_bytes().splitlines(keepends=True)
            spool.answers_path.write_bytes(b"".join(answers[:-1]))
            assert await deliver() == Delivery(0, (), (), 0)
            spool.path.write_bytes(before)
            spool.answers_path.unlink()  # killed before any answer was written down
            assert await deliver() == Delivery(3, (), (), 0)

    run(story)
    assert streams(service.settings) == [f"promise:P-{number}" for number in range(3)]


def test_two_who_deliver_the_same_notepad_record_it_once_and_in_order(service: Service, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "pad")
    for number in range(20):
        spool.append(event_of(making(f"P-{number}"), "crm", f"c-{number}"))

    async def story() -> None:
        async with (
            service.running(),
            Client(service.broker_url, "crm", spool=spool.path) as one,
            Client(service.broker_url, "tickets", spool=spool.path) as other,
        ):
            await asyncio.gather(one.deliver(), other.deliver())

    run(story)
    assert streams(service.settings) == [f"promise:P-{number}" for number in range(20)]
    assert not spool.path.exists()


def test_a_refused_note_is_kept_aside_with_its_words_and_the_others_go_on(service: Service, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "pad")
    for number, promise_id in enumerate(("P-1", "P-1", "P-2")):
        spool.append(event_of(making(promise_id, text=f"Words {number}."), "crm", f"c-{number}"))

    async def story() -> None:
        async with service.running(), Client(service.broker_url, "crm", spool=spool.path) as client:
            delivery = await client.deliver()
            assert (delivery.recorded, delivery.waiting, delivery.damaged) == (2, 0, ())
            assert re.fullmatch("c-1: id-taken: .*", delivery.refused[0])

    run(story)
    (aside,) = map(orjson.loads, spool.aside_path.read_bytes().splitlines())
    assert aside["why"].startswith("c-1: id-taken")
    assert "Words 1." in aside["line"]
    assert b"Words" not in spool.answers_path.read_bytes()


def test_a_damaged_line_stops_nobody(service: Service, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "pad")
    for number in range(3):
        spool.append(event_of(making(f"P-{number}"), "crm", f"c-{number}"))
    spool.path.write_bytes(spool.path.read_bytes().replace(b'"P-1"', b'"P-9"'))

    async def story() -> None:
        async with service.running(), Client(service.broker_url, "crm", spool=spool.path) as client:
            delivery = await client.deliver()
            assert (delivery.recorded, delivery.waiting) == (2, 0)
            assert delivery.damaged == ("line 2 is damaged: it is kept aside, the others go on",)

    run(story)
    assert streams(service.settings) == ["promise:P-0", "promise:P-2"]


def noted_with_trouble(pad: Path) -> None:
    """A notepad of three commands: one to be recorded, one to be refused, one torn by power loss."""
    for number, promise_id in enumerate(("P-0", "P-0", "P-1")):
        Spool(pad).append(event_of(making(promise_id), "crm", f"c-{number}"))
    pad.write_bytes(pad.read_bytes()[:-40])


TORN = "line 3 was not finished when power or process ended: it is lost, and kept aside"


def test_what_the_delivery_before_a_command_finds_is_told_once_and_the_command_has_its_receipt(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Delivery] = []

    async def story() -> None:
        async with (
            service.running(),
            Client(service.broker_url, "crm", spool=tmp_path / "heard", on_delivery=heard.append) as hearing,
            Client(service.broker_url, "crm", spool=tmp_path / "logged") as logging,
        ):
            for pad, client in (("heard", hearing), ("logged", logging)):
                noted_with_trouble(tmp_path / pad)
                assert isinstance(await client.send(making(f"P-{pad}"), id=f"own-{pad}"), Receipt)
                assert isinstance(await client.send(making(f"Q-{pad}")), Receipt)

    run(story)
    (delivery,) = heard
    assert (delivery.recorded, delivery.damaged, delivery.waiting) == (1, (TORN,), 0)
    assert [sentence.partition(": ")[0] for sentence in delivery.refused] == ["c-1"]
    (warning,) = [record for record in caplog.records if record.name == "consumers.client"]
    assert warning.levelname == "WARNING"
    assert f"1 refused, 1 damaged, 0 waiting: see {tmp_path / 'logged'}.aside" in warning.getMessage()


def test_what_a_delivery_found_is_told_once_though_it_ends_in_an_error(service: Service, tmp_path: Path) -> None:
    other = Signer(service.settings.origin, b"\1" * 32).vkey
    heard: list[Delivery] = []

    async def story() -> None:
        async with service.running(), Client(service.broker_url, "crm") as first:
            await first.send(making("P-0"))
            noted_with_trouble(tmp_path / "pad")
            pad = tmp_path / "pad"
            Spool(pad).append(event_of(making("P-2"), "crm", "c-4"))
            async with Client(service.broker_url, "crm", vkey=other, spool=pad, on_delivery=heard.append) as client:
                for _ in range(2):
                    with pytest.raises(UnprovenReceipt):
                        await client.send(making("P-3"))
                    with pytest.raises(UnprovenReceipt):
                        await client.deliver()

    run(story)
    (delivery,) = heard
    assert [sentence.partition(": ")[0] for sentence in delivery.refused] == ["c-0", "c-1"]
    assert (delivery.recorded, delivery.damaged, delivery.waiting) == (0, (TORN,), 1)
    assert "not proven" in (delivery.reason or "")


def test_what_a_delivery_found_is_told_though_its_sender_waits_no_longer(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pad, heard, ask = tmp_path / "pad", list[Delivery](), asking.Asker.ask
    reached = asyncio.Event()

    async def silent_in_the_end(self: asking.Asker, subject: str, body: bytes, patience_seconds: float) -> bytes:
        if orjson.loads(body)["id"] == "c-4":
            reached.set()
            await asyncio.Event().wait()
        return await ask(self, subject, body, patience_seconds)

    monkeypatch.setattr(asking.Asker, "ask", silent_in_the_end)
    noted_with_trouble(pad)
    Spool(pad).append(event_of(making("P-2"), "crm", "c-4"))

    async def story() -> None:
        async with (
            service.running(),
            Client(service.broker_url, "crm", spool=pad, on_delivery=heard.append) as client,
        ):
            sending = asyncio.create_task(client.send(making("P-3")))
            await asyncio.wait_for(reached.wait(), 30)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending

    run(story)
    (delivery,) = heard
    assert (delivery.recorded, len(delivery.refused), delivery.damaged, delivery.waiting) == (1, 1, (TORN,), 1)


@asynccontextmanager
async def own_nats() -> AsyncIterator[Nats]:
    directory = new_data_dir()
    server = Nats(directory, None)
    try:
        yield server
    finally:
        server.stop()
        remove(directory)


def test_a_queue_that_goes_away_in_the_middle_fills_the_notepad_in_order(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "QUEUE_SECONDS", 0.2)

    async def story() -> None:
        from consumers.provision import provision

        async with own_nats() as server:
            url = server.start()
            await asyncio.to_thread(provision, url)
            service = Service(settings.model_copy(update={"broker_url": url}))
            async with Client(url, "crm", spool=tmp_path / "pad") as client:
                async with service.running():
                    assert isinstance(await client.send(making("P-0")), Receipt)
                await asyncio.to_thread(server.stop)
                for number in (1, 2):
                    assert isinstance(await client.send(making(f"P-{number}")), Spooled)

        assert len(Spool(tmp_path / "pad").contents().pending) == 2

    run(story)
