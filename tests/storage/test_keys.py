"""The secrets: from files or from the environment, each from one place, and never shown."""

import base64
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from deploy import cli, up
from ledger.app import Ledger
from ledger.erasure import rotation
from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.note import Signer
from tests.storage.log import Log, make, told
from tests.storage.place import Place

NAMES = ("log", "kek", "digest")
SEEDS = {name: os.urandom(32) for name in NAMES}
HEX = {f"key_{name}": seed.hex() for name, seed in SEEDS.items()}
BASE64 = {f"key_{name}": base64.b64encode(seed).decode() for name, seed in SEEDS.items()}


LINES = {name: f"{text}\n" for name, text in BASE64.items()}


@pytest.mark.parametrize("spelling", [HEX, BASE64, LINES], ids=["hex", "base64", "base64 with its newline"])
def test_a_log_is_written_and_verified_with_its_keys_in_the_environment(
    database: str, data_dir: Path, spelling: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in spelling.items():
        monkeypatch.setenv(f"LEDGER_{name.upper()}", text)
    log = Log(database, data_dir)
    assert list(log.settings.keys_dir.iterdir()) == []
    assert log.vkey == Signer(log.settings.origin, SEEDS["log"]).vkey
    assert (log.secrets.kek, log.secrets.digest) == (SEEDS["kek"], SEEDS["digest"])
    with log.open() as ledger:
        log._opened.clear()
        for receipt in told(ledger, make(1), make(2)):
            log.check_receipt(receipt)
    log.check_clean(2)


def test_what_is_not_given_is_made_as_a_file_and_stays(database: str, data_dir: Path) -> None:
    log = Log(database, data_dir, key_log=HEX["key_log"])
    assert {path.name for path in log.settings.keys_dir.iterdir()} == {"kek", "digest"}
    assert {path.stat().st_mode & 0o777 for path in log.settings.keys_dir.iterdir()} == {0o600}
    made = keys.create(log.settings)
    assert (made.kek, made.digest) == (log.secrets.kek, log.secrets.digest)


def test_a_secret_is_nowhere_but_where_it_is_used(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir, **HEX, key_kek_old="ab" * 32)
    shown = (
        f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {keys.secrets_of(settings)!r}"
    )
    for secret in (*HEX.values(), "ab" * 32):
        assert secret not in shown
    for seed in SEEDS.values():
        assert repr(seed) not in shown


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "holds 0 bytes, not 32"),
        ("ab" * 31, "is neither base64 nor hexadecimal of 32 bytes"),
        (base64.b64encode(b"s" * 31).decode(), "holds 31 bytes, not 32"),
        (base64.b64encode(b"s" * 33).decode(), "holds 33 bytes, not 32"),
        (base64.b64encode(b"s" * 32).decode().rstrip("="), "is neither base64 nor hexadecimal of 32 bytes"),
        (
            base64.b64encode(b"s" * 32).decode()[:20] + "*" + base64.b64encode(b"s" * 32).decode()[20:],
            "is neither base64",
        ),
        ("x" * 64, "is neither base64 nor hexadecimal of 32 bytes"),
        ("secret words, not a key", "is neither base64 nor hexadecimal of 32 bytes"),
        ("schlüssel" * 5, "is neither base64 nor hexadecimal of 32 bytes"),
    ],
)
def test_a_variable_that_holds_no_key_is_named_and_not_repeated(
    tmp_path: Path, name: str, given: str, sentence: str
) -> None:
    settings = Settings(data_dir=tmp_path, **HEX | {f"key_{name}": given})
    with pytest.raises(keys.KeyProblem, match=f"LEDGER_KEY_{name.upper()} {sentence}") as raised:
        keys.secrets_of(settings)
    assert not given or given not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None, "no traceback shows it either"


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_given_twice_is_refused_even_where_both_are_the_same(tmp_path: Path, name: str) -> None:
    whole = keys.create(Settings(data_dir=tmp_path))
    secret = getattr(whole, name)
    with pytest.raises(keys.KeyProblem, match=f"`{name}` is given by LEDGER_KEY_{name.upper()} and by .*keys/{name}"):
        keys.secrets_of(Settings(data_dir=tmp_path, **{f"key_{name}": secret.hex()}))


