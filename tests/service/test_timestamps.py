"""Checkpoints are stamped by a timestamp authority (RFC 3161): here a local one, made with OpenSSL."""

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import CertificateBuilder, load_pem_x509_certificate
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route

from deploy import cli, timestamping
from deploy.places import SetupError
from deploy.timestamping import Anchor, anchor_of, read_roots
from ledger.settings import Settings
from ledger.storage.sql import QUERIES
from ledger.timestamps import BadTimestamp, request_for, stamped_at
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.note import Note, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.witness import Cosigner
from projections.site import Site
from projections.web.health import health
from tests.service.serving import dripping, served
from tests.storage.log import NOON, Log, make, told

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs the program openssl for a timestamp authority")

CONFIGURATION = """
[ authority ]
serial = {directory}/serial
default_policy = 1.2.3.4.1
digests = sha512
signer_digest = sha256
ess_cert_id_alg = sha256
[ signer ]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[ root ]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[ req ]
distinguished_name = name
[ name ]
"""


class Authority:
    """A timestamp authority with a root of its own; `reply` answers a request."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory, self.configuration = directory, directory / "configuration"
        self.configuration.write_text(CONFIGURATION.format(directory=directory))
        (directory / "serial").write_text("01\n")
        self.root = directory / "root.pem"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-config", self.configuration]
        self._run("req", "-x509", *key, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=root", "-days", "2",
                  "-extensions", "root")  # fmt: skip
        self._run("req", *key, "-keyout", "signer.key", "-out", "signer.csr", "-subj", "/CN=authority")
        self._run("x509", "-req", "-in", "signer.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
                  "-days", "2", "-extfile", self.configuration, "-extensions", "signer",
                  "-out", "signer.pem")  # fmt: skip

    def reply(self, request: bytes) -> bytes:
        (self.directory / "query").write_bytes(request)
        self._run("ts", "-reply", "-config", self.configuration, "-section", "authority", "-queryfile", "query",
                  "-signer", "signer.pem", "-inkey", "signer.key", "-out", "reply")  # fmt: skip
        return (self.directory / "reply").read_bytes()

    def _run(self, *arguments: Any) -> None:
        assert OPENSSL is not None
        subprocess.run([OPENSSL, *arguments], cwd=self.directory, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "good")


@pytest.fixture
def log(readable: str, data_dir: Path) -> Iterator[Log]:
    log = Log(readable, data_dir)
    yield log
    log.close()


@contextmanager
def answering(reply: Any) -> Iterator[str]:
    """The address where `reply` answers what is posted."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def anchor(log: Log, authority: Authority, url: str, hours: int = 1) -> Anchor:
    return Anchor(log.url, url, read_roots(authority.root), timedelta(hours=hours), Site())


def grow(log: Log, *numbers: int) -> None:
    with log.open() as ledger:
        log._opened.clear()
        log.now += timedelta(seconds=2)
        told(ledger, *(make(number) for number in numbers))


def test_the_newest_checkpoint_is_stamped_now_and_then_and_verify_judges_the_stamp(log: Log, authority: Authority):
    grow(log, 1, 2, 3)
    roots = read_roots(authority.root)
    with answering(authority.reply) as url:
        stamping = anchor(log, authority, url)
        assert stamping.round(NOON)
        grow(log, 4)
        assert not stamping.round(NOON + timedelta(minutes=59)), "an hour is not over"
        assert log.ask("SELECT size FROM ledger.timestamps") == [(3,)]
        assert stamping.round(NOON + timedelta(hours=1))
        assert not stamping.round(NOON + timedelta(hours=3)), "nothing is new"
    report = log.verify(timestamp_roots=roots)
    assert (report.problem, report.stamped_size) == (None, 4)
    assert report.stamped_at is not None
    assert abs(datetime.now(UTC) - report.stamped_at) < timedelta(minutes=5)
    assert log.verify().stamped_size is None, "nobody said whose clock counts"


