"""The token of the console: where it comes from, what is refused as one, and which part is told it."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.account import pages_at
from deploy.console import MIN_TOKEN, console_address, make_token, token_of
from deploy.places import SetupError
from deploy.up import SERVICES, _spared
from ledger.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url="postgresql://nowhere")


def test_a_token_is_made_once_and_is_for_its_owner_alone(settings: Settings) -> None:
    assert token_of(settings) is None
    token = make_token(settings)
    assert token_of(settings) == make_token(settings) == token
    assert len(token) >= MIN_TOKEN
    path = settings.data_dir / "console-token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in settings.data_dir.iterdir()] == ["console-token"]
    another = make_token(settings, anew=True)
    assert another != token
    assert token_of(settings) == another
    assert console_address(settings, "http://x") == f"http://x/console/enter?token={another}"


def test_a_token_may_come_from_the_environment(settings: Settings) -> None:
    given = settings.model_copy(update={"console_token": SecretStr(f" {'t' * MIN_TOKEN}\n")})
    assert make_token(given) == token_of(given) == "t" * MIN_TOKEN
    assert not list(settings.data_dir.iterdir())
    assert "ttt" not in repr(given)
    with pytest.raises(SetupError, match="put another one there"):
        make_token(given, anew=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for others")
def test_a_token_that_root_makes_is_for_whoever_has_the_ledger(settings: Settings) -> None:
    os.chown(settings.data_dir, 65534, 65534)
    make_token(settings, anew=True)
    made = (settings.data_dir / "console-token").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (65534, 65534, 0o600)


@pytest.mark.parametrize("token", ["q" * (MIN_TOKEN - 1), "", " " * 40, "ü" * 40, f"{'q' * 40}\n{'q' * 40}"])
def test_what_somebody_made_up_is_refused_and_not_repeated(settings: Settings, token: str) -> None:
    given = settings.model_copy(update={"console_token": SecretStr(token)})
    with pytest.raises(SetupError, match="LEDGER_CONSOLE_TOKEN holds no token: put 32 or more"):
        token_of(given)
    path = settings.data_dir / "console-token"
    path.touch(0o600)
    path.write_text(token)
    with pytest.raises(SetupError, match="console-token holds no token") as refused:
        make_token(settings)
    assert "qq" not in str(refused.value)


def test_a_token_that_others_may_read_or_nobody_is_refused(settings: Settings) -> None:
    make_token(settings)
    path = settings.data_dir / "console-token"
    path.chmod(0o640)
    with pytest.raises(SetupError, match=r"readable for others \(mode 640\): chmod 600 it"):
        token_of(settings)
    path.unlink()
    path.mkdir()
    with pytest.raises(SetupError, match="cannot be read: Is a directory"):
        token_of(settings)
    with pytest.raises(SetupError, match="cannot be written: Is a directory"):
        make_token(settings, anew=True)


def test_the_account_of_the_demo_says_why_there_are_no_pages(settings: Settings) -> None:
    make_token(settings)
    assert pages_at(settings).startswith("http://127.0.0.1:")
    (settings.data_dir / "console-token").chmod(0o644)
    assert pages_at(settings).endswith("chmod 600 it")


def test_only_the_part_that_serves_the_console_is_told_its_token() -> None:
    environment = {"LEDGER_CONSOLE_TOKEN": "t", "LEDGER_KEY_KEK": "k", "PATH": "/bin"}
    told = {name: set(_spared(name, environment)) for name in SERVICES}
    assert told == {
        "intake": {"LEDGER_KEY_KEK", "PATH"},
        "projections": {"LEDGER_CONSOLE_TOKEN", "LEDGER_KEY_KEK", "PATH"},
        "relay": {"PATH"},
    }
