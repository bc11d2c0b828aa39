"""Keys in another process: the provider that docs/keys.md shows, and a stand-in for an HSM that holds the seed."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from ledger.app import Ledger
from ledger.erasure import rotation
from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.key_provider import KeyProblem, KeyProvider, open_provider
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.signer import Fork
from ledger.verification import stripes
from tests.storage.log import WORDS, Log, make, told

PAGE = (Path(__file__).parents[2] / "docs/keys.md").read_text(encoding="utf-8")
DEVICE = Path(__file__).with_name("key_device.py")
REFERENCE = "key_device_of_the_page:connect"
MORE = """
from key_device_of_the_page import Device, Keys

def device(name, without):
    def connect(data_dir):
        keys = Keys(Device("key-device", str(data_dir / name)))
        setattr(keys, without, None)
        return keys
    return connect

kek, other_kek = device("one", "log"), device("other", "log")
log, other_log = device("one", "kek"), device("other", "kek")
"""
"""Two devices, each as a keeper of one of the keys alone."""


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's provider can be imported, and its device is on the PATH."""
    (tmp_path / "key_device_of_the_page.py").write_text(PAGE.split("```python\n")[1].split("```")[0])
    (tmp_path / "more_devices.py").write_text(MORE)
    command = tmp_path / "key-device"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P {DEVICE} "$@"\n')
    command.chmod(0o700)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


class Plugs(list[Any]):
    """Every provider that was opened."""

    def open(self, reference: str, data_dir: Path) -> KeyProvider:
        self.append(open_provider(reference, data_dir))
        provider: KeyProvider = self[-1]
        return provider

    def pull(self) -> None:
        """The devices are gone, and whoever starts now asks for them anew."""
        for process in [provider.device.process for provider in self]:
            process.kill()
            process.wait()
            process.stdout.close()
            with suppress(BrokenPipeError):
                process.stdin.close()
        self.clear()
        keys._opened.cache_clear()


@pytest.fixture
def plugs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugs]:
    installed(tmp_path, monkeypatch)
    plugs = Plugs()
    monkeypatch.setattr(keys, "open_provider", plugs.open)
    yield plugs
    plugs.pull()


@pytest.fixture
def log(database: str, data_dir: Path, plugs: Plugs) -> Iterator[Log]:
    log = Log(database, data_dir, key_provider=REFERENCE)
    yield log
    log.close()


def test_a_log_whose_keys_are_in_another_process_is_written_proven_and_verified(log: Log) -> None:
    assert [path.name for path in log.settings.keys_dir.iterdir()] == ["digest"]
    ledger = log.open()
    for receipt in told(ledger, make(1), make(2)):
        log.check_receipt(receipt)
    ledger.append([make(3)])  # committed and unsigned: as after a crash
    log.close()
    again = log.open()
    (receipt,) = told(again, make(3))
    log.check_receipt(receipt)
    log.check_clean(3)
    (other,) = told(again, make(8))  # of the same customer as the first: its key is opened, not made
    log.check_receipt(other)
    log.check_clean(4)
    assert WORDS.encode() not in b"".join(log.states())


def test_verify_opens_each_text_through_the_device(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripes, "WORTH_A_PROCESS", 1)  # many events would be checked by more processes, which have no
    monkeypatch.setattr("os.cpu_count", lambda: 4)  # device: it cannot be handed over
    told(log.open(), make(1), make(2), make(3))
    log.check_clean(3)
    log.ask("UPDATE ledger.customer_keys SET wrapped = set_byte(wrapped, 20, 0) RETURNING 1")
    problem = log.verify().problem
    assert problem is not None
    assert problem.table == "customer_keys"
    assert log.verify(key_encryption_key=None).problem is None


def test_a_device_that_is_gone_loses_nothing(log: Log, plugs: Plugs) -> None:
    ledger = log.open()
    told(ledger, make(1))
    plugs.pull()
    with pytest.raises(KeyProblem, match="does not answer"):
        ledger.submit([make(8)])  # of a customer whose key is at hand: committed, and nothing is said about it
    assert len(log.states()) == 2
    with pytest.raises(KeyProblem, match="does not answer"):
        ledger.append([make(2)])  # a first data key has to be wrapped
    assert len(log.states()) == 2, "nothing is committed"
    log.close()
    again, log.secrets = log.open(), keys.secrets_of(log.settings)
    log.check_clean(2)
    for receipt in told(again, make(8), make(2)):
        log.check_receipt(receipt)
    log.check_clean(3)


def test_a_signature_that_does_not_verify_is_neither_kept_nor_given(log: Log) -> None:
    ledger = log.open()
    told(ledger, make(1))
    guarded = log.guard_note()
    (log.settings.data_dir / "device/astray").touch()
    with pytest.raises(KeyProblem, match="does not verify"):
        ledger.submit([make(2)])
    assert log.guard_note() == guarded
    (log.settings.data_dir / "device/astray").unlink()
    (receipt,) = told(ledger, make(2))
    log.check_receipt(receipt)
    log.check_clean(2)


LIARS = """
from types import SimpleNamespace as Keys
def liar(wrapped, name="liar", opened=bytes(32)):
    def answer(value):
        def give(*asked):
            if isinstance(value, Exception): raise value
            return value
        return give
    return lambda data_dir: Keys(log=None, kek=Keys(name=name, wrap=answer(wrapped), unwrap=answer(opened)))
noise, text, nothing, short = liar(bytes(60)), liar("text"), liar(None), liar(bytes(60), opened=b"short")
refuses, breaks, away = liar(ValueError("no")), liar(RuntimeError("at line 7")), liar(TimeoutError("no answer"))
nameless = liar(bytes(60), name="a b")
"""
LIES = {
    "noise": "opens for one customer what it wrapped for another|does not open what it wraps",
    "text": "does not open what it wraps",
    "nothing": "does not open what it wraps",
    "short": "does not open what it wraps",
    "refuses": "ValueError: no",
    "breaks": "RuntimeError: at line 7",
    "away": "TimeoutError: no answer",
    "nameless": "the name of the key-encryption key is not",
}