def test_what_too_few_witnesses_have_cosigned_is_not_published_and_not_stamped(log: Log, authority: Authority):
    """Whoever owns the database can add a row, and with a stamp over many events there would be no other for long."""
    grow(log, 1)
    witness = Cosigner("witness.example", b"w" * 32)
    policy = Policy.parse(f"witness w {witness.vkey} http://witness.example\nquorum w\n")
    ((note,),) = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 1")
    checkpoint, signed = open_checkpoint(note, Verifier.parse(log.vkey))
    many = Checkpoint(checkpoint.origin, 99, bytes(32)).format()
    cosigned = Note(signed.text, (*signed.signatures, witness.cosign(checkpoint, 1))).format().decode()
    with answering(authority.reply) as url:
        stamping = replace(anchor(log, authority, url), site=Site(policy))
        for size, row, stamped in ((99, note.replace(signed.text, many), False), (1, cosigned, True)):
            with psycopg.connect(log.url) as owner:
                owner.execute("INSERT INTO ledger.witnessed VALUES (%s, %s, now())", [size, row])
            assert stamping.round(NOON) == stamped
    assert log.ask("SELECT size, note FROM ledger.timestamps") == [(1, cosigned)]


def test_a_log_that_goes_on_from_a_longer_one_is_stamped_at_once(log: Log, authority: Authority):
    grow(log, 1)
    row = {"size": 99, "note": "example/ended\n99\n", "response": b"its own", "stored_at": NOON}
    with psycopg.connect(log.url) as owner:
        owner.execute(QUERIES["store_timestamp"], row)
    with answering(authority.reply) as url:
        assert anchor(log, authority, url).round(NOON)