def missing(path: Path) -> None:
    path.unlink()


def open_to_the_group(path: Path) -> None:
    path.chmod(0o640)


def open_to_others(path: Path) -> None:
    path.chmod(0o604)


def short(path: Path) -> None:
    path.write_bytes(b"s" * 31)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (pipe, "is no file, but a pipe or a device"),
        (directory, "cannot be read: Is a directory"),
        (missing, "is missing: put it back"),
        (open_to_the_group, r"readable for others \(mode 640\)"),
        (open_to_others, r"readable for others \(mode 604\)"),
        (short, "holds 31 bytes, not 32"),
    ],
)
def test_a_key_file_that_is_not_whole_or_not_private_is_refused(
    tmp_path: Path, name: str, harm: Callable[[Path], None], sentence: str
) -> None:
    settings = Settings(data_dir=tmp_path)
    keys.create(settings)
    harm(settings.keys_dir / name)
    with pytest.raises(keys.KeyProblem, match=f"{name} .*{sentence}"):
        keys.secrets_of(settings)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o2770])
def test_a_directory_in_which_others_may_replace_a_key_is_refused(tmp_path: Path, mode: int) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.keys_dir.mkdir()
    settings.keys_dir.chmod(mode)
    with pytest.raises(keys.KeyProblem, match=rf"replace the keys in .*/keys \(mode {mode & 0o777:o}\): chmod 700 it"):
        keys.create(settings)
    assert list(settings.keys_dir.iterdir()) == [], "and none is made there"
    settings.keys_dir.chmod(0o755)
    keys.create(settings)
    settings.keys_dir.chmod(mode)
    with pytest.raises(keys.KeyProblem, match="chmod 700 it"):
        keys.secrets_of(settings)


@pytest.mark.parametrize("whose", ["keys", "keys/kek"])
def test_a_key_of_another_user_is_refused(tmp_path: Path, whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    keys.create(settings)
    other = 65534
    if os.geteuid() == 0:
        os.chown(tmp_path / whose, other, -1)
    else:
        other = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: other + 1)
    with pytest.raises(keys.KeyProblem, match=rf"/keys.* belongs to user {other}, .*: start as that user, or chown it"):
        keys.secrets_of(settings)


def mounted(directory: Path, mode: int) -> None:
    """The keys in `directory` as Kubernetes mounts a secret there: links to files of root in a sticky directory."""
    (directory / "..2026_07_01").mkdir()
    (directory / "..data").symlink_to("..2026_07_01")
    for name in NAMES:
        (directory / name).rename(directory / "..2026_07_01" / name)
        (directory / name).symlink_to(f"..data/{name}")
        (directory / name).chmod(mode)
    directory.chmod(0o1777)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of root")
def test_a_secret_that_root_mounts_is_read_and_by_our_group_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    made = keys.create(settings)
    mounted(settings.keys_dir, 0o440)
    with pytest.raises(keys.KeyProblem, match=r"\(mode 440\): chmod 600 it"):
        keys.secrets_of(settings)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert keys.secrets_of(settings) == made
    for mode in (0o444, 0o460):
        (settings.keys_dir / "digest").chmod(mode)
        with pytest.raises(keys.KeyProblem, match=rf"digest .* \(mode {mode:o}\): chmod 440 it"):
            keys.secrets_of(settings)


@pytest.fixture
def begun(database: str, data_dir: Path) -> Log:
    """A log whose key-encryption key comes from a variable, with a text under it."""
    log = Log(database, data_dir, key_kek=HEX["key_kek"])
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, make(1))
    return log


