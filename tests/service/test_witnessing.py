"""The service collects cosignatures: what is published, what proofs say, what a witness in trouble costs."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import tlog_scales.signing
import tlog_scales.tlog
from structlog.testing import capture_logs

from consumers.recording import record_file
from deploy import cli, heartbeat
from deploy.exporting import ExportRefused, export_tiles
from deploy.places import SetupError
from deploy.witness import open_witness
from deploy.witness_http import create_app
from deploy.witnessing import Collector, keep_collecting, read_policy
from ledger.app import Ledger
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import BadProof
from ledger.tlog.note import Note, Signer, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.witness import Cosigner
from projections.web.app import create_app as ledger_app
from projections.web.health import health
from projections.web.tiles import open_pool
from tests.service.running import Up
from tests.service.serving import ask, served
from tests.service.test_kill import line
from tests.storage.log import Log, make, told


@dataclass
class Watched:
    """A log, three witnesses of it, and the policy that two of them are enough."""

    log: Log
    ledger: Ledger
    policy: Policy
    path: Path
    cosigners: list[Cosigner]
    stack: ExitStack
    now: float = 0.0

    def collector(self, policy: Policy | None = None, patience: float = 5.0) -> Collector:
        key = Verifier.parse(self.log.vkey)
        collector = Collector(self.log.url, key, policy or self.policy, patience=patience, clock=lambda: self.now)
        return self.stack.enter_context(closing(collector))

    def grow(self, *numbers: int) -> list[dict[str, Any]]:
        """Record promises and store the checkpoint over them."""
        self.log.now += timedelta(seconds=2)
        return told(self.ledger, *(make(number) for number in numbers))

    def published(self) -> list[int]:
        return [size for (size,) in self.log.ask("SELECT size FROM ledger.witnessed ORDER BY size")]


def policy_text(cosigners: list[Cosigner], urls: list[str], enough: str = "2") -> str:
    lines = [f"witness w{n} {each.vkey} {url}" for n, (each, url) in enumerate(zip(cosigners, urls, strict=True))]
    names = " ".join(f"w{n}" for n in range(len(cosigners)))
    return "\n".join([*lines, f"group enough {enough} {names}", "quorum enough", ""])


@pytest.fixture
def log(readable: str, data_dir: Path) -> Iterator[Log]:
    log = Log(readable, data_dir)
    yield log
    log.close()


@pytest.fixture
def watched(log: Log, tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        cosigners, urls = [], []
        for number in range(3):
            witness, cosigner = open_witness(
                tmp_path / f"w{number}", [Verifier.parse(log.vkey)], f"witness.example/w{number}"
            )
            urls.append(f"http://127.0.0.1:{stack.enter_context(served(create_app(witness)))}")
            cosigners.append(cosigner)
        path = tmp_path / "policy"
        path.write_text(policy_text(cosigners, urls))
        ledger, policy = log.open(), read_policy(path, log.vkey)
        ledger.witness_policy = policy
        yield Watched(log, ledger, policy, path, cosigners, stack)


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a witness that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def others(watched: Watched, *urls: str | None) -> Policy:
    """The policy with other addresses; None: the right one."""
    known = [witness.url or "" for witness in watched.policy.witnesses]
    used = [right if url is None else url for right, url in zip(known, urls, strict=True)]
    return Policy.parse(policy_text(watched.cosigners, used))


DOWN = "http://127.0.0.1:9"


def test_a_checkpoint_is_published_once_the_quorum_has_cosigned_it(watched: Watched, tmp_path: Path):
    with open_pool(watched.log.url) as pool, served(ledger_app(watched.log.url, pool, watched.policy)) as port:
        watched.grow(1, 2, 3)
        assert ask(port, "/checkpoint").status == 404, "signed, and cosigned by nobody yet"
        with pytest.raises(ExportRefused, match="nothing was cosigned yet"):
            export_tiles(watched.log.url, tmp_path / "site", lambda done, total: None, watched.policy)
        collector = watched.collector()
        assert collector.round()
        assert not collector.round(), "nothing is new"
        note = ask(port, "/checkpoint").body
        cosigners = [cosigner.verifier for cosigner in watched.cosigners]
        checkpoint, opened = open_checkpoint(note, Verifier.parse(watched.log.vkey), cosigners)
        assert (checkpoint.size, len(opened.verified)) == (3, 4)
        watched.policy.check(opened.verified)
        theirs = tlog_scales.tlog.Checkpoint.from_text(note.decode())
        for vkey in (watched.log.vkey, *(cosigner.vkey for cosigner in watched.cosigners)):
            theirs.verify(tlog_scales.signing.Vkey.from_string(vkey))
        watched.grow(4)
        assert ask(port, "/checkpoint").body == note, "the next one waits for its cosignatures"
        assert collector.round()
        assert watched.published() == [3, 4]
        export_tiles(watched.log.url, tmp_path / "site", lambda done, total: None, watched.policy)
        assert (tmp_path / "site/checkpoint").read_bytes() == ask(port, "/checkpoint").body


def test_one_that_is_down_holds_up_nothing_and_is_asked_again(watched: Watched):
    collector = watched.collector(others(watched, None, DOWN, None))
    watched.grow(1)
    assert collector.round()
    watched.now += 1
    watched.grow(2)
    assert collector.round()
    failing = collector.detail()["failing"]
    assert (list(failing), failing["w1"]["seconds"]) == (["w1"], 1.0)
    assert "no answer from" in failing["w1"]["reason"]
    restored = watched.collector()
    watched.grow(3)
    assert restored.round()
    (note,) = watched.log.ask("SELECT note FROM ledger.witnessed WHERE size = 3")
    assert len(Note.parse(note[0]).signatures) == 4, "it caught up from what it had cosigned, which was nothing"


HOSTILE = {
    "a sentence": b"HTTP/1.1 500 no\r\nContent-Length: 11\r\n\r\nno\x00\x1b[31m\xc2\x9b\x07",
    "a status line": b"HTTP/1.1 200\x00\x1b[31m \x07\r\n\r\n",
    "no HTTP at all": b"\x00\x1b]0;mine\x07\r\n",
    "a cosignature": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\xe2\x80\x94 \x00\x1b[31m",
    "a size": b"HTTP/1.1 409 no\r\nContent-Type: text/\x1b[31m\r\nContent-Length: 2\r\n\r\n7\x1b",
}


@contextmanager
def answering(said: bytes) -> Iterator[str]:
    """The address of a machine that answers with these bytes, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def beat_once(url: str, detail: dict[str, Any]) -> None:
    """What health reads of the intake is `detail`."""
    stop = threading.Event()

    def said() -> dict[str, Any]:
        stop.set()
        return detail

    heartbeat.beat(url, "intake", said, stop)


