"""A witness that fetches for itself follows a log from its tiles, and says where it contradicts itself."""

import signal
import threading
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError

import psycopg
import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from deploy import feeding
from deploy.exporting import export_tiles
from deploy.feeding import feed
from deploy.witness import open_witness
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import BadSignature
from ledger.tlog.merkle import leaf_hash, root
from ledger.tlog.note import Note, Signer, Verifier, open_note
from ledger.tlog.witness import AddCheckpoint, CosignatureVerifier
from projections.web.app import create_app as ledger_app
from projections.web.tiles import open_pool
from tests.service.entries import LOG as LEDGER
from tests.service.entries import entry, sign, store
from tests.service.serving import ask, dripping, served
from tests.service.witnesses import LOG, ORIGIN, checkpoint, post, request, running, witness_in
from tests.storage.log import Log, make, told


def test_a_restarted_witness_has_its_key_remembers_and_may_fetch_for_itself(database: str, tmp_path: Path):
    state = tmp_path / "state"
    with running(state, "--log", LEDGER.vkey, "--name", "witness.example/w1") as witness:
        verifier = CosignatureVerifier.parse(witness.vkey)
        answer = post(witness.port, request(0, 3, signer=LEDGER))
        open_note(checkpoint(3, origin=LEDGER.name).sign(LEDGER) + answer.body, [verifier])
        assert witness.end(signal.SIGKILL) == -signal.SIGKILL
    assert (state / "key").stat().st_mode & 0o777 == 0o600
    sign(database, store(database, [b"entry %d" % index for index in range(7)]))
    with (
        open_pool(database) as pool,
        served(ledger_app(database, pool)) as port,
        running(state, "--log", LEDGER.vkey, f"http://127.0.0.1:{port}", "--every", "0.1") as witness,
    ):
        assert witness.vkey == verifier.vkey
        assert post(witness.port, request(0, 3, signer=LEDGER)).status == 409
        for _ in range(200):
            found = ask(witness.port, f"/{sha256(LEDGER.name.encode()).hexdigest()}/checkpoint")
            if open_checkpoint(found.body, LEDGER.verifier, [verifier])[0].size == 7:
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("it does not fetch")
        assert witness.end(signal.SIGTERM) == 0


def test_a_witness_that_fetches_for_itself_follows_the_log(database: str, data_dir: Path, tmp_path: Path):
    log = Log(database, data_dir)
    key = Verifier.parse(log.vkey)
    witness, _ = open_witness(tmp_path, [key])
    with open_pool(database) as pool, served(ledger_app(database, pool)) as port:
        url = f"http://127.0.0.1:{port}/"
        with pytest.raises(HTTPError, match="404"):
            feed(witness, key, url)
        for first, size in [(0, 5), (5, 256), (256, 600)]:
            ledger = log.open()
            for start in range(first, size, 200):
                told(ledger, *(make(number) for number in range(start, min(start + 200, size))))
            log.close()
            answer = feed(witness, key, url)
            assert answer is not None
            assert (answer.status, feed(witness, key, url)) == (200, None)
            latest = witness.latest(key.name)
            assert latest is not None
            assert (latest.size, latest.root) == (size, root(log.states()))


def test_a_log_that_answers_with_noise_or_never_ends_stops_no_witness_from_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    witness, _ = witness_in(tmp_path)
    monkeypatch.setattr(feeding, "SECONDS", 0.3)
    routes = [
        Route(f"/{number}/checkpoint", lambda _, to=to: RedirectResponse(to)) for number, to in enumerate(NOWHERE)
    ]
    with served(Starlette(routes=routes)) as port, dripping() as never_ends:
        for url in (*(f"http://127.0.0.1:{port}/{number}" for number in range(len(NOWHERE))), never_ends):
            with pytest.raises(OSError, match=r"http://|idna|longer than"):
                feed(witness, LOG.verifier, url)
        stop = threading.Event()
        stop.set()
        feeding.keep_feeding(witness, LOG.verifier, f"http://127.0.0.1:{port}/0", 60.0, stop)
    assert f"{ORIGIN} at http://127.0.0.1:{port}/0" in caplog.text


NOWHERE = ("http://[::1", "http://a..b/", f"http://{'a' * 70}.example/")


def test_a_witness_that_fetches_notices_what_was_rewritten_or_cut(database: str, tmp_path: Path):
    entries = [entry(index) for index in range(600)]
    witness, _ = witness_in(tmp_path, LEDGER)
    with open_pool(database) as pool, served(ledger_app(database, pool)) as port:
        url = f"http://127.0.0.1:{port}"

        def shows(size: int, tree: bytes) -> None:
            with psycopg.connect(database) as connection:
                connection.execute("SET session_replication_role = replica")
                connection.execute("DELETE FROM ledger.checkpoints")
            sign(database, Checkpoint(LEDGER.name, size, tree))

        store(database, entries)
        shows(300, root(entries[:300]))
        assert feed(witness, LEDGER.verifier, url) is not None
        shows(600, root([b"another", *entries[1:]]))
        for status, size, tree in [
            (422, 600, root([b"another", *entries[1:]])),
            (422, 300, root([b"another", *entries[1:300]])),
            (409, 299, root(entries[:299])),
            (200, 600, root(entries)),
        ]:
            shows(size, tree)
            answer = feed(witness, LEDGER.verifier, url)
            assert answer is not None
            assert answer.status == status
        assert (tmp_path / sha256(LEDGER.name.encode()).hexdigest() / "fork.theirs").exists()
        shows(600, root(entries))
        with pytest.raises(BadSignature):
            feed(witness, Signer(LEDGER.name, b"?" * 32).verifier, url)


def test_a_witness_that_fetches_takes_the_full_tile_where_the_partial_one_is_gone(database: str, tmp_path: Path):
    entries = [entry(index) for index in range(600)]
    site, state = tmp_path / "site", tmp_path / "state"
    store(database, entries)
    sign(database, Checkpoint(LEDGER.name, 300, root(entries[:300])))
    export_tiles(database, site, lambda done, total: None)
    (site / "tile/0/001.p/44").rename(site / "tile/0/001.gone")
    (site / "tile/0/001").write_bytes(b"".join(map(leaf_hash, entries[256:512])))
    witness, _ = witness_in(state, LEDGER)
    witness.add_checkpoint(request(0, 0, signer=LEDGER, root=root([])))
    short = Checkpoint(LEDGER.name, 270, root(entries[:270]))
    witness.add_checkpoint(AddCheckpoint(0, (), Note.parse(short.sign(LEDGER)), short).format())
    with served(Starlette(routes=[Mount("/", StaticFiles(directory=site))])) as port:
        answer = feed(witness, LEDGER.verifier, f"http://127.0.0.1:{port}")
    assert answer is not None
    assert answer.status == 200