def with_keys(log: Log, **given: str) -> Settings:
    return log.settings.model_copy(update={name: SecretStr(text) for name, text in given.items()})


def with_another_digest_key(log: Log) -> Settings:
    (log.settings.keys_dir / "digest").unlink()
    return with_keys(log, key_digest=os.urandom(32).hex())


def rotated(log: Log, settings: Settings) -> str:
    with Ledger.open(settings, clock=lambda: log.now) as ledger:
        return rotation.rotate(ledger, keys.secrets_of(settings), clock=lambda: log.now)


def test_a_key_in_a_variable_is_replaced_in_three_steps(begun: Log) -> None:
    new = os.urandom(32)
    both = with_keys(begun, key_kek=new.hex(), key_kek_old=HEX["key_kek"])
    with Ledger.open(both, clock=lambda: begun.now) as ledger:
        told(ledger, make(8), make(2))  # the first under the old key, the second gets one under the new
        assert rotated(begun, both) == rotation.name_of(new)
        told(ledger, make(15), make(3))
    alone = begun.settings.model_copy(update={"key_kek": SecretStr(new.hex())})
    with Ledger.open(alone, clock=lambda: begun.now) as ledger:
        told(ledger, make(22), make(9), make(10))
    wrapped = begun.ask("SELECT customer_id, key_version, wrapped FROM ledger.customer_keys ORDER BY customer_id")
    assert [row[0] for row in wrapped] == ["C-1", "C-2", "C-3"]
    for row in wrapped:
        Keyring(new).open(*row)
        with pytest.raises(KeyUnwrapFailed):
            Keyring(SEEDS["kek"]).open(*row)
    begun.secrets = keys.secrets_of(alone)
    begun.check_clean(9)


def test_verify_and_readers_open_both_while_a_variable_is_replaced(begun: Log) -> None:
    settings = with_keys(begun, key_kek=os.urandom(32).hex(), key_kek_old=HEX["key_kek"])
    held = keys.key_encryption_key(settings)
    assert held is not None
    assert begun.verify(key_encryption_key=held.secret).problem is None
    assert begun.verify(key_encryption_key=b"o" * 32).problem is not None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "LEDGER_KEY_KEK_OLD, start every service anew"),
        ({"key_kek_old": "short"}, "LEDGER_KEY_KEK_OLD"),
        ({"key_kek_old": HEX["key_kek"]}, "LEDGER_KEY_KEK and LEDGER_KEY_KEK_OLD are one and the same key"),
    ],
)
def test_a_rotation_without_both_keys_changes_nothing(begun: Log, given: dict[str, str], sentence: str) -> None:
    before = begun.ask("SELECT wrapped FROM ledger.customer_keys")
    with pytest.raises(keys.KeyProblem, match=sentence):
        rotated(begun, with_keys(begun, **given))
    assert begun.ask("SELECT wrapped FROM ledger.customer_keys") == before
    begun.check_clean(1)


def test_a_key_encryption_key_of_another_log_seals_nothing(begun: Log) -> None:
    other = with_keys(begun, key_kek=os.urandom(32).hex())
    with pytest.raises(KeyUnwrapFailed, match="the key-encryption key is not the key of this log"):
        Ledger.open(other, clock=lambda: begun.now)
    with Ledger.open(begun.settings, clock=lambda: begun.now) as ledger:
        told(ledger, make(2))
    begun.ask(
        "UPDATE ledger.customer_keys SET wrapped = set_byte(wrapped, 20, 0) WHERE customer_id = 'C-1' RETURNING 1"
    )
    with Ledger.open(begun.settings, clock=lambda: begun.now) as ledger:  # one damaged key is not another one for all
        told(ledger, make(3))
    assert begun.ask("SELECT count(*) FROM ledger.customer_keys") == [(3,)]


