"""The key-encryption key is replaced while services run, and a crash between any two steps is made good."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from ledger.app import Ledger
from ledger.erasure import rotation
from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.storage import keys
from projections.runner import Runner
from tests.erasure.conftest import Erasing


def opens(world: Erasing, key_encryption_key: bytes) -> set[str]:
    """The customers whose data key opens under that key."""
    keyring, found = Keyring(key_encryption_key), set()
    for row in world.ask(
        "SELECT customer_id, key_version, wrapped FROM ledger.customer_keys WHERE wrapped IS NOT NULL"
    ):
        try:
            keyring.open(row["customer_id"], row["key_version"], row["wrapped"])
        except KeyUnwrapFailed:
            continue
        found.add(row["customer_id"])
    return found


def files(world: Erasing) -> set[str]:
    return {path.name for path in world.settings.keys_dir.iterdir()}


def rotate(world: Erasing) -> bytes:
    """Rotate as the command line does, in a process of its own; the new key."""
    with Ledger.open(world.settings, clock=lambda: world.now) as ledger:
        rotation.rotate(ledger, keys.load(world.settings.keys_dir), clock=lambda: world.now)
    return keys.load(world.settings.keys_dir).kek


def test_every_data_key_is_wrapped_anew_and_running_services_go_on(told: Erasing) -> None:
    running = Runner(told.url, told.secrets)
    old = told.secrets.kek
    new = rotate(told)
    assert new != old
    assert files(told) == {"log", "kek", "digest"}
    assert (opens(told, new), opens(told, old)) == ({"C-1", "C-2"}, set())
    told.make(5)
    told.make(6, customer_id="C-6")  # by a ledger that was open all the time: a new key, under the new one
    assert (opens(told, new), opens(told, old)) == ({"C-1", "C-2", "C-6"}, set())
    running.catch_up()
    assert [row["text"] for row in told.ask("SELECT text FROM audit.texts WHERE customer_id = 'C-6'")] == [
        "The router 6 comes."
    ]
    assert told.verify().problem is None
    (event,) = told.ask(
        "SELECT convert_from(state, 'UTF8')::json AS entry FROM ledger.events WHERE originator_id = 'keys:kek'"
    )
    assert event["entry"]["type"] == "keys.rewrapped"
    assert event["entry"]["data"] == {"kek": rotation.name_of(new)}
    assert (keys.load(told.settings.keys_dir).directory / "kek").stat().st_mode & 0o777 == 0o600


def test_a_second_rotation_waits_until_no_key_is_replaced_any_more(
    told: Erasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_held() -> bool:
        handle = os.open(told.settings.keys_dir, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def looking(place: ModuleType, name: str) -> None:
        step = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given: (held.append((name, is_held())), step(*given))[1])

    held: list[tuple[str, bool]] = []
    looking(keys, "replace_kek")
    looking(rotation, "rewrap")
    looking(keys, "destroy_old_kek")
    rotate(told)
    assert held == [("replace_kek", True), ("rewrap", True), ("destroy_old_kek", True)]
    assert not is_held()


def test_the_erased_stay_erased_and_an_old_backup_opens_under_the_old_key_alone(told: Erasing) -> None:
    (backup,) = told.ask("SELECT wrapped FROM ledger.customer_keys WHERE customer_id = 'C-1'")
    assert told.erase() == "recorded"
    told.eraser().round()
    Keyring(told.secrets.kek).open("C-1", 1, backup["wrapped"])
    new = rotate(told)
    with pytest.raises(KeyUnwrapFailed):
        Keyring(new, reread=keys.load(told.settings.keys_dir).key_encryption_keys).open("C-1", 1, backup["wrapped"])
    assert told.left() == {}
    assert told.tell("promise.warn", 5, promise_id="P-1", reason="Late.") == "customer-erased"


def test_a_key_of_the_erased_that_a_restored_copy_brought_back_is_not_wrapped_anew(told: Erasing) -> None:
    (brought,) = told.ask("SELECT wrapped FROM ledger.customer_keys WHERE customer_id = 'C-1'")
    assert told.erase() == "recorded"
    told.eraser().round()
    told.connection.execute(
        "UPDATE ledger.customer_keys SET wrapped = %s, destroyed_at = NULL WHERE customer_id = 'C-1'",
        [brought["wrapped"]],
    )
    new = rotate(told)
    assert opens(told, new) == {"C-2"}
    assert told.eraser().round() == 1, "and it is destroyed again"
    assert told.left() == {}


def test_a_copy_of_the_key_in_use_is_no_rotation_under_way(told: Erasing) -> None:
    path = told.settings.keys_dir / "kek.old"  # as somebody makes a backup before a rotation
    path.touch(mode=0o600)
    path.write_bytes((told.settings.keys_dir / "kek").read_bytes())
    old = told.secrets.kek
    new = rotate(told)
    assert new != old
    assert files(told) == {"log", "kek", "digest"}
    assert (opens(told, new), opens(told, old)) == ({"C-1", "C-2"}, set())


def link_only(world: Erasing) -> None:
    directory = world.settings.keys_dir
    (directory / "kek.new").write_bytes(os.urandom(32))
    os.link(directory / "kek", directory / "kek.old")


def rewrapped_only(world: Erasing) -> None:
    fresh = keys.replace_kek(world.secrets)
    with Ledger.open(world.settings, clock=lambda: world.now) as ledger:
        rotation.rewrap(ledger, Keyring(fresh.kek, reread=fresh.key_encryption_keys), "0f", clock=lambda: world.now)


def cut_short(world: Erasing) -> None:
    """The transaction that wraps anew is rolled back at its end."""

    def fail(*_: object) -> None:
        raise RuntimeError("the power is gone")

    fresh = keys.replace_kek(world.secrets)
    keyring = Keyring(fresh.kek, reread=fresh.key_encryption_keys)
    with Ledger.open(world.settings, clock=lambda: world.now) as ledger, pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.deciding.Batch.decide", fail)
        with pytest.raises(RuntimeError, match="power"):
            rotation.rewrap(ledger, keyring, "0f", clock=lambda: world.now)


CRASHES: dict[str, Callable[[Erasing], object]] = {
    "the new key half written": lambda world: (world.settings.keys_dir / "kek.partial").write_bytes(b"half"),
    "the new key not in use": lambda world: (world.settings.keys_dir / "kek.new").write_bytes(os.urandom(32)),
    "both names for the old key": link_only,
    "the new key in use": lambda world: keys.replace_kek(world.secrets),
    "nothing wrapped anew": cut_short,
    "all wrapped anew": rewrapped_only,
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_between_any_two_steps_harms_nobody_and_the_next_run_goes_on(told: Erasing, crash: str) -> None:
    old = told.secrets.kek
    CRASHES[crash](told)
    with Ledger.open(told.settings, clock=lambda: told.now) as ledger:  # started after the crash
        told.ledger, before = ledger, told.ledger
        told.make(5)
        told.make(6, customer_id="C-6")
        told.ledger = before
    told.make(7)  # running since before the crash
    told.make(8, customer_id="C-8")
    told.catch_up()
    new = rotate(told)
    assert files(told) == {"log", "kek", "digest"}
    assert (opens(told, new), opens(told, old)) == ({"C-1", "C-2", "C-6", "C-8"}, set())
    told.make(9, customer_id="C-9")
    told.catch_up()
    assert told.verify().problem is None
    assert told.left("C-9") == {"keys": 1, "sealed": 1, "texts": 1}


def test_a_key_that_opens_under_neither_stops_the_rotation_and_loses_nothing(told: Erasing, tmp_path: Path) -> None:
    told.connection.execute(
        "UPDATE ledger.customer_keys SET wrapped = set_byte(wrapped, 20, 0) WHERE customer_id = 'C-2'"
    )
    with pytest.raises(KeyUnwrapFailed, match="C-2"):
        rotate(told)
    assert (told.settings.keys_dir / "kek.old").read_bytes() == told.secrets.kek
    assert opens(told, told.secrets.kek) == {"C-1"}


def test_a_rotation_that_the_database_stops_says_how_it_goes_on(told: Erasing) -> None:
    """As a full disk does: no row can be written anew."""
    told.connection.execute("ALTER TABLE ledger.customer_keys ADD CONSTRAINT no_room CHECK (false) NOT VALID")
    with pytest.raises(rotation.NotRotated, match=r"run `promise-ledger keys rotate` again, .*no_room"):
        rotate(told)
    half = keys.load(told.settings.keys_dir).kek
    assert half != told.secrets.kek
    assert (told.settings.keys_dir / "kek.old").read_bytes() == told.secrets.kek
    assert opens(told, told.secrets.kek) == {"C-1", "C-2"}
    told.connection.execute("ALTER TABLE ledger.customer_keys DROP CONSTRAINT no_room")
    assert rotate(told) == half
    assert opens(told, half) == {"C-1", "C-2"}


def test_a_database_that_is_away_is_named_at_once(told: Erasing) -> None:
    away = told.settings.model_copy(update={"database_url": "postgresql://postgres@127.0.0.1:1/ledger"})
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        Ledger.open(away)
