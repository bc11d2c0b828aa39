"""What nobody should send and NATS stores all the same; and a NATS that goes away."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from consumers.intake import serve
from consumers.provision import ProvisionError, provision
from deploy.embedded import Nats
from ledger.app import Ledger
from tests.consumers.conftest import Service
from tests.consumers.events import body, promise

RAW = {
    "a subject that is not UTF-8": (b"ledger.commands.\xff", b""),
    "a subject with a vertical tab": (b"ledger.commands.a\x0bb", b""),
    "a subject with a form feed": (b"ledger.commands.a\x0cb", b""),
    "such a subject, and headers": (b"ledger.commands.a\x0bb", b"NATS/1.0\r\na: b\r\n\r\n"),
    "headers of four bytes": (b"ledger.commands.promise.make", b"NATS"),
    "headers of eight bytes": (b"ledger.commands.promise.make", b"NATS/1.0"),
    "a status line": (b"ledger.commands.promise.make", b"NATS/1.0 404\r\n\r\n"),
    "a status line that is none": (b"ledger.commands.promise.make", b"NATS/1.0 5\xff\xff\r\n\r\n"),
    "a header called Status": (b"ledger.commands.promise.make", b"NATS/1.0\r\nStatus: 500\r\n\r\n"),
    "a header that is not UTF-8": (b"ledger.commands.promise.make", b"NATS/1.0\r\nce-id: \xff\r\n\r\n"),
    "a header line without a colon": (b"ledger.commands.promise.make", b"NATS/1.0\r\nno colon\r\n\r\n"),
}


async def publish_raw(broker_url: str, subject: bytes, headers: bytes, sent: bytes) -> None:
    """One PUB or HPUB by hand, as no client library would write it."""
    address = urlsplit(broker_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1}\r\n')
    sizes = b"%d %d" % (len(headers), len(headers) + len(sent)) if headers else b"%d" % len(sent)
    writer.write((b"HPUB " if headers else b"PUB ") + subject + b" " + sizes + b"\r\n" + headers + sent + b"\r\n")
    writer.write(b"PING\r\n")
    await reader.readuntil(b"PONG\r\n")
    writer.close()
    await writer.wait_closed()


def test_no_message_stops_the_intake_or_harms_its_neighbours(service: Service) -> None:
    async def story() -> None:
        async with service.sender() as sender:
            for subject, headers in RAW.values():
                await publish_raw(service.broker_url, subject, headers, b"{}")
            waiting = [
                await sender.send(body(promise(promise_id=f"P-{number}"), id=f"c-{number}")) for number in range(5)
            ]
            for subject, headers in RAW.values():
                await publish_raw(service.broker_url, subject, headers, b"{}")
            waiting.append(await sender.send(body(promise(promise_id="P-6"), id="c-6")))
            assert await sender.stored("LEDGER_COMMANDS") == 2 * len(RAW) + 6
            async with service.running():
                for future in waiting:
                    assert (await asyncio.wait_for(future, 30))["status"] == "recorded"
            assert await sender.stored("LEDGER_COMMANDS") == 0
            assert await sender.stored("LEDGER_DEADLETTERS") == 2 * len(RAW)

    asyncio.run(story())


def test_the_intake_goes_on_by_itself_after_nats_was_stopped_or_killed(service: Service, data_dir: Path) -> None:
    server = Nats(data_dir, None)
    url = server.start()
    try:
        provision(url, ack_wait_seconds=2)
        settings = service.settings.model_copy(update={"broker_url": url})
        asyncio.run(_survive(Service(settings), server))
    finally:
        server.stop()


async def _survive(service: Service, server: Nats) -> None:
    async with service.running() as sender:
        assert (await sender.ask(body()))["status"] == "recorded"
        server.stop()
        await asyncio.sleep(0.5)
        assert service.progress.refused is None  # its last words are no refusal: health says that no answer comes
        server.start()
        process = server._process
        assert process is not None
        process.kill()
        process.wait()
        await asyncio.sleep(0.3)
        server._process = None
        server.start()
        receipt = None
        for number in range(40):
            try:
                sent = body(promise(promise_id=f"P-{number}"), id=f"c-after-{number}")
                receipt = await asyncio.wait_for(sender.ask(sent), 3)
                break
            except Exception:  # the sender's own connection is coming back, too
                await asyncio.sleep(0.2)
        assert receipt is not None
        assert service.progress.failure is None


def test_a_consumer_that_is_taken_away_and_made_again_is_found_again(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            await sender.ask(body())
            await sender.js.delete_consumer("LEDGER_COMMANDS", "intake")
            future = await sender.send(body(promise(promise_id="P-2"), id="c-2"))
            await asyncio.to_thread(provision, service.broker_url)
            assert (await asyncio.wait_for(future, 15))["status"] == "recorded"

    asyncio.run(story())


def test_an_intake_that_starts_before_nats_waits_for_it_and_may_be_stopped(service: Service) -> None:
    async def story() -> None:
        settings = service.settings.model_copy(update={"broker_url": "nats://127.0.0.1:1"})
        stop = asyncio.Event()
        with Ledger.open(service.settings) as ledger:
            serving = asyncio.create_task(serve(settings, ledger, stop))
            await asyncio.sleep(0.5)
            assert not serving.done()
            stop.set()
            await asyncio.wait_for(serving, 30)

    asyncio.run(story())


def test_provisioning_says_what_is_wrong(service: Service) -> None:
    async def memory() -> None:
        async with service.sender() as sender:
            await sender.js.delete_stream("LEDGER_RECEIPTS")
            await sender.js.add_stream(name="LEDGER_RECEIPTS", subjects=["ledger.receipts.>"], storage="memory")

    asyncio.run(memory())
    with pytest.raises(ProvisionError, match=r"LEDGER_RECEIPTS exists with other settings .*storage is 'memory'"):
        provision(service.broker_url)
    with pytest.raises(ProvisionError, match="does not answer"):
        provision("nats://127.0.0.1:1")


def test_provisioning_again_changes_nothing_and_loses_nothing(service: Service) -> None:
    async def story() -> None:
        async with service.sender() as sender:
            future = await sender.send(body())
            await asyncio.to_thread(provision, service.broker_url, ack_wait_seconds=3)
            await asyncio.to_thread(provision, service.broker_url, ack_wait_seconds=3)
            info = await sender.js.consumer_info("LEDGER_COMMANDS", "intake")
            assert (info.config.ack_wait, info.config.max_deliver) == (3.0, -1)
            async with service.running():
                assert (await asyncio.wait_for(future, 10))["status"] == "recorded"

    asyncio.run(story())
