"""Through the real queue and the real database: what goes in, what comes back, what is kept."""

import asyncio

from tests.consumers.conftest import Service
from tests.consumers.events import body


def test_a_command_gets_a_receipt_at_its_address_and_a_durable_one(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            receipt = await sender.ask(body())
            assert receipt["status"] == "recorded"
            assert (receipt["source"], receipt["id"]) == ("crm", "c-1")
            assert receipt["events"][0]["type"] == "promise.made"
            durable = await sender.js.get_last_msg("LEDGER_RECEIPTS", "ledger.receipts.crm")
            assert durable.data is not None
            assert receipt["proof"].encode() in durable.data.replace(b"\\n", b"\n")
        async with service.sender() as sender:
            assert await sender.stored("LEDGER_COMMANDS") == 0, "answered commands leave the queue"

    asyncio.run(story())
