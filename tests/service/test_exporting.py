"""The log as a static site: whole at any moment, and never of what was not signed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import tlog_scales.backend
import tlog_scales.reader
import tlog_scales.signing

from deploy import cli
from deploy.copies import read_checkpoint
from deploy.copies import site as read_site
from deploy.exporting import ExportRefused, export_tiles
from ledger.recovery.evidence import NotRecovered
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import MAX_NOTE_SIZE
from ledger.tlog.tiles import parse_bundle
from projections.web.app import create_app
from projections.web.tiles import open_pool
from tests.service.entries import GARBAGE, LOG, entry, sign, store
from tests.service.serving import ask, served

KILLED = """
import os, signal, sys
from pathlib import Path
from deploy import exporting
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL) if Path(sys.argv[2], "tile/0/002").exists() else None
exporting.export_tiles(sys.argv[1], Path(sys.argv[2]), lambda done, total: None)
"""


def test_an_export_that_was_killed_left_only_whole_files_and_is_gone_on_with(database: str, tmp_path: Path):
    checkpoint = store(database, [entry(index) for index in range(1000)])
    sign(database, checkpoint)
    killed = subprocess.run([sys.executable, "-c", KILLED, database, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "checkpoint").exists()
    assert (tmp_path / "tile/entries/002.new").exists()
    assert not (tmp_path / "tile/entries/002").exists()
    assert {os.stat(tmp_path / f"tile/0/00{number}").st_size for number in range(3)} == {8192}
    (tmp_path / "tile/0/000.p").mkdir()
    (tmp_path / "tile/0/000.p/7.new").touch()
    exported = export_tiles(database, tmp_path, lambda done, total: None)
    assert exported.written == 2 * 4 + 1 + 1 - 5
    assert [*tmp_path.rglob("*.new")] == []
    reader = tlog_scales.reader.TilesReader(tlog_scales.backend.LocalBackend(tmp_path))
    assert reader.get_checkpoint().root_hash == reader.calculate_root_hash() == checkpoint.root
    assert reader.get_entry(767) == entry(767)


def test_an_export_refuses_what_it_cannot_stand_for(database: str, tmp_path: Path):
    def export() -> None:
        export_tiles(database, tmp_path, lambda done, total: None)

    checkpoint = store(database, [entry(index) for index in range(300)])
    with pytest.raises(ExportRefused, match="nothing was signed"):
        export()
    note = sign(database, checkpoint)
    export()
    site = tmp_path / "checkpoint"
    for changed, reason in [
        (Checkpoint(LOG.name, 301, checkpoint.root), "not an earlier one"),
        (Checkpoint("another.example", 300, checkpoint.root), "not an earlier one"),
        (Checkpoint(LOG.name, 299, checkpoint.root), "rewritten"),
    ]:
        site.write_bytes(changed.sign(LOG))
        with pytest.raises(ExportRefused, match=reason):
            export()
    for content, tile, reason in [
        (b"hello\n", "tile/0/000", "not a checkpoint"),
        (note, "tile/0/000", "not of this log"),
        (note, "tile/0/001.p/44", "not of this log"),
    ]:
        site.write_bytes(content)
        good = (tmp_path / tile).read_bytes()
        (tmp_path / tile).write_bytes(b"x" * len(good))
        with pytest.raises(ExportRefused, match=reason):
            export()
        (tmp_path / tile).write_bytes(good)
    for endless, reason in (("tile/0/000", "not of this log"), ("checkpoint", "not a checkpoint")):
        (tmp_path / endless).rename(tmp_path / "kept")
        (tmp_path / endless).symlink_to("/dev/zero")
        with pytest.raises(ExportRefused, match=reason):
            export()
        (tmp_path / "kept").rename(tmp_path / endless)
    export()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger.events SET state = 'forged' WHERE notification_id = 290",
        "UPDATE ledger.events SET state = 'forged' WHERE notification_id = 3",
        "DELETE FROM ledger.events WHERE notification_id > 280",
        "DELETE FROM ledger.events WHERE notification_id = 3",
        "UPDATE ledger.tiles SET hashes = set_byte(hashes, 8000, 7) WHERE level = 0",
        "INSERT INTO ledger.tiles (level, index, hashes) SELECT 1, 0, hashes FROM ledger.tiles",
        GARBAGE,
    ],
)
def test_a_log_that_was_tampered_with_is_not_exported(database: str, tmp_path: Path, damage: str):
    sign(database, store(database, [entry(index) for index in range(300)]))
    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(damage.encode())
    with pytest.raises(ExportRefused, match="not the one that was signed"):
        export_tiles(database, tmp_path, lambda done, total: None)
    assert not (tmp_path / "checkpoint").exists()


def test_the_whole_tree_decides_and_not_its_upper_tiles_alone(database: str, tmp_path: Path):
    """With a full tile of level 1, the root of the signed size comes from there, and level 0 must still lead to it.

    What the refused export has written was never published: once the log is whole, the same directory takes it.
    """
    entries = [entry(index) for index in range(65_536)]
    sign(database, store(database, entries))
    for state in (b"forged", entries[255]):
        hashes = b"".join(map(leaf_hash, [*entries[:255], state]))
        with psycopg.connect(database) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("UPDATE ledger.events SET state = %s WHERE notification_id = 256", [state])
            connection.execute("UPDATE ledger.tiles SET hashes = %s WHERE level = 0 AND index = 0", [hashes])
        if state == b"forged":
            with pytest.raises(ExportRefused, match="not the one that was signed"):
                export_tiles(database, tmp_path, lambda done, total: None)
            assert not (tmp_path / "checkpoint").exists()
    assert export_tiles(database, tmp_path, lambda done, total: None).written == 5
    assert (tmp_path / "tile/0/000").read_bytes() == hashes
    assert parse_bundle((tmp_path / "tile/entries/000").read_bytes(), 256) == entries[:256]


def test_the_command_exports_and_says_what_it_did(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LEDGER_DATABASE_URL", database)
    monkeypatch.setenv("LEDGER_BROKER_URL", "nats://127.0.0.1:1")
    monkeypatch.setattr(sys, "argv", ["promise-ledger", "export-tiles", str(tmp_path / "site")])
    for code, said in [(1, "nothing was signed yet"), (0, "3 events under the checkpoint"), (0, "0 files written")]:
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert int(end.value.code or 0) == code
        assert said in " ".join((captured.out + captured.err).split())
        if code == 1:
            sign(database, store(database, [entry(index) for index in range(3)]))


def test_of_what_somebody_kept_no_more_is_read_than_a_checkpoint_can_have(tmp_path: Path):
    kept = tmp_path / "checkpoint"
    kept.touch()
    os.truncate(kept, 20 * MAX_NOTE_SIZE)
    for place in (kept, tmp_path):
        assert len(read_checkpoint(str(place))) == MAX_NOTE_SIZE + 1
    with pytest.raises(NotRecovered, match="is no site of a log"):
        read_site(str(tmp_path))


def test_a_checkpoint_that_is_garbage_is_one_sentence_of_each_command(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sign(database, store(database, [entry(0)]))
    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(GARBAGE.encode())
    monkeypatch.setenv("LEDGER_DATABASE_URL", database)
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path))
    for command in (["export-tiles", str(tmp_path / "site")], ["prove", "0"], ["checkpoint", "--json"]):
        monkeypatch.setattr(sys, "argv", ["promise-ledger", *command])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert (end.value.code, captured.out) == (1, "")
        assert "checkpoint in the database is none" in captured.err
        assert captured.err.endswith("run `promise-ledger verify`\n")


def test_a_database_that_is_away_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("projections.web.tiles.POOL_SECONDS", 0.1)
    url = f"postgresql:///nothing?host={tmp_path}"
    with open_pool(url) as pool, served(create_app(url, pool)) as port:
        answer = ask(port, "/tile/0/000")
        assert (answer.status, answer.body) == (503, b"the database does not answer\n")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["retry-after"] == "5"
        assert ask(port, "/tile/0/nonsense").status == 404
        assert "ledger_healthy 0.0\n" in (scraped := ask(port, "/metrics").body.decode())
        assert "ledger_events" not in scraped, "0 would be a log that lost its events"
