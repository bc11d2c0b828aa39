"""Through the real queue and the real database: what goes in, what comes back, what is kept."""

import asyncio
from typing import Any

import nats.errors
import orjson
import psycopg
import pytest

from consumers import deadletters, recording
from consumers.asking import NoAnswer
from consumers.channels import COMMAND_BYTES, MESSAGE_BYTES
from consumers.client import Client
from consumers.connection import NotProvisioned
from consumers.intake import DELIVERIES, serve
from consumers.provision import provision
from deploy.serve_intake import _intake_detail
from ledger.app import Appended, Fork, Ledger, Submission
from ledger.domain.promise_messages import MakePromise
from ledger.key_provider import KeyProblem
from ledger.receipts import Outcome
from ledger.storage import keys
from ledger.storage.guard import ForkGuard
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Signer, Verifier, open_note
from ledger.tlog.proof_file import ProofFile
from tests.consumers.conftest import Sender, Service
from tests.consumers.events import LATER, NOON, body, promise

BINARY = {"ce-specversion": "1.0", "ce-id": "c-b", "ce-source": "crm", "ce-type": "promise.make", "ce-time": NOON}


def test_a_command_gets_a_proven_receipt_at_its_address_and_the_same_one_durably(service: Service) -> None:
    async def story() -> None:
        with Ledger.open(service.settings) as ledger:
            async with service.running(ledger) as sender:
                receipt = await sender.ask(body())
                durable = await sender.js.get_last_msg("LEDGER_RECEIPTS", "ledger.receipts.crm")
            assert receipt["status"] == "recorded"
            assert (receipt["source"], receipt["id"]) == ("crm", "c-1")
            assert orjson.loads(durable.data or b"") == receipt
            proof = ProofFile.parse(receipt["proof"])
            assert proof.index == receipt["events"][0]["leaf_index"] == 0
            open_note(proof.checkpoint_note, [Verifier.parse(ledger.vkey)])
        async with service.sender() as sender:
            assert await sender.stored("LEDGER_COMMANDS") == 0, "answered commands leave the queue"

    asyncio.run(story())


def test_binary_and_structured_commands_are_the_same_command(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            first = await sender.ask(orjson.dumps(promise()), headers=BINARY)
            again = await sender.ask(body(id="c-b"))
            assert first["status"] == "recorded"
            assert again["events"] == first["events"]

    asyncio.run(story())


def test_the_same_command_again_gets_the_original_receipt_and_other_content_is_refused(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            first = await sender.ask(body())
            again = await sender.ask(body())
            other = await sender.ask(body(promise(text="Something else.")))
            assert again["events"] == first["events"]
            assert again["recorded_at"] == first["recorded_at"]
            assert (other["status"], other["code"]) == ("refused", "id-reused")

    asyncio.run(story())


MALFORMED: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"We promise.", "not-json"),
    "wrong specversion": (body(specversion="0.3"), "bad-specversion"),
    "missing id": (body(id=None), "bad-id"),
    "id with @": (body(id="anna@example.com"), "bad-id"),
    "customer id with @": (body(promise(customer_id="anna@example.com")), "bad-member"),
    "unknown type": (body(type="promise.forget"), "unknown-type"),
    "unknown member": (body(promise(surprise=1)), "unknown-member"),
    "time without offset": (body(promise(occurred_at="2026-11-21T12:00:00")), "bad-member"),
    "65 KiB": (body(promise(text="x" * 65 * 1024)), "too-large"),
    "invalid UTF-8": (body(promise(text="__")).replace(b"__", b"\xff\xfe"), "not-utf-8"),
    "deeply nested": (b'{"specversion":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested-too-deeply"),
    "NUL in a text": (body(promise(text="a\x00b")), "bad-member"),
    "the source of the timer": (body(source="timer"), "bad-source"),
}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "due in the past of the promise": (
        "promise.make",
        promise(promise_id="P-9", due_at="2026-11-20T12:00:00+01:00"),
        "due-before-made",
    ),
    "promise id taken": ("promise.make", promise(text="Once more."), "id-taken"),
    "unknown promise": ("promise.claim_kept", {"promise_id": "P-404"}, "unknown-promise"),
    "transition not allowed": ("promise.resume", {"promise_id": "P-1"}, "not-allowed"),
    "self-verification": ("promise.verify", {"promise_id": "P-2", "verified_by": "team-voice"}, "self-verification"),
    "reschedule without disclosure": (
        "promise.reschedule",
        {"promise_id": "P-1", "new_due_at": "2026-11-25T12:00:00+01:00", "disclosure_id": "D-404"},
        "undisclosed-reschedule",
    ),
}


