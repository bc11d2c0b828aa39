"""While `up` refuses to start, what it tells an operator to run can be run, on the servers of the data directory."""

import json
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from deploy import cli
from deploy.embedded import Nats, Postgres
from deploy.finding import at_hand, located
from deploy.migrating import make_ready
from deploy.places import InUse, SetupError, hold, server_user, user_name
from ledger.app import Ledger
from ledger.settings import Settings
from tests.conftest import new_data_dir, remove
from tests.service.running import Up


@pytest.fixture(scope="module")
def stopped() -> Iterator[Path]:
    """The data directory of a ledger that was begun and stopped; made once, since initdb is slow."""
    directory = new_data_dir()
    postgres, nats = Postgres(directory / "home"), Nats(directory / "home", None)
    try:
        where = {"database_url": postgres.start(), "broker_url": nats.start()}
        settings = Settings(data_dir=directory / "home").model_copy(update=where)
        assert [*make_ready(settings)]
        Ledger.open(settings).close()
    finally:
        nats.stop()
        postgres.stop()
    yield directory / "home"
    remove(directory)


def test_the_servers_run_until_the_command_ends_however_it_ends(stopped: Path) -> None:
    (stopped / "run.json").write_text(json.dumps({"database_url": "postgresql:///killed", "broker_url": "nats://x"}))
    with suppress(KeyboardInterrupt), at_hand(stopped, broker=True) as settings:
        assert settings.database_url is not None
        assert settings.broker_url is not None
        with psycopg.connect(settings.database_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        nats = ("127.0.0.1", urlsplit(settings.broker_url).port)
        socket.create_connection(nats).close()
        busy = rf"a command \(process {os.getpid()}\) runs the servers of {stopped} and uses the ledger: try again"
        with pytest.raises(InUse, match=busy):
            hold(stopped)
        with pytest.raises(SetupError, match=busy), at_hand(stopped):  # another command
            pass
        with pytest.raises(SetupError, match=busy):  # `health` and `record`
            located(stopped)
        raise KeyboardInterrupt
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(settings.database_url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(nats)
    hold(stopped).close()
    with pytest.raises(SetupError, match="no ledger runs in"):
        located(stopped)


def test_the_ledger_of_another_user_is_said_to_be_theirs() -> None:
    """As root what another user may not read is asked for as that user; else it is closed to everybody."""
    home = new_data_dir()
    user = server_user()
    try:
        (home / "run.json").write_text("{}")
        home.chmod(0o700 if user else 0)
        said = f"{home} cannot be read: it belongs to the user {user_name(os.getuid())}"
        os.seteuid(user.uid if user else os.geteuid())
        with pytest.raises(SetupError, match=said):
            located(home)
        below = f"{home / 'below'} cannot be read: {home} belongs to"
        with pytest.raises(SetupError, match=below), at_hand(home / "below"):
            pass
    finally:
        os.seteuid(os.getuid())
        home.chmod(0o700)
        remove(home)


def test_nothing_is_started_beside_an_up(stopped: Path) -> None:
    with hold(stopped):
        way = rf"`promise-ledger up` \(process {os.getpid()}\) starts or ends in {stopped}: try again in a moment"
        for find in (at_hand(stopped), nullcontext(stopped)):
            with pytest.raises(SetupError, match=way), find:
                located(stopped)
        where = {"database_url": "postgresql:///there", "broker_url": "nats://there"}
        (stopped / "run.json").write_text(json.dumps(where))
        with at_hand(stopped, broker=True) as settings:
            assert {"database_url": settings.database_url, "broker_url": settings.broker_url} == where


def test_where_there_never_was_a_ledger_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no ledger runs in"), at_hand(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_start_leaves_no_other_behind(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Nats) -> str:
        raise SetupError("NATS did not start")

    monkeypatch.setattr(Nats, "start", refuse)
    with pytest.raises(SetupError, match="NATS did not start"), at_hand(stopped, broker=True):
        pass
    assert not (stopped / "postgres/postmaster.pid").exists()


def test_what_an_up_without_its_guard_says_leads_back_to_an_up_that_runs(
    stopped: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_DATA_DIR", str(stopped))

    def answer(command: str) -> tuple[object, str]:
        """The exit code and the answer of the command as it is written."""
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capfd.readouterr().out

    guard = stopped / "guard"
    guard.rename(guard.with_name("guard.lost"))
    with pytest.raises(AssertionError, match="the fork guard is missing"):
        Up(stopped)
    (command,) = re.findall(r"run `(promise-ledger [^`]+)`", (stopped.parent / "errors").read_text())
    code, said = answer(command)
    assert (code, "WRONG: the fork guard is missing, and the database is whole" in said) == (1, True), said
    (command,) = re.findall(r"^  (promise-ledger .+)$", said, re.MULTILINE)
    assert answer(command)[0] == 0
    up = Up(stopped)
    try:
        assert up.healthy()
        assert up.stop() == 0
    finally:
        up.kill()
