"""The client for Python services: typed commands, proven receipts, and the notepad behind it."""

import asyncio
import base64
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from consumers import asking
from consumers.asking import NoAnswer
from consumers.client import Client, Delivery, Spooled, SyncClient
from consumers.cloudevents import Malformed, event_of, parse
from consumers.connection import LedgerClient
from consumers.receipts import UnprovenReceipt, open_answer
from consumers.recording import record_file
from consumers.spool import Spool
from deploy import cli
from deploy.embedded import Nats
from deploy.places import prepare
from ledger.app import Ledger
from ledger.domain.model import Command
from ledger.domain.promise_messages import MakePromise
from ledger.receipts import Receipt, Refusal
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.note import Signer, Verifier
from tests.conftest import new_data_dir, remove
from tests.consumers.conftest import Service
from tests.consumers.events import body, promise
from tests.consumers.test_client import serving
from tests.projections.world import wait_for

NOWHERE = "nats://127.0.0.1:1"
PAGE = (Path(__file__).parents[2] / "docs/messages.md").read_text(encoding="utf-8")


def making(promise_id: str = "P-1", **changes: Any) -> Command:
    return MakePromise.model_validate_json(orjson.dumps(promise(promise_id=promise_id, **changes)))


def vkey(settings: Settings) -> str:
    return Signer(settings.origin, keys.load(settings.keys_dir).log).vkey


def streams(settings: Settings) -> list[str]:
    with psycopg.connect(settings.database_url or "") as connection:
        rows = connection.execute("SELECT originator_id FROM ledger.events ORDER BY notification_id")
        return [row[0] for row in rows]


def run(story: Callable[[], Any]) -> None:
    asyncio.run(story())


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
    other = Signer(service.settings.origin, b"\1" * 32).vkey

    async def story() -> None:
        async with service.running(), Client(service.broker_url, "crm", vkey=other) as client:
            with pytest.raises(UnprovenReceipt, match="not proven under the key"):
                await client.send(making())

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


class NotepadCommand:
    """`promise-ledger note` in this process, in a home of its own: exit code and the JSON that it prints."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> None:
        self.home, self._capture, self._patch = home, capture, patch
        patch.setenv("LEDGER_DATA_DIR", str(home))
        patch.delenv("LEDGER_BROKER_URL", raising=False)

    def __call__(self, *arguments: str) -> tuple[int, Any]:
        self._patch.setattr(sys, "argv", ["promise-ledger", "note", *arguments, "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        found = self._capture.readouterr()
        return int(end.value.code or 0), orjson.loads(found.out) if found.out else found.err.decode()


@pytest.fixture
def note(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> NotepadCommand:
    return NotepadCommand(tmp_path / "home", capfdbinary, monkeypatch)


def test_notes_are_taken_while_everything_is_away_and_recorded_when_it_is_back(
    service: Service, note: NotepadCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = note("--outage", "O-1", "--declare", "crm", "--actor", "u-1", "--customer", "C-2", "Cannot log in.")
    assert (code, said["waiting"], len(said["noted"])) == (0, 2, 2)
    assert "no ledger runs here" in said["reason"]
    monkeypatch.setenv("LEDGER_BROKER_URL", NOWHERE)
    code, said = note("--outage", "O-1", "--customer", "C-1", "--actor", "u-1", "--read-back", "Asks for her order.")
    assert (code, said["waiting"], len(said["noted"])) == (0, 3, 1)
    assert note("--deliver")[0] == 1, "nothing could be delivered: that is bad news for who asked for it"
    assert "Asks for her order." in (note.home / "notepad" / "notes.jsonl").read_text()
    monkeypatch.setenv("LEDGER_BROKER_URL", service.broker_url)
    with serving(service):
        code, said = note("--deliver")
        assert (code, said["recorded"], said["waiting"]) == (0, 3, 0)
        code, said = note("--outage", "O-2", "--customer", "C-1", "Nobody declared this one.")
        assert (code, said["recorded"]) == (1, 0)
        assert "unknown-outage" in said["refused"][0]
    assert streams(service.settings)[:3] == ["outage:O-1"] * 3
    left = {path.name for path in (note.home / "notepad").iterdir()}
    assert left == {"notes.jsonl.answers", "notes.jsonl.aside", "notes.jsonl.lock"}
    assert prepare(note.home) == note.home, "a ledger may start where a notepad lies already"


def test_a_note_that_lacks_something_is_one_sentence_without_its_words(note: NotepadCommand) -> None:
    for arguments in (("--customer", "C-1", "Asks"), ("--outage", "O-1", "Asks"), ("--outage", "O-1"), ()):
        code, said = note(*arguments)
        assert code == 2
        assert "a note needs --outage, --customer and a text" in said
    code, said = note("--outage", "O-1", "--customer", "anna@example.com", "Asks for her order.")
    assert code == 2
    assert "`customer_id` must be a pseudonym" in said
    assert "Asks" not in said
    for given in (("Asks for her order.",), ("--outage", "O-1"), ("--read-back",)):
        code, said = note("--deliver", *given)
        assert code == 2
        assert "--deliver takes no note" in said
    assert not note.home.exists()


def test_what_is_on_disk_is_said_whatever_becomes_of_its_delivery(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text("no JSON")
    monkeypatch.delenv("LEDGER_BROKER_URL", raising=False)
    given = ("note", "--data-dir", str(tmp_path), "--outage", "O-1", "--customer", "C-1", "Asks for her order.")
    monkeypatch.setattr(sys, "argv", ["promise-ledger", *given])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capfd.readouterr()
    assert (end.value.code, "run.json is damaged" in said.err) == (1, True)
    (noted,) = Spool(tmp_path / "notepad" / "notes.jsonl").contents().pending
    assert said.out == f"noted: {orjson.loads(noted.body)['id']}\n"


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
