"""The client for Python services: typed commands and proven receipts."""

import asyncio
import base64
import signal
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumers import asking
from consumers.asking import NoAnswer
from consumers.client import Client, Delivery, Spooled, SyncClient
from consumers.cloudevents import Malformed, event_of, parse
from consumers.receipts import UnprovenReceipt, open_answer
from consumers.recording import record_file
from consumers.spool import Spool
from ledger.app import Ledger
from ledger.receipts import Receipt, Refusal
from ledger.settings import Settings
from ledger.tlog.note import Signer, Verifier
from tests.consumers.conftest import Service
from tests.consumers.events import body, promise
from tests.consumers.sending import NOWHERE, making, run, streams, vkey
from tests.consumers.test_client import serving
from tests.projections.world import wait_for

PAGE = (Path(__file__).parents[2] / "docs/messages.md").read_text(encoding="utf-8")


def test_a_command_is_answered_with_a_proven_receipt_and_a_rule_with_a_refusal(service: Service) -> None:
    async def story() -> None:
        async with service.running(), Client(service.broker_url, "crm", vkey=vkey(service.settings)) as client:
            receipt = await client.send(making(), id="c-1")
            assert isinstance(receipt, Receipt)
            assert (receipt.source, receipt.command_id, receipt.events[0].type) == ("crm", "c-1", "promise.made")
            assert await client.send(making(), id="c-1") == receipt
            refusal = await client.send(making(), id="c-2")
            assert isinstance(refusal, Refusal)
            assert refusal.code == "id-taken"
            many = await asyncio.gather(*(client.send(making(f"Q-{number}")) for number in range(50)))
            assert [each.events[0].leaf_index for each in many if isinstance(each, Receipt)] != []
            assert len({each.command_id for each in many}) == 50

    run(story)


def test_another_key_than_the_pinned_one_raises(service: Service) -> None:
    said = {service.settings.origin: "it names another key of this log", "example.com/old": "it is of another log"}

    async def story() -> None:
        async with service.running():
            for name, sentence in said.items():
                async with Client(service.broker_url, "crm", vkey=Signer(name, b"\1" * 32).vkey) as client:
                    with pytest.raises(UnprovenReceipt, match=f"not proven under the key: {sentence} than the pinned"):
                        await client.send(making(), id="c-1")

    run(story)


def test_what_is_no_command_is_said_before_it_is_sent(tmp_path: Path) -> None:
    async def story() -> None:
        async with Client(NOWHERE, "anna@example.com", spool=tmp_path / "pad") as client:
            with pytest.raises(Malformed, match="source"):
                await client.send(making())

        with pytest.raises(Malformed, match="source"):
            await Client(NOWHERE, "anna@example.com").send(making())

    run(story)
    assert not (tmp_path / "pad").exists()


def tampered(receipt: dict[str, Any], what: str) -> dict[str, Any]:
    event = receipt["events"][0]
    match what:
        case "leaf hash":
            event["leaf_hash"] = base64.b64encode(bytes(32)).decode()
        case "leaf index":
            event["leaf_index"] += 1
        case "proof":
            receipt["proof"] = receipt["proof"].replace("\n\n", f"\n{base64.b64encode(bytes(32)).decode()}\n\n", 1)
        case "no proof":
            receipt["proof"] = ""
        case "another id":
            receipt["id"] = "c-9"
        case "another source":
            receipt["source"] = "tickets"
        case "no events":
            receipt["events"] = []
        case "status":
            receipt["status"] = "fine"
    return receipt


def test_a_receipt_that_was_touched_anywhere_does_not_hold(settings: Settings) -> None:
    with Ledger.open(settings) as ledger:
        answers = ledger.submit([parse({}, body(promise(promise_id=f"P-{n}"), id=f"c-{n}")) for n in range(3)])
    verifier = Verifier.parse(vkey(settings))

    def opened(answer: bytes, verifiers: Sequence[Verifier] = (verifier,)) -> Receipt | Refusal:
        return open_answer(answer, source="crm", command_id="c-1", verifiers=verifiers)

    good = answers[1].to_json()
    assert opened(good).to_json() == good
    for what in ("leaf hash", "leaf index", "proof", "no proof", "another id", "another source", "no events", "status"):
        with pytest.raises(UnprovenReceipt):
            opened(orjson.dumps(tampered(orjson.loads(good), what)))
    for answer in (b"", b"[]", b"null", b'{"status":"recorded"}', b'{"status":"refused"}'):
        with pytest.raises(UnprovenReceipt, match="neither a receipt nor a refusal"):
            opened(answer, ())
    with pytest.raises(Malformed, match="at most 65536"):
        opened(Malformed("too-large", "at most 65536", "crm", "c-1").to_json())


def test_every_event_of_a_receipt_is_verified(settings: Settings) -> None:
    told = promise(disclosure_id="D-1", next_update_at="2026-11-25T12:00:00+01:00", reason_class="transport")
    for name in ("promise_id", "kind", "due_at"):
        del told[name]
    told |= {"about": {"concern_id": "K-1"}, "control": "within", "apology": True}
    asked = {"actor": "u-1", "occurred_at": told["occurred_at"], "concern_id": "K-1", "customer_id": "C-1"}
    sent = [body(asked | {"text": "Where is it?"}, type="concern.raise"), body(told, type="disclosure.make", id="c-2")]
    with Ledger.open(settings) as ledger:
        answer = orjson.loads(ledger.submit([parse({}, each) for each in sent])[1].to_json())
    assert len(answer["events"]) == 2, answer
    verifier = Verifier.parse(vkey(settings))
    open_answer(orjson.dumps(answer), source="crm", command_id="c-2", verifiers=[verifier])
    answer["events"][1]["leaf_hash"] = answer["events"][0]["leaf_hash"]
    with pytest.raises(UnprovenReceipt, match="not proven"):
        open_answer(orjson.dumps(answer), source="crm", command_id="c-2", verifiers=[verifier])