@pytest.mark.parametrize("device", LIES)
def test_a_device_that_does_not_open_what_it_wraps_loses_no_words(
    database: str, data_dir: Path, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rotation into it the key before would be destroyed, with all that it closes over."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lying_devices.py").write_text(LIARS)
    log = Log(database, data_dir)
    with Ledger.open(log.settings, clock=lambda: log.now) as ledger:
        told(ledger, make(1), make(2))
    file = log.settings.keys_dir / "kek"
    file.rename(file.with_name("kek.old"))
    into = log.settings.model_copy(update={"key_provider": f"lying_devices:{device}"})
    with pytest.raises(KeyProblem, match=LIES[device]), Ledger.open(into, clock=lambda: log.now) as ledger:
        rotation.rotate(ledger, keys.secrets_of(into), clock=lambda: log.now)
    if device != "nameless":
        with pytest.raises(KeyProblem, match=LIES[device]), Ledger.open(into, clock=lambda: log.now) as ledger:
            ledger.submit([make(3)])  # of a customer who comes for the first time
    file.with_name("kek.old").rename(file)
    log.check_clean(2)


@pytest.mark.parametrize("fails", [RuntimeError("at line 7"), OSError("no route")])
def test_whatever_a_device_raises_at_a_signature_is_a_sentence(
    log: Log, plugs: Plugs, fails: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = log.open()
    told(ledger, make(1))

    def fail(*_: bytes) -> bytes:
        raise fails

    with monkeypatch.context() as failing:
        failing.setattr(type(plugs[0].log), "sign", fail)
        with pytest.raises(KeyProblem, match=f"what keeps the key fails: {type(fails).__name__}: {fails}"):
            ledger.submit([make(8)])
    (receipt,) = told(ledger, make(8))
    log.check_receipt(receipt)
    log.check_clean(2)


def test_a_device_with_another_key_is_refused_at_start(log: Log, plugs: Plugs) -> None:
    told(log.open(), make(1))
    log.close()
    plugs.pull()
    (log.settings.data_dir / "device/seed").write_bytes(b"s" * 32)
    with pytest.raises(Fork, match="another key"):
        log.open()


def test_a_key_that_the_device_renewed_wraps_everything_anew(log: Log) -> None:
    told(log.open(), make(1), make(2))
    old = log.settings.data_dir / "device/kek.1"
    (log.settings.data_dir / "device/kek.2").write_bytes(b"k" * 32)
    with Ledger.open(log.settings, clock=lambda: log.now) as ledger:
        assert rotation.rotate(ledger, log.secrets, clock=lambda: log.now) == "device.kek.2"
    old.write_bytes(bytes(32))  # destroyed there: nothing needs it any more
    told(log.open(), make(8), make(3))
    log.check_clean(5)
    assert b'"kek":"device.kek.2"' in log.states()[2]


def test_a_key_in_a_file_goes_over_into_the_device(log: Log, database: str, data_dir: Path) -> None:
    """Begun with a file; then the device wraps, and what the file's key wrapped opens until the rotation is done."""
    filed = data_dir / "filed"
    begun = Settings(data_dir=filed, database_url=database, key_kek="66" * 32)
    moving = begun.model_copy(update={"key_kek": None, "key_kek_old": begun.key_kek, "key_provider": REFERENCE})
    inside = log.secrets.kek
    held = keys.key_encryption_key(moving)
    assert held is not None
    both = Keyring(held.secret)
    before = Keyring(b"\x66" * 32).wrap("C-1", 1, b"d" * 32)
    assert both.open("C-1", 1, before) == b"d" * 32
    after = both.wrap("C-1", 1, b"d" * 32)
    with pytest.raises(KeyUnwrapFailed):
        Keyring(b"\x66" * 32).open("C-1", 1, after)
    with pytest.raises(KeyUnwrapFailed):
        Keyring(inside).open("C-1", 1, before)


NO_PROVIDERS = {
    "nowhere": "No module named",
    "nowhere:keys": "No module named",
    "ledger.settings:keys": "no attribute 'keys'",
    ":": "Empty module name",
    "ledger.settings:": "no attribute ''",
    "os:getcwd": "takes no arguments",
    "os:sep": "not callable",
    "os:fspath": "no attribute 'log'",
    "odd_providers:fails": "ZeroDivisionError",
    "odd_providers:seed": "32 bytes, or signs by itself",
    "odd_providers:half": "has 32 bytes",
    "odd_providers:raw": "its kek has no name, wrap and unwrap",
}
ODD = """
from types import SimpleNamespace as Keys
def fails(data_dir): 1 / 0
def seed(data_dir): return Keys(log="seed", kek=None)
def half(data_dir): return Keys(log=Keys(public_key=bytes(16), sign=bytes), kek=None)
def raw(data_dir): return Keys(log=None, kek=bytes(32))
"""


@pytest.mark.parametrize("reference", NO_PROVIDERS)
def test_a_provider_that_is_none_is_one_sentence_and_exit_2(
    tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd_providers.py").write_text(ODD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LEDGER_KEY_PROVIDER", reference)
    monkeypatch.setattr("sys.argv", ["promise-ledger", "keys", "list", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert f"LEDGER_KEY_PROVIDER={reference} names no key provider" in sentence
    assert NO_PROVIDERS[reference] in sentence
