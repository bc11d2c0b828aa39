"""A restored ledger and its queue: entries come back from what was published, and lost commands are asked for again."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import orjson
import psycopg
import pytest

from consumers.announcing import connect, step
from consumers.channels import events_subject, receipts_subject
from consumers.client import Client
from consumers.contract import asyncapi
from consumers.lost import SENTENCE
from consumers.receipts import Lost, open_answer
from consumers.relay import EventsAnnouncer
from deploy import cli
from deploy.submitting import NotCosigned, submit
from deploy.witness import open_witness
from deploy.witness_http import create_app
from ledger.app import Ledger, Submission
from ledger.log_rotation import rotate_log_key
from ledger.settings import Settings
from ledger.storage.guard import read_guard
from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Signer, Verifier
from ledger.tlog.proof_file import ProofFile
from projections.web.health import health
from tests.consumers.test_messages_page import example, same
from tests.contracts.schemas import validate
from tests.service.serving import served
from tests.storage.log import Answer, Log, copied, copy_directory, make, submission, told

Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def log(readable: str, data_dir: Path) -> Iterator[Log]:
    log = Log(readable, data_dir)
    yield log
    log.close()


@pytest.fixture
def command(log: Log, queue_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`promise-ledger …` on a database: exit code and what it says as JSON."""
    monkeypatch.setenv("LEDGER_DATA_DIR", str(log.settings.data_dir))
    monkeypatch.setenv("LEDGER_BROKER_URL", queue_url)

    def run(url: str, *arguments: str) -> tuple[int, Any]:
        monkeypatch.setenv("LEDGER_DATABASE_URL", url)
        monkeypatch.setattr("sys.argv", ["promise-ledger", *arguments, "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), orjson.loads(said.out) if said.out else said.err

    return run


def answered(queue_url: str, *receipts: Answer) -> None:
    """The receipts are in the stream, as the intake stores them."""

    async def publish() -> None:
        connection = await nats.connect(queue_url)
        for receipt in receipts:
            await connection.jetstream().publish(receipts_subject(receipt["source"]), orjson.dumps(receipt))
        await connection.close()

    asyncio.run(publish())


def recorded(log: Log, *numbers: int) -> list[Answer]:
    with log.open() as ledger:
        log._opened.clear()
        return told(ledger, *(make(number) for number in numbers))


def relayed(log: Log, queue_url: str) -> None:
    """Every event is in the stream of events."""

    async def publish() -> None:
        connection, queue = await connect(log.url), await nats.connect(queue_url)
        while await step(EventsAnnouncer(log.settings.origin), connection, queue, log.now):
            pass
        await connection.close()
        await queue.close()

    asyncio.run(publish())


def published(log: Log, queue_url: str, leaf_index: int, entry: Any) -> None:
    """What somebody else has put into the stream of events as an entry of the log."""
    event = {"source": log.settings.origin, "leafindex": leaf_index, "data": entry}

    async def publish() -> None:
        queue = await nats.connect(queue_url)
        await queue.jetstream().publish(events_subject("promise.made"), orjson.dumps(event))
        await queue.close()

    asyncio.run(publish())


def asked_for(queue_url: str, source: str = "crm") -> list[Lost]:
    async def ask() -> list[Lost]:
        async with Client(queue_url, source) as client:
            return await client.lost()

    return asyncio.run(ask())


def test_published_events_alone_bring_an_older_copy_back(log: Log, queue_url: str, command: Command) -> None:
    recorded(log, 1, 2)
    with copied(log.url, "ledger_from_queue") as url:
        published(log, queue_url, 3, {"somebody": "else, beforehand"})
        receipts = recorded(log, 3, 4, 5)
        answered(queue_url, *receipts)
        relayed(log, queue_url)
        published(log, queue_url, 2, orjson.loads(log.states()[3]))
        published(log, queue_url, 99, 5)
        code, said = command(url, "recover")
        assert code == 1
        assert "the newest receipt on the queue covers 5 events" in said["found"]
        assert [each["id"] for each in said["lost"]] == ["m-3", "m-4", "m-5"]
        code, said = command(url, "recover", "entries", "--grounds", "ticket 88")
        assert (code, said["first"], said["size"], said["left_out"]) == (0, 2, 5, 2)
        code, said = command(url, "recover")
        assert (code, said["problems"], said["commands"], said["lost"]) == (0, [], [], [])
        assert command(url, "verify")[0] == 0
        text = [row["text"] for row in command(url, "trail", "promise:P-4")[1]]
        assert text == ["[lost on " + log_date(url) + "]"]
        assert command(url, "trail", "log")[1][0]["data"]["texts_lost"] == 3
        assert any("events 2 to 4 were brought back" in notice for notice in health(url).notices)


def test_receipts_under_an_earlier_and_a_later_key_are_looked_at(
    log: Log, queue_url: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(queue_url, *recorded(log, 1, 2))
    copy_directory(log.settings.data_dir, tmp_path / "host")
    with copied(log.url, "ledger_keys_on_queue") as url:
        rotate_log_key(log.settings, lambda: log.now)
        code, said = command(log.url, "recover")
        assert (code, said["problems"]) == (0, [])
        assert "the newest receipt on the queue covers 2 events" in said["found"]
        answered(queue_url, *recorded(log, 3))
        code, said = command(log.url, "recover")
        assert {"the newest receipt on the queue covers 4 events"} <= {*said["found"]}
        monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path / "host"))
        code, said = command(url, "recover")
        assert code == 1
        assert said["problems"][0].startswith(
            "the newest receipt on the queue covers 4 events and is signed by another key of this log's name"
        )


def log_date(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM ledger.head")
        return str((row.fetchone() or ("",))[0])


def test_what_nobody_has_is_asked_for_again_once_and_recorded_afresh(
    log: Log, queue_url: str, command: Command
) -> None:
    answered(queue_url, *recorded(log, 1, 2))
    with copied(log.url, "ledger_lost") as url:
        answered(queue_url, *recorded(log, 3), *recorded(log, 4))
        forged = orjson.loads(orjson.dumps(recorded(log, 5)[0]))
        forged["events"][0]["leaf_index"] = 77
        answered(queue_url, forged, {"status": "recorded", "source": "crm", "id": "x"})
        for members in ({"leaf_hash": 5}, {"leaf_hash": None}):  # what would stop whoever reads on
            answered(queue_url, forged | {"events": [forged["events"][0] | members]})
        for lost in ({"id": ["x"]}, {"id": "x"}, {"id": "x", "leaf_indexes": 5, "message": "x"}):
            answered(queue_url, {"status": "lost", "source": "crm"} | lost)
        code, said = command(url, "recover", "anew", "--origin", "example/again", "--grounds", "ticket 88")
        assert (code, said["size"]) == (0, 2)
        assert said["lost"] == [
            {"source": "crm", "id": "m-3", "leaf_indexes": [2], "types": ["promise.made"]},
            {"source": "crm", "id": "m-4", "leaf_indexes": [3], "types": ["promise.made"]},
        ], "the receipt that is not proven is nobody's"
        assert [(each.command_id, each.leaf_indexes) for each in asked_for(queue_url)] == [("m-3", (2,)), ("m-4", (3,))]
        assert command(url, "recover", "lost")[1]["lost"] == [], "asked for once"
        assert command(url, "recover")[0] == 0
        checkpoint = Checkpoint("example/again", 99, bytes(32)).sign(Signer("example/again", bytes(32)))
        answered(queue_url, forged | {"id": "made-up", "proof": ProofFile(0, (), checkpoint).format()})
        assert "another key of this log's name" in command(url, "recover")[1]["problems"][0]
        assert command(url, "recover", "lost")[0] == 0, "whoever made that up, nothing is signed here"
        with Ledger.open(log.settings.model_copy(update={"database_url": url})) as ledger:
            answered(queue_url, *told(ledger, make(3)))
        assert [each.command_id for each in asked_for(queue_url)] == ["m-4"]
        assert command(url, "verify")[0] == 0


def test_a_lost_erasure_is_ordered_again_before_its_words_can_be_sent_again(
    log: Log, queue_url: str, command: Command
) -> None:
    answered(queue_url, *recorded(log, 1, 2))
    with copied(log.url, "ledger_lost_erasures") as url:
        answered(queue_url, *recorded(log, 3, 4))
        with log.open() as ledger:
            log._opened.clear()
            orders = [erase("C-1"), erase("C-3"), erase("C-4")]
            answered(queue_url, *told(ledger, *orders))
        entries = [orjson.loads(state) for state in log.states()]
        published(log, queue_url, 6, entries[6] | {"data": {"grounds": "made up"}, "customer_id": "C-2"})
        for leaf_index in (4, 5):  # leaf 2 and what orders the erasure of C-4 are nowhere
            published(log, queue_url, leaf_index, entries[leaf_index])
        published(log, queue_url, 7, entries[6])
        code, said = command(url, "recover", "anew", "--origin", "example/again", "--grounds", "ticket 88")
        assert (code, said["size"]) == (0, 2)
        assert said["erasures"] == [
            {"leaf_index": 4, "customer_id": "C-1"},
            {"leaf_index": 5, "customer_id": "C-3"},
        ]
        assert [each["id"] for each in said["lost"]] == ["m-3", "m-4", "e-C-1", "e-C-3", "e-C-4"]
        restored = log.settings.model_copy(update={"database_url": url})
        with Ledger.open(restored, clock=lambda: log.now) as ledger:
            again = told(ledger, make(3), make(8), make(4), erase("C-1"))
        assert [answer.get("code") for answer in again] == [
            "customer-erased",
            "customer-erased",
            None,
            "erasure-on-record",
        ]
        report = command(url, "verify", "--rules")[1]
        assert report["ok"], report


def erase(customer_id: str) -> Submission:
    return submission("subject.erase", f"e-{customer_id}", source="operator", customer_id=customer_id, grounds="art-17")


def test_a_lost_answer_is_as_the_contract_and_the_page_say() -> None:
    lost = Lost("crm", "crm-20261121-000001", (0,), SENTENCE)
    said = orjson.loads(lost.to_json())
    assert same(said, example("lost"))
    contract = asyncapi()
    validate(said, contract["components"]["schemas"]["Lost"], contract)
    with pytest.raises(Lost) as caught:
        open_answer(lost.to_json(), source="crm", command_id="crm-20261121-000001", verifiers=())
    assert (caught.value.command_id, caught.value.leaf_indexes) == ("crm-20261121-000001", (0,))


def test_a_queue_that_is_away_is_not_left_out_in_silence(
    log: Log, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(log, 1)
    monkeypatch.setenv("LEDGER_BROKER_URL", "nats://127.0.0.1:9")
    code, said = command(log.url, "recover")
    assert code == 1
    assert "--without-queue" in said
    code, said = command(log.url, "recover", "--without-queue")
    assert (code, said["problems"]) == (0, [])
    assert "not looked at: receipts and events on the queue" in said["found"]


def test_copies_of_key_and_guard_are_exposed_by_a_receipt_and_by_a_witness(
    log: Log, queue_url: str, command: Command, tmp_path: Path
) -> None:
    """Two machines, each consistent with itself: only what others keep shows that there are two."""
    recorded(log, 1, 2)
    with copied(log.url, "ledger_twin") as url:
        twin = Settings(data_dir=tmp_path / "twin", database_url=url)
        copy_directory(log.settings.data_dir / "keys", twin.data_dir / "keys")
        (twin.data_dir / "guard").write_bytes(log.settings.guard_path.read_bytes())
        answered(queue_url, *recorded(log, 3))
        with Ledger.open(twin) as other:
            told(other, make(30), make(31))
        witness, cosigner = open_witness(tmp_path / "w", [Verifier.parse(log.vkey)], "witness.example/w")
        with served(create_app(witness)) as port:
            submitted(f"http://127.0.0.1:{port}", cosigner.verifier, log.url, log.settings)
            with pytest.raises(NotCosigned, match="answered 422"):
                submitted(f"http://127.0.0.1:{port}", cosigner.verifier, url, twin)
        code, said = command(url, "recover", "--data-dir", str(twin.data_dir))
        assert code == 1
        assert "two services have signed with one key" in said["problems"][0]
        assert said["commands"] == ['promise-ledger recover anew --origin NAME --grounds "WHY"']
        assert [each["id"] for each in said["lost"]] == ["m-3"]
        assert command(log.url, "recover")[0] == 0, "the other one is whole"


def submitted(witness: str, verifier: Any, url: str, settings: Settings) -> None:
    with psycopg.connect(url) as connection:
        reader = TreeReader(connection.cursor())
        submit(witness, verifier, read_guard(settings.guard_path) or b"", reader.consistency_proof)