def test_an_answer_that_was_lost_is_asked_for_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRY_SECONDS", 0.3)

    async def story() -> None:
        async with Client(service.broker_url, "crm", patience_seconds=15) as client:
            waiting = asyncio.create_task(client.send(making(), id="c-1"))
            await asyncio.sleep(0.7)
            async with service.running():
                assert isinstance(await waiting, Receipt)

    run(story)
    assert streams(service.settings) == ["promise:P-1"]


def test_silence_is_one_sentence_and_with_a_notepad_a_note(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TRY_SECONDS", 0.1)

    async def story() -> None:
        async with Client(service.broker_url, "crm", patience_seconds=0.3) as client:
            with pytest.raises(NoAnswer, match=r"No answer in 0\.3 seconds"):
                await client.send(making())
        async with Client(service.broker_url, "crm", patience_seconds=0.3, spool=tmp_path / "pad") as client:
            assert isinstance(await client.send(making(), id="c-7"), Spooled)

    run(story)
    assert [orjson.loads(noted.body)["id"] for noted in Spool(tmp_path / "pad").contents().pending] == ["c-7"]


def test_nobody_waits_long_for_a_queue_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, silent, gone: the first connection says so within seconds, and the next command does not wait again."""
    assert asking.CONNECT_SECONDS <= 3
    monkeypatch.setattr(asking, "CONNECT_SECONDS", 1.2)
    silent = socket.create_server(("127.0.0.1", 0))
    silent_url = f"nats://127.0.0.1:{silent.getsockname()[1]}"

    async def story() -> None:
        for url in (NOWHERE, silent_url):
            start = time.monotonic()
            with pytest.raises(NoAnswer, match=f"does not answer at {url}"):
                await Client(url, "crm").__aenter__()
            assert time.monotonic() - start < 3
        async with Client(NOWHERE, "crm", spool=tmp_path / "pad") as client:
            start = time.monotonic()
            for number in range(20):
                spooled = await client.send(making(f"P-{number}"))
                assert isinstance(spooled, Spooled)
                assert "does not answer" in spooled.reason
            assert time.monotonic() - start < 3

    with silent:
        start = time.monotonic()
        with pytest.raises(NoAnswer, match="does not answer"):
            list(record_file(silent_url, [body()]))
        assert time.monotonic() - start < 3
        run(story)


def test_code_without_a_loop_has_a_client_too(service: Service, tmp_path: Path) -> None:
    with serving(service), SyncClient(service.broker_url, "crm", vkey=vkey(service.settings)) as client:
        assert isinstance(client.send(making(), id="c-1"), Receipt)
        assert isinstance(client.send(making()), Refusal)
    with pytest.raises(NoAnswer), SyncClient(NOWHERE, "crm"):
        pass
    pad, heard = tmp_path / "pad", list[Delivery]()
    with SyncClient(NOWHERE, "crm", spool=pad) as client:
        assert isinstance(client.send(making("P-2")), Spooled)
        assert client.deliver().waiting == 1
    pad.write_bytes(pad.read_bytes()[:-40])
    with serving(service), SyncClient(service.broker_url, "crm", spool=pad, on_delivery=heard.append) as client:
        assert isinstance(client.send(making("P-3")), Receipt)
        assert client.deliver() == Delivery(0, (), (), 0)
    assert [len(delivery.damaged) for delivery in heard] == [1]


def test_who_stops_waiting_stops_what_was_asked(service: Service) -> None:
    """Nobody answers here; Ctrl-C while waiting leaves nothing behind that goes on by itself."""
    main = threading.main_thread().ident
    assert main is not None
    with SyncClient(service.broker_url, "crm") as client:
        threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            client.send(making())
        wait_for(lambda: not [task for task in asyncio.all_tasks(client._loop) if "send" in repr(task.get_coro())])


def test_nobody_waits_for_an_answer_beyond_the_end_of_the_client(service: Service) -> None:
    """Nobody answers here: the thread that waits hears so when the block ends, and so does who asks outside of it."""
    heard = list[BaseException]()

    def wait() -> None:
        try:
            client.send(making())
        except BaseException as error:
            heard.append(error)

    with SyncClient(service.broker_url, "crm") as client:
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        wait_for(lambda: client._client._asker is not None and bool(client._client._asker._waiting))
    waiting.join(30)
    assert [type(error) for error in heard] == [CancelledError]
    for outside in (client, SyncClient(service.broker_url, "crm")):
        with pytest.raises(RuntimeError, match="within its `with` block"):
            outside.send(making())
    outside._loop.close()


def test_the_same_command_is_the_same_bytes_and_says_only_what_was_set() -> None:
    sent = event_of(making(), "crm", "c-1")
    assert sent == event_of(making(), "crm", "c-1")
    assert orjson.loads(sent)["data"].keys() == promise().keys()
    assert parse({}, sent).command == making()


def test_the_page_has_a_python_example_that_works(service: Service, tmp_path: Path) -> None:
    source = PAGE.split("```python\n")[1].split("```")[0]
    names = {"BROKER_URL": service.broker_url, "VKEY": vkey(service.settings), "NOTEPAD": tmp_path / "pad"}

    async def story() -> None:
        async with service.running():
            exec(compile(source, "docs/messages.md", "exec"), names)
            assert isinstance(await names["main"](), Receipt)  # type: ignore[operator]

    run(story)