def test_every_bad_input_gets_a_sentence_and_harms_no_neighbour(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            await sender.ask(body())
            await sender.ask(body(promise(promise_id="P-2"), id="c-2"))
            claim = {"actor": "u-17", "occurred_at": NOON, "promise_id": "P-2"}
            await ask_typed(sender, "promise.claim_kept", claim, "c-3")
            waiting: dict[str, tuple[asyncio.Future[Any], str]] = {}
            neighbours = []
            for number, (name, (sent, code)) in enumerate(MALFORMED.items()):
                waiting[name] = (await sender.send(sent), code)
                good = body(promise(promise_id=f"N-{number}"), id=f"n-{number}")
                neighbours.append(await sender.send(good))
            for number, (name, (kind, data, code)) in enumerate(REFUSED.items()):
                sent = body({"actor": "u-17", "occurred_at": NOON} | data, type=kind, id=f"r-{number}")
                waiting[name] = (await sender.send(sent, subject=f"ledger.commands.{kind}"), code)
            for name, (future, code) in waiting.items():
                answer = await asyncio.wait_for(future, 15)
                assert answer["code"] == code, (name, answer)
                assert answer["status"] == ("malformed" if name in MALFORMED else "refused"), (name, answer)
                assert answer["message"].endswith("."), (name, answer)
                assert "anna" not in answer["message"]
            for neighbour in neighbours:
                assert (await asyncio.wait_for(neighbour, 15))["status"] == "recorded"

    asyncio.run(story())
    letters = deadletters.dead_letters(service.broker_url)
    assert sorted(letter.code for letter in letters) == sorted(code for _, code in MALFORMED.values())
    kept = {sent if len(sent) <= COMMAND_BYTES else b"" for sent, _ in MALFORMED.values()}
    assert {letter.body for letter in letters} == kept


async def ask_typed(sender: Sender, kind: str, data: dict[str, Any], command_id: str) -> Any:
    return await sender.ask(body(data, type=kind, id=command_id), subject=f"ledger.commands.{kind}")


def test_a_message_beyond_all_measure_is_refused_by_the_queue_itself(service: Service) -> None:
    async def story() -> None:
        async with service.sender() as sender:
            with pytest.raises(nats.errors.Error, match="maximum"):
                await sender.send(b"x" * (MESSAGE_BYTES + 1))

    asyncio.run(story())


def test_a_command_on_the_subject_of_another_type_is_no_command(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            answer = await sender.ask(body(), subject="ledger.commands.promise.break")
            assert (answer["status"], answer["code"]) == ("malformed", "wrong-subject")
            assert "ledger.commands.promise.make or ledger.commands.from.crm.promise.make" in answer["message"]

    asyncio.run(story())


def test_a_source_with_dots_has_a_subject_of_its_own(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            for source in ("crm.eu", "crm..eu", ".crm", "crm:eu"):
                receipt = await sender.ask(body(promise(promise_id=f"P{source}"), source=source))
                assert receipt["status"] == "recorded"
                subject = "ledger.receipts." + source.replace(".", "%2E")
                async with asyncio.timeout(20):  # it was answered at once, and leaves the queue when that is durable
                    while await sender.stored("LEDGER_COMMANDS"):
                        await asyncio.sleep(0.01)
                durable = await sender.js.get_last_msg("LEDGER_RECEIPTS", subject)
                assert orjson.loads(durable.data or b"") == receipt

    asyncio.run(story())


def test_no_sender_makes_the_ledger_speak_to_the_server_or_to_itself(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            heard = await sender.connection.subscribe(">")
            for number, address in enumerate(
                ("$JS.API.STREAM.DELETE.LEDGER_RECEIPTS", "ledger.commands.x", "a b 5", "a.*", "", "a..b", "x" * 300)
            ):
                sent = body(promise(promise_id=f"P-{number}"), id=f"c-{number}")
                headers = {"reply_to": address}
                await sender.js.publish("ledger.commands.promise.make", sent, headers=headers)
            assert (await sender.ask(body(id="last")))["code"] == "id-taken"
            subjects = {(await heard.next_msg(1)).subject for _ in range(heard.pending_msgs)}
            assert not {subject for subject in subjects if subject.startswith(("$JS.API.STREAM.DELETE", "a", "x"))}
            assert "ledger.commands.x" not in subjects
        async with service.sender() as sender:
            assert await sender.stored("LEDGER_RECEIPTS") == 8, "the durable answers are there all the same"

    asyncio.run(story())


def test_a_dead_letter_is_listed_and_replayed_as_it_was_or_mended(service: Service, settings: Any) -> None:
    async def send(*sent: bytes) -> list[Any]:
        async with service.running() as sender:
            return [await sender.ask(each) for each in sent]

    wrong = body(type="promise.forget")
    asyncio.run(send(wrong, b"\xff"))
    first, second = deadletters.dead_letters(service.broker_url)
    assert (first.code, first.body, first.source, first.command_id) == ("unknown-type", wrong, "crm", "c-1")
    assert first.subject == "ledger.commands.promise.make"
    assert second.body == b"\xff"
    assert "reply_to" in first.headers

    deadletters.replay(service.broker_url, first.number, body=body())
    deadletters.replay(service.broker_url, second.number)
    with pytest.raises(deadletters.NoSuchLetter, match=f"no dead letter {first.number}"):
        deadletters.replay(service.broker_url, first.number)
    assert asyncio.run(send(body()))[0]["status"] == "recorded"
    (again,) = deadletters.dead_letters(service.broker_url)
    assert again.body == b"\xff"
    with psycopg.connect(settings.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM ledger.events").fetchone() == (1,)


def test_the_service_provisions_nothing(service: Service) -> None:
    async def story() -> None:
        async with service.sender() as sender:
            await sender.js.delete_consumer("LEDGER_COMMANDS", "intake")
            with Ledger.open(service.settings) as ledger, pytest.raises(NotProvisioned, match="promise-ledger migrate"):
                await asyncio.wait_for(serve(service.settings, ledger, asyncio.Event()), 30)
            assert await sender.js.consumers_info("LEDGER_COMMANDS") == []

    asyncio.run(story())


def test_a_stream_that_is_gone_is_named_until_it_is_made_anew(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "NATS has no stream LEDGER_COMMANDS, or not yet: `promise-ledger migrate` makes a missing one anew"
    monkeypatch.setattr(recording, "TRY_SECONDS", 0.05)

    async def until(known: bool) -> str | None:
        for _ in range(400):
            if (service.progress.refused is not None) == known:
                break
            await asyncio.sleep(0.05)
        return service.progress.refused

    async def story() -> None:
        async with service.running() as sender, Client(service.broker_url, "crm") as client:
            assert (await sender.ask(body(id="c-1")))["status"] == "recorded"
            await sender.js.delete_stream("LEDGER_COMMANDS")
            refused = await until(True)
            assert refused is not None
            assert "the stream LEDGER_COMMANDS or its consumer intake is gone" in refused
            assert _intake_detail(service.progress, None, None)["failure"] == refused
            with pytest.raises(NoAnswer, match=f"The queue does not take commands: {gone}"):
                await client.send(MakePromise.model_validate(promise()), id="c-2")
            with pytest.raises(NoAnswer, match=f"The queue does not take line 1: {gone}"):
                [burst async for burst in recording.record_lines(service.broker_url, [body(id="c-3")])]
            await asyncio.to_thread(provision, service.broker_url)
            assert await until(False) is None
            assert (await sender.ask(body(id="c-1")))["status"] == "recorded"

    asyncio.run(story())


class Faulty:
    """A ledger that fails where a test says so, and is itself otherwise."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.appends = 0
        self.answers = 0

    def append(self, batch: list[Submission]) -> Appended:
        self.appends += 1
        return self.ledger.append(batch)

    def answer(self, appended: Appended) -> list[Outcome]:
        self.answers += 1
        return self.ledger.answer(appended)

    def flush(self) -> None:
        self.ledger.flush()


def test_nothing_is_acknowledged_before_the_commit(service: Service) -> None:
    class Away(Faulty):
        away = True

        def append(self, batch: list[Submission]) -> Appended:
            if self.away:
                self.appends += 1
                raise psycopg.OperationalError("the database is away")
            return super().append(batch)

    async def story() -> None:
        with Ledger.open(service.settings) as ledger:
            away = Away(ledger)
            async with service.running(away) as sender:
                future = await sender.send(body())
                while away.appends == 0:
                    await asyncio.sleep(0.01)
                assert await sender.stored("LEDGER_COMMANDS") == 1
                assert await sender.stored("LEDGER_RECEIPTS") == 0
                assert service.progress.failure == "the database is away"
                away.away = False
                assert (await asyncio.wait_for(future, 15))["status"] == "recorded"
                assert service.progress.failure is None

    asyncio.run(story())


def test_a_crash_between_commit_and_answer_is_healed_by_the_inbox(service: Service) -> None:
    class Mute(Faulty):
        def answer(self, appended: Appended) -> list[Outcome]:
            if self.answers == 0:
                self.answers += 1
                raise RuntimeError("killed after the commit")
            return super().answer(appended)

    async def story() -> None:
        with Ledger.open(service.settings) as ledger:
            mute = Mute(ledger)
            async with service.running(mute) as sender:
                receipt = await sender.ask(body())
            assert mute.answers == 2
            assert receipt["events"][0]["leaf_index"] == 0
        with psycopg.connect(service.settings.database_url or "") as connection:
            assert connection.execute("SELECT count(*) FROM ledger.events").fetchone() == (1,)

    asyncio.run(story())


def test_a_command_that_keeps_failing_goes_to_the_dead_letters_and_its_neighbours_do_not(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.intake._delay", lambda times: 0.05)

    class Poisoned(Faulty):
        def append(self, batch: list[Submission]) -> Appended:
            if any(each.command_id == "poison" for each in batch):
                raise ValueError("a fault of ours")
            return super().append(batch)

    async def story() -> None:
        with Ledger.open(service.settings) as ledger:
            async with service.running(Poisoned(ledger)) as sender:
                poison = await sender.send(body(promise(promise_id="P-x"), id="poison"))
                for number in range(20):
                    sent = body(promise(promise_id=f"P-{number}"), id=f"c-{number}")
                    assert (await sender.ask(sent))["status"] == "recorded"
                answer = await asyncio.wait_for(poison, 15)
                assert answer["code"] == "keeps-failing"
        async with service.sender() as sender:
            assert await sender.stored("LEDGER_COMMANDS") == 0

    asyncio.run(story())
    (letter,) = deadletters.dead_letters(service.broker_url)
    assert letter.command_id == "poison"
    assert letter.deliveries >= 5


def test_a_ledger_that_fails_at_everything_dead_letters_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.intake._delay", lambda times: 0.02)

    class Broken(Faulty):
        broken = True

        def append(self, batch: list[Submission]) -> Appended:
            self.appends += 1
            if self.broken:
                raise ValueError("a fault of ours")
            return super().append(batch)

    async def story() -> None:
        with Ledger.open(service.settings) as ledger:
            broken = Broken(ledger)
            async with service.running(broken) as sender:
                sent = [body(promise(promise_id=f"P-{number}", due_at=LATER), id=f"c-{number}") for number in range(3)]
                waiting = [await sender.send(each) for each in sent]
                while broken.appends < 60:
                    await asyncio.sleep(0.02)
                broken.broken = False
                for future in waiting:
                    assert (await asyncio.wait_for(future, 15))["status"] == "recorded"
                assert await sender.stored("LEDGER_DEADLETTERS") == 0

    asyncio.run(story())


def test_while_the_device_that_keeps_a_key_is_away_commands_wait_and_none_is_a_dead_letter(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of one customer cannot be opened, those of others are at hand: yet the command is not at fault."""
    monkeypatch.setattr("consumers.intake._delay", lambda times: 0.05)

    class Locked(Faulty):
        locked = True
        asked = 0

        def append(self, batch: list[Submission]) -> Appended:
            if self.locked and any(each.command_id == "new" for each in batch):
                self.asked += 1
                raise KeyProblem("the key device does not answer")
            return super().append(batch)

    async def story() -> None:
        with Ledger.open(service.settings) as ledger:
            locked = Locked(ledger)
            async with service.running(locked) as sender:
                sent = [body(promise(promise_id=f"P-{each}", due_at=LATER), id=each) for each in ("new", "a", "b", "c")]
                waiting = [await sender.send(each) for each in sent]
                async with asyncio.timeout(15):
                    while locked.asked < 3 * DELIVERIES or service.progress.failure != "the key device does not answer":
                        await asyncio.sleep(0.02)
                        assert not waiting[0].done()
                locked.locked = False
                for future in waiting:
                    assert (await asyncio.wait_for(future, 15))["status"] == "recorded"
                assert await sender.stored("LEDGER_DEADLETTERS") == 0

    asyncio.run(story())


def test_a_batch_of_hundreds_is_answered_in_full(service: Service) -> None:
    async def story() -> None:
        async with service.running() as sender:
            waiting = [
                await sender.send(body(promise(promise_id=f"P-{number}"), id=f"c-{number}")) for number in range(700)
            ]
            for future in waiting:
                assert (await asyncio.wait_for(future, 20))["status"] == "recorded"
        async with service.sender() as sender:
            assert await sender.stored("LEDGER_RECEIPTS") == 700
            assert await sender.stored("LEDGER_COMMANDS") == 0

    asyncio.run(story())


def test_a_database_that_fell_behind_what_was_signed_ends_the_intake_and_the_commands_stay(service: Service) -> None:
    secrets = keys.load(service.settings.keys_dir)
    ahead = Checkpoint(service.settings.origin, 9, bytes(32)).sign(Signer(service.settings.origin, secrets.log))

    async def story(ledger: Ledger) -> None:
        guard = ForkGuard(service.settings.guard_path)
        guard.write(ahead)
        guard.close()
        async with service.sender() as sender:
            await sender.send(body())
            with pytest.raises(Fork, match="9 events was signed, and the database holds fewer"):
                await asyncio.wait_for(serve(service.settings, ledger, asyncio.Event()), 30)
            assert await sender.stored("LEDGER_COMMANDS") == 1

    with Ledger.open(service.settings) as ledger:
        asyncio.run(story(ledger))
        assert ledger.stored_entries([0]) == []
