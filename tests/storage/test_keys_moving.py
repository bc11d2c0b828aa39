"""Keys go from a file into a device, from there to another device and back; a crash between any two steps."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ledger.app import Ledger
from ledger.erasure import rotation
from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.key_provider import KeyProblem, WrappingKey
from ledger.log_rotation import rotate_log_key
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.note import Signer
from tests.storage.log import Log, make, told
from tests.storage.test_key_provider import Plugs, plugs

__all__ = ["plugs"]


@pytest.fixture
def filed(database: str, data_dir: Path, plugs: Plugs) -> Iterator[Log]:
    """A log of two events whose keys are files."""
    log = Log(database, data_dir)
    told(log.open(), make(1), make(2))
    log.close()
    yield log
    log.close()


def given(log: Log, **settings: str) -> Settings:
    return log.settings.model_copy(update=settings)


def rewrapped(log: Log, settings: Settings) -> str:
    with Ledger.open(settings, clock=lambda: log.now) as ledger:
        return rotation.rotate(ledger, keys.secrets_of(settings), clock=lambda: log.now)


def wrapped_by(log: Log, key: bytes | WrappingKey) -> int:
    """How many data keys open under that key."""
    keyring, opened = Keyring(key), 0
    for row in log.ask("SELECT customer_id, key_version, wrapped FROM ledger.customer_keys"):
        with suppress(KeyUnwrapFailed):
            keyring.open(*row)
            opened += 1
    return opened


def appended(log: Log, settings: Settings, *numbers: int) -> None:
    with Ledger.open(settings, clock=lambda: log.now) as ledger:
        told(ledger, *(make(number) for number in numbers))


def kek_of(settings: Settings) -> bytes | WrappingKey:
    held = keys.key_encryption_key(settings)
    assert held is not None
    return held.secret


def power_cut(*_: object) -> None:
    raise RuntimeError("the power is gone")


def test_the_key_encryption_key_goes_from_a_file_into_a_device_to_another_and_back(
    filed: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = filed.settings.keys_dir / "kek"
    seed = file.read_bytes()
    into = given(filed, key_provider="more_devices:kek")
    with pytest.raises(KeyProblem, match=r"given by LEDGER_KEY_PROVIDER=more_devices:kek and by .*/kek: keep the one"):
        keys.secrets_of(into)
    file.rename(file.with_name("kek.old"))
    appended(filed, into, 8, 3)  # of a customer from before, and a first one
    with monkeypatch.context() as crash:
        crash.setattr(keys, "destroy_old_kek", power_cut)
        with pytest.raises(RuntimeError, match="power"):
            rewrapped(filed, into)
    assert file.with_name("kek.old").read_bytes() == seed
    assert rewrapped(filed, into) == "device.kek.1"
    assert [path.name for path in file.parent.glob("kek*")] == []
    assert (wrapped_by(filed, seed), wrapped_by(filed, kek_of(into))) == (0, 3)
    first = kek_of(into)

    on = given(filed, key_provider="more_devices:other_kek", key_provider_old="more_devices:kek")
    appended(filed, on, 9, 4)
    assert wrapped_by(filed, first) == 3
    rewrapped(filed, on)
    after = given(filed, key_provider="more_devices:other_kek")
    assert (wrapped_by(filed, first), wrapped_by(filed, kek_of(after))) == (0, 4)
    appended(filed, after, 10)

    file.write_bytes(b"n" * 32)
    file.chmod(0o600)
    back = given(filed, key_provider_old="more_devices:other_kek")
    assert rewrapped(filed, back) == rotation.name_of(b"n" * 32)
    assert (file.read_bytes(), wrapped_by(filed, b"n" * 32)) == (b"n" * 32, 4)
    filed.secrets = keys.secrets_of(filed.settings)
    filed.check_clean(11)


@pytest.mark.parametrize("step", [(Ledger, "hand_over"), (Ledger, "_store_checkpoint"), (keys, "destroy"), None])
def test_the_signing_key_goes_from_a_file_into_a_device(
    filed: Log, step: tuple[Any, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, file = filed.vkey, filed.settings.keys_dir / "log"
    into = given(filed, key_provider="more_devices:log")
    file.rename(file.with_name("log.old"))
    if step is not None:
        with monkeypatch.context() as crash:
            crash.setattr(*step, power_cut)
            with pytest.raises(RuntimeError, match="power"):
                rotate_log_key(into, lambda: filed.now)
        assert file.with_name("log.old").exists()
    new = Signer(into.origin, keys.secrets_of(into).log).vkey
    assert rotate_log_key(into, lambda: filed.now) == (old, new)
    assert [path.name for path in file.parent.glob("log*")] == []
    appended(filed, into, 3)
    for pinned in (old, new):
        assert filed.verify(vkey=pinned).problem is None
    assert len(filed.ask("SELECT 1 FROM ledger.events WHERE topic = 'log.key_rotated'")) == 1


def test_the_signing_key_goes_from_one_device_to_another_and_never_back(filed: Log) -> None:
    (filed.settings.keys_dir / "log").rename(filed.settings.keys_dir / "log.old")
    first = given(filed, key_provider="more_devices:log")
    rotate_log_key(first, lambda: filed.now)
    on = given(filed, key_provider="more_devices:other_log", key_provider_old="more_devices:log")
    with pytest.raises(KeyProblem, match=r"rotated at leaf 2: .* `promise-ledger keys rotate-log` finishes it"):
        appended(filed, on, 3)
    with pytest.raises(KeyProblem, match="only a file is replaced by itself"):
        rotate_log_key(first, lambda: filed.now)
    _, new = rotate_log_key(on, lambda: filed.now)
    appended(filed, on, 3)
    assert rotate_log_key(on, lambda: filed.now)[1] == new, "the log went on, so it is done"
    with pytest.raises(KeyProblem, match="rotated at leaf 3"):
        appended(filed, first, 4)
    back = given(filed, key_provider="more_devices:log", key_provider_old="more_devices:other_log")
    with pytest.raises(KeyProblem, match="signed this log before: a rotation needs a key that never did"):
        rotate_log_key(back, lambda: filed.now)
    for pinned in (filed.vkey, new):
        assert filed.verify(vkey=pinned).problem is None
    assert len(filed.states()) == 5
