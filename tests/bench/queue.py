"""Queue to receipt with proof: intake, PostgreSQL, NATS and the sending client on the same cores."""

import asyncio
import time
from collections.abc import Sequence

import nats
from nats.aio.msg import Msg

from consumers.channels import REPLY_TO, command_subject
from consumers.provision import provision
from consumers.recording import record_file
from consumers.running import run
from tests.bench.places import message, new_log, service

RATE = 1_000
"""Commands a second while latencies are taken."""


def throughput(broker_url: str, first: int, commands: int) -> float:
    """Commands/s from the first publish to the last receipt."""
    lines = [message(number) for number in range(first, first + commands)]
    began = time.perf_counter()
    recorded = sum(answer.status == "recorded" for answer in record_file(broker_url, lines))
    seconds = time.perf_counter() - began
    assert recorded == commands, f"{commands - recorded} commands were not recorded"
    return commands / seconds


async def latencies(broker_url: str, first: int, commands: int) -> list[float]:
    """Seconds from publish to receipt of each command, at RATE commands a second, sorted."""
    connection = await nats.connect(broker_url)
    inbox = connection.new_inbox()
    sent: dict[int, float] = {}
    taken: list[float] = []
    done = asyncio.Event()

    async def take(answer: Msg) -> None:
        taken.append(time.perf_counter() - sent[int(answer.subject.rpartition(".")[2])])
        if len(taken) == commands:
            done.set()

    await connection.subscribe(f"{inbox}.*", cb=take)
    bodies = [message(number) for number in range(first, first + commands)]
    began = time.perf_counter()
    for number, body in enumerate(bodies):
        await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        sent[number] = time.perf_counter()
        await connection.publish(command_subject("promise.make"), body, headers={REPLY_TO: f"{inbox}.{number}"})
    await asyncio.wait_for(done.wait(), 60)
    await connection.close()
    return sorted(taken)


async def raw(broker_url: str, messages: int) -> float:
    """Messages/s of publishing asynchronously to a stream, fetching in batches and acknowledging: nothing else."""
    connection = await nats.connect(broker_url)
    js = connection.jetstream(publish_async_max_pending=4000)
    await js.add_stream(name="BENCH_RAW", subjects=["bench.raw"])
    pull = await js.pull_subscribe("bench.raw", durable="bench")
    body = message(0)
    began = time.perf_counter()
    for _ in range(messages):
        await js.publish_async("bench.raw", body, wait_stall=10)
    await js.publish_async_completed()
    left = messages
    while left:
        fetched = await pull.fetch(min(500, left), timeout=5)
        for each in fetched:
            await each.ack()
        left -= len(fetched)
    await connection.flush()
    seconds = time.perf_counter() - began
    await js.delete_stream("BENCH_RAW")
    await connection.close()
    return messages / seconds


def report(url: str, broker_url: str) -> Sequence[tuple[str, str]]:
    """The rows of the table that this measurement adds."""
    floor = run(raw(broker_url, 20_000))
    provision(broker_url)
    with new_log(url, broker_url) as settings, service(settings, "intake", "ledger_appender"):
        throughput(broker_url, 0, 5_000)
        rate = throughput(broker_url, 10_000, 40_000)
        seconds = run(latencies(broker_url, 60_000, 5 * RATE))
    p50, p99 = (seconds[int(len(seconds) * share)] * 1000 for share in (0.5, 0.99))
    return (
        ("queue to receipt with proof", f"{rate:,.0f} commands/s"),
        ("  raw JetStream publish, fetch, ack", f"{floor:,.0f} messages/s: ours is {rate / floor:.2f} x"),
        (f"  latency at {RATE:,} commands/s", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"),
    )