def test_a_changed_stamp_and_a_stranger_s_are_found(log: Log, authority: Authority, tmp_path: Path):
    grow(log, 1)
    with answering(authority.reply) as url:
        anchor(log, authority, url).round(NOON)
    roots = read_roots(authority.root)
    stranger = Authority(tmp_path / "stranger")
    ((response, note),) = log.ask("SELECT response, note FROM ledger.timestamps")
    text = note.split("\n\n")[0] + "\n"
    others = stranger.reply(request_for(text).as_bytes())
    of_another = authority.reply(request_for(text.replace("1", "2", 1)).as_bytes())
    changed = [
        bytes(response[:at]) + bytes([response[at] ^ 1]) + bytes(response[at + 1 :]) for at in (90, len(response) - 5)
    ]
    for forged in (*changed, others, of_another, b"", bytes(70_000)):
        with pytest.raises(BadTimestamp):
            stamped_at(forged, text, roots)
    with psycopg.connect(log.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE ledger.timestamps SET response = %s", [others])
    problem = log.verify(timestamp_roots=roots).problem
    assert problem is not None
    assert problem.table == "timestamps"
    assert log.verify(timestamp_roots=read_roots(stranger.root)).problem is None


def test_a_stamp_that_was_made_after_its_certificate_had_expired_is_refused(tmp_path: Path):
    authority, now = Authority(tmp_path / "late"), datetime.now(UTC)
    signer = load_pem_x509_certificate((authority.directory / "signer.pem").read_bytes())
    key = load_pem_private_key((authority.directory / "root.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    for ended, holds in ((now - timedelta(hours=1), False), (now + timedelta(days=1), True)):
        again = CertificateBuilder(
            signer.issuer, signer.subject, signer.public_key(), signer.serial_number, now - timedelta(days=9), ended
        )
        for extension in signer.extensions:
            again = again.add_extension(extension.value, extension.critical)
        (authority.directory / "signer.pem").write_bytes(again.sign(key, SHA256()).public_bytes(Encoding.PEM))
        reply = authority.reply(request_for("a text").as_bytes())
        with nullcontext() if holds else pytest.raises(BadTimestamp, match="expired"):
            stamped_at(reply, "a text", read_roots(authority.root))


@pytest.mark.parametrize("reply", [lambda _: b"", lambda _: b"<html>sorry</html>", lambda _: bytes(100_000)])
def test_what_is_no_stamp_is_never_stored(log: Log, authority: Authority, reply: Any):
    grow(log, 1)
    with answering(reply) as url, pytest.raises(BadTimestamp):
        anchor(log, authority, url).round(NOON)
    assert log.ask("SELECT count(*) FROM ledger.timestamps") == [(0,)]


def test_an_authority_that_leads_nowhere_is_asked_again_later(log: Log, authority: Authority):
    grow(log, 1)
    routes = [Route("/", lambda _: RedirectResponse("http://[::1", 303), methods=["POST"])]
    with served(Starlette(routes=routes)) as port, pytest.raises(OSError, match="Invalid IPv6 URL"):
        anchor(log, authority, f"http://127.0.0.1:{port}/").round(NOON)


def test_an_authority_that_never_ends_is_given_up(log: Log, authority: Authority, monkeypatch: pytest.MonkeyPatch):
    grow(log, 1)
    monkeypatch.setattr(timestamping, "SECONDS", 0.2)
    with dripping() as url, pytest.raises(TimeoutError, match=r"longer than 0\.2 s"):
        anchor(log, authority, url).round(NOON)


def test_an_answer_to_another_request_is_refused(log: Log, authority: Authority):
    """A replayed stamp would say that the log was this long at an earlier time than it was asked."""
    grow(log, 1)
    ((note,),) = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 1")
    old = authority.reply(request_for(note.split("\n\n")[0] + "\n").as_bytes())
    with answering(lambda _: old) as url, pytest.raises(BadTimestamp, match="Nonce"):
        anchor(log, authority, url).round(NOON)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"timestamp_url": "ftp://stamps"}, "give an address"),
        ({"timestamp_url": "http://stamps"}, "LEDGER_TIMESTAMP_ROOTS must name"),
        ({"timestamp_url": "http://stamps", "timestamp_roots": Path("/missing")}, "holds no certificates"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(given: dict[str, Any], sentence: str):
    with pytest.raises(SetupError, match=sentence):
        anchor_of(Settings(database_url="postgresql://", **given))
    assert anchor_of(Settings(database_url="postgresql://")) is None


def test_health_tells_of_an_authority_that_is_away_and_verify_of_what_is_covered(
    log: Log, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    grow(log, 1)
    beat = '{"timestamps": {"failure": "http://stamps gives no timestamp: refused"}}'
    with psycopg.connect(log.url) as connection:
        connection.execute("INSERT INTO service.heartbeat VALUES ('intake', now(), %s)", [beat])
    assert "http://stamps gives no timestamp: refused" in health(log.url).notices
    with answering(authority.reply) as url:
        anchor(log, authority, url).round(NOON)
    for name, value in (("DATABASE_URL", log.url), ("DATA_DIR", str(log.settings.data_dir))):
        monkeypatch.setenv(f"LEDGER_{name}", value)
    monkeypatch.setattr("sys.argv", ["promise-ledger", "verify", "--timestamp-roots", str(authority.root)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "timestamped: events 0 to 0, by " in capsys.readouterr().out


def test_openssl_judges_the_stored_stamp_as_we_do(log: Log, authority: Authority, tmp_path: Path):
    grow(log, 1)
    with answering(authority.reply) as url:
        anchor(log, authority, url).round(NOON)
    ((response, note),) = log.ask("SELECT response, note FROM ledger.timestamps")
    (tmp_path / "response").write_bytes(response)
    assert OPENSSL is not None
    check = [OPENSSL, "ts", "-verify", "-in", "response", "-data", "text", "-CAfile", authority.root]
    for text, expected in ((note.split("\n\n")[0] + "\n", True), ("another\n1\n\n", False)):
        (tmp_path / "text").write_text(text)
        assert (subprocess.run(check, cwd=tmp_path, capture_output=True, timeout=60).returncode == 0) is expected