def test_what_a_witness_says_never_steers_a_terminal_and_always_fits_the_database(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LEDGER_DATABASE_URL", watched.log.url)
    monkeypatch.setenv("LEDGER_DATA_DIR", str(watched.log.settings.data_dir))
    for number, said in enumerate(HOSTILE.values()):
        watched.grow(number)
        with answering(said) as url, capture_logs() as logs:
            collector = watched.collector(others(watched, url, None, None))
            collector.round()
            vkey = watched.cosigners[0].vkey
            monkeypatch.setattr("sys.argv", ["promise-ledger", "witness", "submit", url, "--vkey", vkey])
            with pytest.raises(SystemExit) as end:
                cli.main()
        assert end.value.code == 1
        reason = collector.detail()["failing"]["w0"]["reason"]
        told = (reason, *(str(each["reason"]) for each in logs), *capfd.readouterr().err.splitlines())
        assert len(told) == 3
        assert [each for each in told if not each.isprintable()] == []
        beat_once(watched.log.url, collector.detail())
        ((kept,),) = watched.log.ask("SELECT detail FROM service.heartbeat WHERE part = 'intake'")
        assert kept["failing"]["w0"]["reason"] == reason


def test_one_that_hangs_costs_its_patience_once_and_is_then_left_out_for_a_while(watched: Watched, nobody: str):
    collector = watched.collector(others(watched, None, None, nobody), patience=0.5)
    watched.grow(1)
    began = time.monotonic()
    assert collector.round()
    assert time.monotonic() - began > 0.4
    assert collector.detail()["failing"]["w2"]["reason"] == "no answer within 0.5 s"  # whichever clock is first
    assert watched.published() == [1]


def test_one_whose_two_answers_take_longer_than_its_patience_counts_once_it_needs_one(watched: Watched, tmp_path: Path):
    """A collector that was just started does not know what it has cosigned, and the log grows at every round."""
    witness, cosigner = open_witness(tmp_path / "slow", [Verifier.parse(watched.log.vkey)], "witness.example/slow")
    app, patience = create_app(witness), 1.5

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(0.6 * patience)
        await app(scope, receive, send)

    url = f"http://127.0.0.1:{watched.stack.enter_context(served(slow))}"
    policy = Policy.parse(policy_text([cosigner], [url], "1"))
    watched.grow(1)
    assert watched.collector(policy).round()
    collector = watched.collector(policy, patience=patience)
    for number in range(2, 10):
        watched.grow(number)
        watched.now += 60
        if collector.round():
            break
    assert watched.published() == [1, number]
    assert collector.detail()["failing"] == {}


def test_without_the_quorum_nothing_is_published_and_receipts_go_out_all_the_same(watched: Watched):
    collector = watched.collector(others(watched, None, DOWN, DOWN))
    receipt = watched.grow(1)[0]
    assert not collector.round()
    watched.log.check_receipt(receipt)
    assert receipt["witnessed"] is False
    assert watched.published() == []
    watched.now += 31
    assert not collector.round()
    assert collector.detail()["waiting_seconds"] == 31.0
    beat = {"witnesses": collector.detail()}
    with psycopg.connect(watched.log.url) as connection:
        connection.execute("INSERT INTO service.heartbeat VALUES ('intake', now(), %s)", [orjson.dumps(beat).decode()])
    found = health(watched.log.url)
    assert "no checkpoint was published for 31 s: the quorum enough is not met" in found.problems
    assert [sentence.partition(" has not")[0] for sentence in found.notices] == ["the witness w1", "the witness w2"]


def test_a_receipt_says_whether_its_checkpoint_is_witnessed_and_a_later_one_is(watched: Watched):
    first = watched.grow(1, 2)
    assert [answer["witnessed"] for answer in first] == [False, False]
    watched.collector().round()
    again = watched.grow(1, 3)
    assert [answer["witnessed"] for answer in again] == [True, False]
    for receipt in again:
        watched.log.check_receipt(receipt)
    opened = _opened(watched, again[0]["proof"])
    watched.policy.check(opened.verified)
    with pytest.raises(BadProof, match="quorum"):
        watched.policy.check(_opened(watched, first[0]["proof"]).verified)


def _opened(watched: Watched, proof: str) -> Note:
    cosigners = [cosigner.verifier for cosigner in watched.cosigners]
    return open_checkpoint(ProofFile.parse(proof).checkpoint_note, Verifier.parse(watched.log.vkey), cosigners)[1]


def test_a_row_that_nobody_cosigned_is_neither_published_nor_called_witnessed(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    watched.grow(1)
    assert watched.collector().round()
    watched.grow(2)
    theirs = Checkpoint("a log that ended", 9, bytes(32))
    ended = Note(theirs.format(), tuple(cosigner.cosign(theirs, 1) for cosigner in watched.cosigners))
    with psycopg.connect(watched.log.url) as connection:
        connection.execute("INSERT INTO ledger.witnessed SELECT * FROM ledger.checkpoints WHERE size = 2")
        connection.execute("INSERT INTO ledger.witnessed VALUES (9, %s, now())", [ended.format().decode()])
    for name, value in (
        ("DATABASE_URL", watched.log.url),
        ("DATA_DIR", str(watched.log.settings.data_dir)),
        ("WITNESS_POLICY", str(watched.path)),
    ):
        monkeypatch.setenv(f"LEDGER_{name}", value)
    assert orjson.loads(_said(capsys, monkeypatch, "checkpoint", "--witnessed", "--json"))["size"] == 1
    proofs = [orjson.loads(_said(capsys, monkeypatch, "prove", leaf, "--json")) for leaf in "01"]
    assert [(proof["size"], proof["witnessed"]) for proof in proofs] == [(1, True), (2, False)]
    monkeypatch.delenv("LEDGER_WITNESS_POLICY")
    assert not orjson.loads(_said(capsys, monkeypatch, "prove", "0", "--json"))["witnessed"], "by nobody that we know"
    with open_pool(watched.log.url) as pool, served(ledger_app(watched.log.url, pool, watched.policy)) as port:
        assert ask(port, "/checkpoint").body.split(b"\n")[1] == b"1"
    assert [answer["witnessed"] for answer in watched.grow(1, 2)] == [False, False]
    with psycopg.connect(watched.log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE ledger.events SET state = '{}' WHERE notification_id = 2")
    with pytest.raises(SystemExit):
        cli.main()
    assert "the log in the database is not the one that was signed" in capsys.readouterr().err


def test_what_another_policy_published_or_nobody_cosigned_keeps_nothing_back_in_silence(watched: Watched):
    alone = Policy.parse(policy_text(watched.cosigners[:1], [watched.policy.witnesses[0].url or ""], "1"))
    watched.grow(1)
    assert watched.collector(alone).round()
    far = Checkpoint(watched.log.settings.origin, 9, bytes(32)).sign(Signer(watched.log.settings.origin, b"?" * 32))
    with psycopg.connect(watched.log.url) as connection:
        connection.execute("INSERT INTO ledger.witnessed VALUES (9, %s, now())", [far.decode()])
    collector = watched.collector()
    assert not collector.round()
    with pytest.raises(LookupError, match="has one over 1 events that the policy does not accept"):
        collector.round()
    watched.grow(2)
    assert collector.round()
    assert watched.published() == [1, 2, 9]
    assert not collector.round()
    assert collector.detail()["published_size"] == 2


def test_a_row_that_is_no_checkpoint_stops_the_collector_for_no_longer_than_it_stands(watched: Watched):
    watched.grow(1)
    collector = watched.collector()
    stop = threading.Event()
    with psycopg.connect(watched.log.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        ((note,),) = owner.execute("SELECT note FROM ledger.checkpoints WHERE size = 1").fetchall()
        owner.execute("UPDATE ledger.checkpoints SET note = %s WHERE size = 1", [note.split("\n")[0] + "\ngarbage"])
        thread = threading.Thread(target=keep_collecting, args=(collector, stop))
        thread.start()
        try:
            wait_for(lambda: "run `promise-ledger verify`" in (collector.detail()["failure"] or ""))
            owner.execute("UPDATE ledger.checkpoints SET note = %s WHERE size = 1", [note])
            wait_for(lambda: watched.published() == [1])
        finally:
            stop.set()
            thread.join()


def wait_for(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_witness_that_saw_another_log_says_so_and_does_not_cosign(watched: Watched):
    """Who stole the signing key and rewrites history meets witnesses that remember."""
    collector = watched.collector()
    watched.grow(1, 2)
    assert collector.round()
    forged = Checkpoint(watched.ledger.origin, 3, bytes(32)).sign(
        Signer(watched.ledger.origin, watched.log.secrets.log)
    )
    with psycopg.connect(watched.log.url) as connection:
        connection.execute("INSERT INTO ledger.checkpoints VALUES (3, %s, now())", [forged.decode()])
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM ledger.witnessed")
    watched.grow(3)
    assert not watched.collector().round()
    assert watched.published() == []
    reasons = [each["reason"] for each in collector.detail()["failing"].values()]
    assert reasons == []
    late = watched.collector()
    late.round()
    assert all("answered 422" in each["reason"] for each in late.detail()["failing"].values())
    assert len(late.detail()["failing"]) == 3


def test_verify_says_how_far_the_witnesses_cover_and_finds_what_they_did_not_sign(watched: Watched):
    watched.grow(1, 2)
    watched.collector().round()
    watched.grow(3)
    report = watched.log.verify(policy=watched.policy)
    assert (report.problem, report.size, report.signed_size, report.witnessed_size) == (None, 3, 3, 2)
    assert watched.log.verify().witnessed_size is None, "nobody said whose word counts"
    ((note,),) = watched.log.ask("SELECT note FROM ledger.witnessed")
    lines = note.splitlines(keepends=True)
    with psycopg.connect(watched.log.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE ledger.witnessed SET note = %s", ["".join(lines[:-2])])
        assert watched.log.verify(policy=watched.policy).witnessed_size == 0, "one cosignature is left of three"
        last = Note.parse(note).signatures[-1]
        forged = replace(last, signature=last.signature[:-1] + bytes([last.signature[-1] ^ 1]))
        owner.execute("UPDATE ledger.witnessed SET note = %s", ["".join([*lines[:-1], forged.format()])])
        problem = watched.log.verify(policy=watched.policy).problem
        assert problem is not None
        assert problem.table == "witnessed"


def test_verify_judges_by_no_policy_of_another_log(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    watched.grow(1)
    watched.collector().round()
    for name, value in (("DATABASE_URL", watched.log.url), ("DATA_DIR", str(watched.log.settings.data_dir))):
        monkeypatch.setenv(f"LEDGER_{name}", value)
    given = tmp_path / "given"
    rotated = Signer(Verifier.parse(watched.log.vkey).name, b"n" * 32).vkey
    for vkey in (watched.log.vkey, rotated):
        given.write_text(f"log {OTHER.vkey}\nlog {vkey}\n{watched.path.read_text()}")
        said = _said(capsys, monkeypatch, "verify", "--policy", str(given), "--json")
        assert orjson.loads(said)["witnessed_size"] == 1
    given.write_text(f"log {OTHER.vkey}\n{watched.path.read_text()}")
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "is for another log" in " ".join(capsys.readouterr().err.replace("│", " ").split())


OTHER = Signer("other.example", b"o" * 32)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("quorum all\n", "is no witness policy"),
        (f"witness w {Cosigner('w.example', b'w' * 32).vkey}\nquorum w\n", "the witness w needs its address"),
        (f"log {OTHER.vkey}\nquorum none\n", "is for another log"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_one_sentence(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "policy"
    path.write_text(text)
    with pytest.raises(SetupError, match=sentence):
        read_policy(path, Signer("log.example", b"l" * 32).vkey)
    with pytest.raises(SetupError, match="is no witness policy"):
        read_policy(tmp_path / "missing", "")


def test_up_publishes_under_its_policy_and_the_command_line_carries_the_cosignatures(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    home = data_dir / "home"
    home.mkdir(mode=0o711)
    key = Signer("localhost/promise-ledger", keys.create(Settings(data_dir=home)).log).verifier
    witness, cosigner = open_witness(tmp_path / "w", [key], "witness.example/w")
    with served(create_app(witness)) as port_of_witness:
        (tmp_path / "policy").write_text(policy_text([cosigner], [f"http://127.0.0.1:{port_of_witness}"], "any"))
        monkeypatch.setenv("LEDGER_WITNESS_POLICY", str(tmp_path / "policy"))
        monkeypatch.setenv("LEDGER_DATA_DIR", str(home))
        up = Up(home)
        try:
            where = orjson.loads((home / "run.json").read_bytes())
            (answer,) = record_file(where["broker_url"], iter([line(1)]))
            assert answer.status == "recorded"
            url = where["http_url"]
            port = int(url.rpartition(":")[2])
            up.until(lambda: ask(port, "/checkpoint").body.split(b"\n")[1:2] not in ([b""], [b"0"]))
            proof = ProofFile.parse(_said(capsys, monkeypatch, "prove", "0"))
            for note in (_said(capsys, monkeypatch, "checkpoint", "--witnessed"), proof.checkpoint_note):
                assert len(open_checkpoint(note, key, [cosigner.verifier])[1].verified) == 2
            assert "cosigned by witnesses: events 0 to" in _said(capsys, monkeypatch, "verify")
            _said(capsys, monkeypatch, "export-tiles", str(tmp_path / "site"))
            for place in (
                str(tmp_path / "site"),
                url,
                f"http://127.0.0.1:{port_of_witness}/{sha256(key.name.encode()).hexdigest()}/checkpoint",
            ):
                said = _said(capsys, monkeypatch, "verify", "--vkey", key.vkey, "--against", place, "--json")
                assert orjson.loads(said)["compared_with_something_kept_outside"] is True
            assert up.stop() == 0
        finally:
            up.kill()


def _said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["promise-ledger", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    assert not end.value.code, said.err
    return said.out


def test_a_witness_exposes_a_log_that_was_rewritten_with_the_stolen_key(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Everything the log itself keeps agrees with the rewritten history; what the witness has seen does not."""
    watched.grow(1, 2, 3)
    assert watched.collector().round()
    guard = watched.log.settings.guard_path
    watched.log.close()
    with psycopg.connect(watched.log.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        for table in ("events", "inbox", "sealed", "customer_keys", "tiles", "checkpoints", "witnessed"):
            owner.execute(f"DELETE FROM ledger.{table}".encode())
        owner.execute("UPDATE ledger.head SET size = 0, frontier = ''")
    guard.unlink()
    with watched.log.open() as thief:
        watched.log._opened.clear()
        told(thief, make(1), make(2), make(4), make(5))
    assert watched.log.verify().problem is None, "within itself it is whole"
    witness = watched.policy.witnesses[0].url
    place = f"{witness}/{sha256(watched.ledger.origin.encode()).hexdigest()}/checkpoint"
    for name, value in (("DATABASE_URL", watched.log.url), ("DATA_DIR", str(watched.log.settings.data_dir))):
        monkeypatch.setenv(f"LEDGER_{name}", value)
    monkeypatch.setattr("sys.argv", ["promise-ledger", "verify", "--against", place])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert "not those that a kept checkpoint was signed for" in " ".join(capsys.readouterr().out.split())
