"""A witness over real HTTP: every answer of c2sp.org/tlog-witness, restarts, races, kills; and the log's side of it."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
import tlog_scales.signing
import tlog_scales.tlog

from deploy import cli, submitting
from deploy.submitting import NotCosigned, submit
from deploy.witness import Answer, Witness, WitnessProblem, open_witness
from deploy.witness_http import MAX_BODY, create_app
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import Note, Signer, Verifier, open_note
from ledger.tlog.witness import CosignatureVerifier, Cosigner, cosigned_at
from tests.service.serving import ask, dripping, served
from tests.service.witnesses import (
    LOG,
    ORIGIN,
    OTHER,
    PLACE,
    SECOND_KEY,
    STRANGER,
    checkpoint,
    post,
    request,
    witness_in,
)
from tests.storage.log import Log, make, told
from tests.tlog.naive import naive_consistency

CANNOT = b"this witness cannot read or keep what it cosigns: nothing was cosigned\n"


def test_a_witness_cosigns_what_extends_the_last_and_says_no_to_all_else(tmp_path: Path):
    witness, cosigner = witness_in(tmp_path)
    with served(create_app(witness)) as port:
        assert ask(port, f"/{PLACE}/checkpoint").status == 404, "nothing was cosigned yet"
        assert post(port, request(3, 7)).status == 409, "it never saw three"

        first = post(port, request(0, 3))
        assert (first.status, first.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        note = open_note(checkpoint(3).sign(LOG) + first.body, [LOG.verifier, cosigner.verifier])
        assert len(note.verified) == 2
        assert post(port, request(3, 7)).status == 200
        assert post(port, request(7, 7)).status == 200, "the same again"

        conflict = post(port, request(3, 7))
        assert (conflict.status, conflict.body, conflict.headers["content-type"]) == (409, b"7\n", "text/x.tlog.size")
        for status, body in [
            (400, b""),
            (400, b"old 7\n"),
            (400, request(7, 9).replace(b"old 7", b"old 07")),
            (400, request(7, 9).replace(b"\n", b"\r\n")),
            (400, request(7, 9)[:-1]),
            (400, request(8, 7)),
            (400, b"old 7\n" + b"x" * (MAX_BODY + 100_000)),
            (403, request(7, 9, signer=Signer(ORIGIN, b"?" * 32))),
            (404, request(0, 3, signer=STRANGER)),
            (409, request(0, 7)),
            (409, request(3, 5)),
            (422, request(7, 9, proof=[])),
            (422, request(7, 9, proof=[b"h" * 32] * 4)),
            (422, request(7, 9, root=b"r" * 32)),
            (422, request(7, 7, root=b"r" * 32)),
        ]:
            answer = post(port, body)
            assert answer.status == status, body[:80]
            assert b"\xe2\x80\x94" not in answer.body
        forged = request(7, 9, signer=SECOND_KEY).replace(b"9\n", b"8\n", 1)
        assert post(port, forged).status == 403
        assert post(port, request(7, 9, signer=SECOND_KEY), Content_Type="application/json").status == 200
        assert post(port, request(0, 5, signer=OTHER)).status == 200, "logs have nothing to do with each other"
        assert ask(port, "/add-checkpoint").status == 405


def test_the_checkpoint_that_was_cosigned_last_is_there_to_monitor_whole(tmp_path: Path):
    witness, cosigner = witness_in(tmp_path)
    with served(create_app(witness)) as port:
        for body in (request(0, 3), request(3, 7), request(7, 9, proof=[]), request(3, 9)):
            post(port, body)
        answer = ask(port, f"/{PLACE}/checkpoint")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        found, note = open_checkpoint(answer.body, LOG.verifier, [cosigner.verifier])
        assert (found, len(note.verified)) == (checkpoint(7), 2)
        for path in (PLACE.upper(), PLACE[:-1], "..%2Fkey", sha256(OTHER.name.encode()).hexdigest(), ""):
            assert ask(port, f"/{path}/checkpoint").status == 404


def test_a_cosignature_holds_for_a_verifier_that_we_did_not_write(tmp_path: Path):
    witness, cosigner = witness_in(tmp_path)
    line = witness.add_checkpoint(request(0, 7)).body
    theirs = tlog_scales.tlog.Checkpoint.from_text((checkpoint(7).sign(LOG) + line).decode())
    for vkey in (LOG.vkey, cosigner.vkey):
        theirs.verify(tlog_scales.signing.Vkey.from_string(vkey))
    altered = tlog_scales.tlog.Checkpoint(theirs.origin, 8, theirs.root_hash, theirs.signatures)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever they raise
        altered.verify(tlog_scales.signing.Vkey.from_string(cosigner.vkey))


def test_the_time_of_a_cosignature_is_that_of_the_witness(tmp_path: Path):
    cosigner = Cosigner("witness.example/w1", b"w" * 32)
    witness = Witness(tmp_path, cosigner, [LOG.verifier], clock=lambda: 1_679_315_147.9)
    line = witness.add_checkpoint(request(0, 7)).body
    assert cosigned_at(Note.parse(checkpoint(7).sign(LOG) + line).signatures[1]) == 1_679_315_147


def test_a_log_that_signed_two_trees_of_one_size_is_held_to_it(tmp_path: Path):
    witness, _ = witness_in(tmp_path)
    witness.add_checkpoint(request(0, 7))
    witness.add_checkpoint(request(7, 9, proof=[]))
    witness.add_checkpoint(request(7, 7, proof=[b"h" * 32]))
    assert not (tmp_path / PLACE / "fork.theirs").exists(), "a wrong proof alone proves nothing"
    for other in (b"r" * 32, b"q" * 32):
        assert witness.add_checkpoint(request(7, 7, root=other)).status == 422
    ours, theirs = (
        open_checkpoint((tmp_path / PLACE / f"fork.{side}").read_bytes(), LOG.verifier)[0]
        for side in ("ours", "theirs")
    )
    assert (ours, theirs) == (checkpoint(7), checkpoint(7, b"r" * 32))
    assert witness.add_checkpoint(request(7, 9)).status == 200, "it goes on with the tree that it knows"


def test_of_two_requests_at_once_only_one_passes(tmp_path: Path):
    """Both are held at the lock, where both have been parsed: whoever comes second must see what the first stored."""
    witness, _ = witness_in(tmp_path)
    assert witness.add_checkpoint(request(0, 3)).status == 200
    again, _ = witness_in(tmp_path)  # another process would be no different: each request opens the lock for itself
    lock = tmp_path / PLACE / "lock"
    handle = os.open(lock, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as pool:
        answers: list[Future[Answer]] = [
            pool.submit(witness.add_checkpoint, request(3, 9)),
            pool.submit(again.add_checkpoint, request(3, 7)),
        ]
        until_waiting(lock, 2, answers)
        os.close(handle)
    assert sorted(answer.result().status for answer in answers) == [200, 409]
    passed = next(size for size, answer in zip((9, 7), answers, strict=True) if answer.result().status == 200)
    assert witness.latest(ORIGIN) == checkpoint(passed)


def until_waiting(lock: Path, waiting: int, answers: list[Future[Answer]]) -> None:
    """So many wait for `lock`, as the kernel says, and nobody went past it."""
    inode = f":{lock.stat().st_ino} "
    for _ in range(2000):
        lines = Path("/proc/locks").read_text().splitlines()
        if sum("->" in line and inode in line for line in lines) == waiting:
            break
        threading.Event().wait(0.005)
    else:
        pytest.fail("they do not wait for the lock")
    assert not any(answer.done() for answer in answers)


KILLED = """
import os, signal, sys
from pathlib import Path
from deploy import witness
from ledger.tlog.note import Verifier
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
ours, _ = witness.open_witness(Path(sys.argv[1]), [Verifier.parse(sys.argv[2])], "witness.example/w1")
if sys.argv[3] == "before": os.fsync = die
if sys.argv[3] == "written": Path.replace = die
if sys.argv[3] == "stored": witness.Answer = die
ours.add_checkpoint(sys.stdin.buffer.read())
"""


@pytest.mark.parametrize(("moment", "size"), [("before", 3), ("written", 3), ("stored", 7)])
def test_a_witness_killed_at_any_moment_never_cosigns_two_histories(tmp_path: Path, moment: str, size: int):
    witness, cosigner = witness_in(tmp_path)
    witness.add_checkpoint(request(0, 3))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, LOG.vkey, moment],
        input=request(3, 7),
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    restarted, _ = witness_in(tmp_path)
    assert restarted.latest(ORIGIN) == checkpoint(size)
    assert restarted.add_checkpoint(request(size, 7, root=b"r" * 32, proof=[b"h" * 32] * (7 - size))).status == 422
    with served(create_app(restarted)) as port:
        note = submit(f"http://127.0.0.1:{port}", cosigner.verifier, checkpoint(7).sign(LOG), _naive)
    assert open_note(note.format(), [cosigner.verifier]).verified
    assert restarted.latest(ORIGIN) == checkpoint(7)


def _naive(old: int, size: int) -> list[bytes]:
    return naive_consistency(old, 0, size) if 0 < old < size else []


def test_a_full_disk_is_no_cosignature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    witness, _ = witness_in(tmp_path)
    witness.add_checkpoint(request(0, 3))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, served(create_app(witness)) as port:
        patch.setattr("os.fsync", full)
        answer = post(port, request(3, 7))
        assert (answer.status, answer.body) == (500, CANNOT)
    assert caplog.messages == ["nothing was cosigned: [Errno 28] No space left on device"]
    assert witness.latest(ORIGIN) == checkpoint(3)
    assert witness.add_checkpoint(request(3, 7)).status == 200


def test_a_witness_refuses_to_begin_anew_over_what_it_was(tmp_path: Path):
    witness, _ = witness_in(tmp_path)
    witness.add_checkpoint(request(0, 3))
    with pytest.raises(WitnessProblem, match=r"belongs to the witness witness\.example/w1"):
        open_witness(tmp_path, [LOG.verifier], "witness.example/w2")
    stored = tmp_path / PLACE / "checkpoint"
    whole = stored.read_bytes()
    for damage in (b"", whole[:-30], whole.replace(b"\n3\n", b"\n2\n"), checkpoint(3).sign(LOG)):
        stored.write_bytes(damage)
        with pytest.raises(WitnessProblem, match="damaged"):
            witness_in(tmp_path)
        with pytest.raises(WitnessProblem, match="damaged"):
            witness.add_checkpoint(request(0, 3))
        with served(create_app(witness)) as port:
            assert ask(port, f"/{PLACE}/checkpoint").body == post(port, request(0, 3)).body == CANNOT
    stored.write_bytes(whole)
    for directory, right in ((tmp_path, tmp_path.stat().st_mode), (stored.parent, 0o700)):
        directory.chmod(0o770)
        with pytest.raises(WitnessProblem, match="others may replace"):
            witness_in(tmp_path)
        directory.chmod(right)
    key = tmp_path / "key"
    key.chmod(0o644)
    with pytest.raises(WitnessProblem, match="chmod 600"):
        witness_in(tmp_path)
    key.chmod(0o600)
    seed = key.read_bytes()
    key.write_bytes(seed[:31])
    with pytest.raises(WitnessProblem, match="no whole name and key"):
        witness_in(tmp_path)
    key.unlink()
    with pytest.raises(WitnessProblem, match="missing"):
        witness_in(tmp_path)


def test_the_ledger_has_its_newest_checkpoint_cosigned_as_it_grows(
    database: str,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
):
    log = Log(database, data_dir)
    ledger = log.open()
    monkeypatch.setenv("LEDGER_DATA_DIR", str(data_dir))
    monkeypatch.setenv("LEDGER_DATABASE_URL", database)
    monkeypatch.setenv("LEDGER_BROKER_URL", "nats://127.0.0.1:1")
    witness, cosigner = open_witness(tmp_path, [Verifier.parse(log.vkey)])

    def submitted(vkey: str) -> tuple[int, bytes, bytes]:
        monkeypatch.setattr(sys, "argv", ["promise-ledger", "witness", "submit", f"{url}/", "--vkey", vkey])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capfdbinary.readouterr()

    with served(create_app(witness)) as port:
        url = f"http://127.0.0.1:{port}"
        for first, size in [(0, 5), (5, 8), (8, 8), (8, 300)]:
            for start in range(first, size, 200):
                told(ledger, *(make(number) for number in range(start, min(start + 200, size))))
            code, note, _ = submitted(cosigner.vkey)
            found, opened = open_checkpoint(note, Verifier.parse(log.vkey), [cosigner.verifier])
            assert (code, found.size, len(opened.verified)) == (0, size, 2)
            assert witness.latest(found.origin) == found
        code, note, errors = submitted(CosignatureVerifier("another/name", cosigner.verifier.public_key).vkey)
        assert (code, note) == (1, b"")
        assert b"no cosignature of that key" in b" ".join(errors.split())
    log.close()


def test_a_log_that_lost_events_is_told_so_by_what_the_witness_has_seen(tmp_path: Path):
    witness, cosigner = witness_in(tmp_path)
    witness.add_checkpoint(request(0, 7))
    with served(create_app(witness)) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(NotCosigned, match="has cosigned 7 events and this checkpoint has 3"):
            submit(url, cosigner.verifier, checkpoint(3).sign(LOG), _naive)
        with pytest.raises(NotCosigned, match="answered 422"):
            submit(url, cosigner.verifier, checkpoint(9, b"r" * 32).sign(LOG), _naive)
        with pytest.raises(NotCosigned, match="answered 404"):
            submit(url, cosigner.verifier, checkpoint(7, origin=STRANGER.name).sign(STRANGER), _naive)
    with pytest.raises(NotCosigned, match="no answer from"):
        submit(url, cosigner.verifier, checkpoint(9).sign(LOG), _naive)
    with pytest.raises(NotCosigned, match="not the address"):
        submit("file:///etc", cosigner.verifier, checkpoint(9).sign(LOG), _naive)


def test_a_witness_that_hangs_or_never_ends_is_said_not_to_answer_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent, dripping() as never_ends:
        for url in (f"http://127.0.0.1:{silent.getsockname()[1]}", never_ends):
            with pytest.raises(NotCosigned, match=r"^no answer within 0\.1 s$"):
                submit(url, Cosigner("w", b"w" * 32).verifier, checkpoint(9).sign(LOG), _naive, seconds=0.1)


def test_asking_ends_where_somebody_else_is_always_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[bytes] = []

    def always_other(url: str, body: bytes, seconds: float) -> tuple[int, str, bytes]:
        asked.append(body)
        return 409, "text/x.tlog.size", f"{len(asked)}\n".encode()

    monkeypatch.setattr(submitting, "_post", always_other)
    with pytest.raises(NotCosigned, match="somebody else was faster"):
        submit("http://witness.example", Cosigner("w", b"w" * 32).verifier, checkpoint(9).sign(LOG), _naive)
    assert len(asked) == submitting.TRIES
