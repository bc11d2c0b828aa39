"""A question and its answer: `disclosure.check` against a request that is echoed by nobody but NATS and a loop."""

import asyncio
import time
from collections.abc import Sequence

import nats
import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from consumers.channels import CHECK_REQUESTS
from consumers.running import run
from ledger.storage import keys
from projections.runner import Runner, install
from tests.bench.places import new_log, service
from tests.bench.reading import fill

EVENTS = 20_000
QUESTIONS = 500


def question(number: int) -> bytes:
    """Whether this may be said of a promise, and about a customer with five."""
    data = {
        "actor": "u-17",
        "occurred_at": "2026-11-21T11:00:00+01:00",
        "disclosure_id": f"D-{number}",
        "customer_id": f"C-{number // 5}",
        "about": {"promise_id": f"P-{number}"},
        "text": "It takes longer, because of an outage.",
        "reason_class": "outage",
        "owner": "u-4",
        "apology": True,
        "channel": "email",
        "basis": "assumed",
        "next_update_at": "2027-12-01T12:00:00+01:00",
    }
    event = {"specversion": "1.0", "id": f"q-{number}", "source": "bench", "type": "disclosure.check", "data": data}
    return orjson.dumps(event)


async def latencies(connection: Client, subject: str) -> list[float]:
    """Seconds from question to answer, one after the other, sorted."""
    taken = []
    for number in range(QUESTIONS):
        sent = question(number * 7 % EVENTS)
        began = time.perf_counter()
        answer = await connection.request(subject, sent, timeout=10)
        taken.append(time.perf_counter() - began)
        assert subject != CHECK_REQUESTS or orjson.loads(answer.data)["status"] == "checked"
    return sorted(taken)


async def both(broker_url: str) -> tuple[list[float], list[float]]:
    """Of questions, and of bytes that are sent back as they are."""
    connection, echoing = await nats.connect(broker_url), await nats.connect(broker_url)

    async def echo(message: Msg) -> None:
        await message.respond(message.data)

    await echoing.subscribe("bench.echo", cb=echo)
    await echoing.flush()
    await _answered(connection)
    found = await latencies(connection, CHECK_REQUESTS), await latencies(connection, "bench.echo")
    await connection.close()
    await echoing.close()
    return found


async def _answered(connection: Client) -> None:
    """Returns once somebody answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                await connection.request(CHECK_REQUESTS, question(0), timeout=10)
                return
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.05)


def report(url: str, broker_url: str) -> Sequence[tuple[str, str]]:
    """The rows of the table that this measurement adds."""
    with new_log(url, broker_url) as settings:
        fill(settings, EVENTS)
        install(settings.database_url or "")
        Runner(settings.database_url or "", keys.load(settings.keys_dir)).catch_up()
        with service(settings, "projections", "ledger_projector"):
            ours, floor = run(both(broker_url))
    p50, p99, slowest = (ours[min(int(QUESTIONS * share), QUESTIONS - 1)] * 1000 for share in (0.5, 0.99, 1))
    echo = floor[int(QUESTIONS * 0.99)] * 1000
    return (
        (f"disclosure.check over {EVENTS:,} events", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {slowest:.1f} ms"),
        ("  raw NATS request and reply", f"p99 {echo:.1f} ms"),
    )