def test_a_digest_key_of_another_log_answers_nobody(begun: Log) -> None:
    """Under it every command that is sent again would be refused, on record, as another one under its id."""
    begun.now += timedelta(microseconds=1001)
    with Ledger.open(begun.settings, clock=lambda: begun.now) as ledger:
        told(ledger, make(2), make(3))
    other = with_another_digest_key(begun)
    with pytest.raises(keys.KeyProblem, match="the key `digest` is not the one that this log is written under"):
        Ledger.open(other, clock=lambda: begun.now)
    problem = begun.verify(digest_key=keys.secrets_of(other).digest).problem
    assert problem is not None
    assert problem.message.endswith("somebody appended by hand, or the key `digest` here is another log's")
    begun.settings.guard_path.unlink()
    with Place(begun, other).case() as case, pytest.raises(keys.KeyProblem, match="the key `digest` is not the one"):
        case.recovery("ticket 88").guard()
    Place(begun, begun.settings.model_copy(update={"key_digest": SecretStr(begun.secrets.digest.hex())})).guard()
    begun.check_clean(4)
    begun.ask("UPDATE ledger.head SET mac = NULL RETURNING 1")
    with Ledger.open(other, clock=lambda: begun.now) as ledger:
        assert told(ledger, make(4))[0]["status"] == "recorded"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("kek", "the data key of customer C-1 does not open"), ("digest", "the key `digest` is not the one that")],
)
def test_recover_says_which_key_is_not_the_one_of_this_log(begun: Log, name: str, sentence: str) -> None:
    place = Place(begun, begun.settings)
    assert place.diagnosis().problems == ()
    place.settings = (
        with_another_digest_key(begun) if name == "digest" else with_keys(begun, key_kek=os.urandom(32).hex())
    )
    diagnosis = place.diagnosis()
    (problem,) = diagnosis.problems
    assert problem.startswith(sentence)
    assert diagnosis.commands == ("put the keys of this log in place, then promise-ledger recover",)


def test_an_old_key_whose_place_nothing_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(keys.KeyProblem, match="LEDGER_KEY_KEK_OLD is the key-encryption key before, and none is there"):
        keys.secrets_of(Settings(data_dir=tmp_path, key_kek_old=HEX["key_kek"]))


def listed(*arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.argv", ["promise-ledger", "keys", "list", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    said = capsys.readouterr()
    return said.out + said.err


def test_keys_list_names_every_key_and_shows_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = keys.create(Settings(data_dir=tmp_path, key_log=HEX["key_log"]))
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LEDGER_KEY_LOG", HEX["key_log"])
    keys.replace_kek(made)
    (tmp_path / "keys/digest").unlink()
    said = listed("--json", capsys=capsys, monkeypatch=monkeypatch)
    rows: list[dict[str, Any]] = orjson.loads(said)
    assert [(row["key"], row["from"]) for row in rows] == [
        ("log", "LEDGER_KEY_LOG"),
        ("kek", f"{tmp_path}/keys/kek"),
        ("kek.old", f"{tmp_path}/keys/kek.old"),
        ("digest", None),
    ]
    assert isinstance(made.kek, bytes)
    assert rows[0]["known_as"] == Signer("localhost/promise-ledger", SEEDS["log"]).vkey
    assert rows[2]["known_as"] == rotation.name_of(made.kek)
    said += listed(capsys=capsys, monkeypatch=monkeypatch)
    assert "not on this host" in said
    for secret in (SEEDS["log"], made.kek, (tmp_path / "keys/kek").read_bytes()):
        assert secret.hex() not in said
        assert base64.b64encode(secret).decode() not in said


def test_the_relay_is_started_without_the_secrets() -> None:
    environment = {"PATH": "/bin", "LEDGER_KEY_LOG": "x", "LEDGER_KEY_KEK": "x", "LEDGER_KEY_PROVIDER": "a:b"}
    assert up._spared("relay", environment) == {"PATH": "/bin"}
    assert up._spared("intake", environment) == environment
