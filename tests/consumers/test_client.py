"""Lines in, answers out, in order."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from consumers import recording
from consumers.asking import NoAnswer
from consumers.recording import record_file
from tests.consumers.conftest import Service
from tests.consumers.events import body, promise


@contextmanager
def serving(service: Service) -> Iterator[None]:
    """The intake in a thread of its own, as the client has a loop of its own."""
    ready, over = threading.Event(), threading.Event()

    async def story() -> None:
        async with service.running():
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(story(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_each_line_gets_its_answer_in_the_order_of_the_lines(service: Service) -> None:
    lines = [
        body(promise(promise_id=f"P-{number}"), id=f"c-{number}") if number % 7 else b"no json %d" % number
        for number in range(1, 1200)
    ]
    lines += [
        b"",
        body(type="promise.forget"),
        b"[]",
        body(promise(text="x" * 70_000)),
        body(promise(text="Other words.")),
    ]
    with serving(service):
        answers = list(record_file(service.broker_url, lines, window=300))
    assert [answer.line for answer in answers] == [number for number in range(1, 1205) if number != 1200]
    found = [orjson.loads(answer.body) for answer in answers]
    assert [answer.status for answer in answers] == [each["status"] for each in found]
    for answer, each in zip(answers[:1199], found, strict=False):
        assert each["status"] == ("recorded" if answer.line % 7 else "malformed")
        assert each["id"] == (f"c-{answer.line}" if answer.line % 7 else None)
    assert [each.get("code") for each in found[1199:]] == ["unknown-type", "not-an-event", "too-large", "id-reused"]


def test_a_line_is_answered_before_the_next_one_is_written(service: Service) -> None:
    read, write = os.pipe()
    with serving(service), open(read, "rb") as lines, open(write, "wb") as pipe:
        pipe.write(body() + b"\n")
        pipe.flush()
        answers = record_file(service.broker_url, lines)
        assert next(answers).status == "recorded"
        pipe.write(body() + b"\n")
        pipe.close()
        assert [answer.status for answer in answers] == ["recorded"]


def test_a_command_that_was_lost_on_its_way_is_sent_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "TRY_SECONDS", 0.5)
    answers = record_file(service.broker_url, [body()])

    def late() -> None:
        time.sleep(1)
        with serving(service):
            done.wait()

    done = threading.Event()
    thread = threading.Thread(target=late)
    thread.start()
    assert [answer.status for answer in answers] == ["recorded"]
    done.set()
    thread.join()


def test_silence_is_one_sentence(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "TRY_SECONDS", 0.05)
    with pytest.raises(NoAnswer, match="No answer to line 1"):
        list(record_file(service.broker_url, [body()]))
    with pytest.raises(NoAnswer, match="does not answer at"):
        list(record_file("nats://127.0.0.1:1", [body()]))
