"""Packs of a log whose signing key was rotated: whoever pinned any of its keys can check them, and a thief cannot."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from deploy.exporting import ExportRefused
from deploy.pack import verify_pack
from ledger.log_rotation import rotate_log_key
from ledger.storage import keys
from ledger.storage.sql import QUERIES
from ledger.tlog.note import Note, Signer
from tests.conftest import _copy, new_data_dir, remove
from tests.packs.making import export, files, sign, verified
from tests.storage.log import Log, make, told


@dataclass
class Rotated:
    """A log of one event, a rotation, one event, a rotation, one event; a pack of each time; its keys."""

    log: Log
    first: Path
    pack: Path
    seeds: list[bytes]

    @property
    def signers(self) -> list[Signer]:
        return [Signer(self.log.settings.origin, seed) for seed in self.seeds]

    @property
    def vkeys(self) -> list[str]:
        return [signer.vkey for signer in self.signers]


@pytest.fixture(scope="module")
def rotated(postgres_url: str, _readable_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotated]:
    directory, packs = new_data_dir(), tmp_path_factory.mktemp("rotated")
    with _copy(postgres_url, _readable_template) as url:
        log = Log(url, directory)
        rotated = Rotated(log, packs / "first", packs / "last", [])
        for number in range(3):
            log.secrets = keys.secrets_of(log.settings)
            assert isinstance(log.secrets.log, bytes)
            rotated.seeds.append(log.secrets.log)
            told(log.open(), make(number, customer_id="C-1"))
            log.close()
            if number == 0:
                export(log, rotated.first, "customer", "C-1")
            if number < 2:
                log.now += timedelta(days=1)
                rotate_log_key(log.settings, lambda: log.now)
        export(log, rotated.pack, "customer", "C-1")
        yield rotated
    remove(directory)


def problem(pack: Path, vkey: str) -> str:
    with pytest.raises(verify_pack.Wrong) as found:
        verify_pack.check(str(pack), vkey)
    return str(found.value)


def test_each_key_vouches_for_the_others_and_a_strangers_for_none(rotated: Rotated) -> None:
    for vkey in rotated.vkeys:
        code, said = verified(rotated.pack, "--vkey", vkey)
        assert (code, said.startswith("AS SIGNED: 3 events"), "WARNING" in said) == (0, True, False)
    assert (rotated.pack / "keys.txt").read_text() == f"log {rotated.vkeys[2]}\n"
    stranger = Signer(rotated.log.settings.origin, bytes(32)).vkey
    assert "no rotation leads to that" in problem(rotated.pack, stranger)
    assert verified(rotated.first, "--vkey", rotated.vkeys[0])[0] == 0
    assert "no rotation leads to that" in problem(rotated.first, rotated.vkeys[2]), "made before there was another key"
    assert not (rotated.first / "rotations.json").exists()


def test_what_an_earlier_key_signed_is_exported_and_holds_under_each(rotated: Rotated, away: Path) -> None:
    pack = export(rotated.log, away, "customer", "C-1", size=1)
    assert (pack / "checkpoint").read_bytes() == (rotated.first / "checkpoint").read_bytes()
    for vkey in rotated.vkeys:
        assert verify_pack.check(str(pack), vkey).size == 1


def thief(rotated: Rotated, pack: Path) -> None:
    """With the first key alone: his own manifest, and no word of rotations."""
    (pack / "rotations.json").unlink()
    (pack / "keys.txt").write_text(f"log {rotated.vkeys[0]}\n")
    note = Note.parse((pack / "checkpoint").read_bytes())
    resign(pack, Note(note.text, (rotated.signers[0].signature(note.text),)).format())
    sign(pack, rotated.signers[0])


def resign(pack: Path, note: bytes) -> None:
    for path in (pack / "proofs").iterdir():
        path.write_bytes(path.read_bytes().partition(b"\n\n")[0] + b"\n\n" + note)
    (pack / "checkpoint").write_bytes(note)


def signs_on(rotated: Rotated, pack: Path) -> None:
    """The checkpoint of today under a key of before, in a pack of the owner's."""
    note = Note.parse((pack / "checkpoint").read_bytes())
    resign(pack, Note(note.text, (rotated.signers[1].signature(note.text),)).format())
    sign(pack, rotated.signers[2])


def links(do: Callable[[Rotated, list[list[str]]], None]) -> Callable[[Rotated, Path], None]:
    """The same pack with other rotations, signed for with the key in use."""

    def changed(rotated: Rotated, pack: Path) -> None:
        found = json.loads((pack / "rotations.json").read_bytes())
        do(rotated, found)
        (pack / "rotations.json").write_bytes(verify_pack.json_of(found, 1))
        sign(pack, rotated.signers[2])

    return changed


def without_the_old_signature(rotated: Rotated, found: list[list[str]]) -> None:
    head, _, note = found[0][1].partition("\n\n")
    text = Note.parse(note).text
    found[0][1] = f"{head}\n\n{Note(text, (rotated.signers[1].signature(text),)).format().decode()}"


def without_the_new_signature(rotated: Rotated, found: list[list[str]]) -> None:
    head, _, note = found[0][1].partition("\n\n")
    text = Note.parse(note).text
    found[0][1] = f"{head}\n\n{Note(text, (rotated.signers[0].signature(text),)).format().decode()}"


def of_another_key(rotated: Rotated, found: list[list[str]]) -> None:
    """The owner of the new key signs beside, and puts himself into the event."""
    head, _, note = found[0][1].partition("\n\n")
    text, mine = Note.parse(note).text, Signer(rotated.log.settings.origin, b"m" * 32)
    found[0][0] = found[0][0].replace(rotated.vkeys[0], mine.vkey)
    found[0][1] = (
        f"{head}\n\n{Note(text, (mine.signature(text), rotated.signers[1].signature(text))).format().decode()}"
    )


CHEATS: dict[str, tuple[Callable[[Rotated, Path], None], int, str]] = {
    "a thief with an old key": (thief, 2, "no rotation leads to that"),
    "an old key that signs on": (signs_on, 0, "checkpoint: it is not signed by"),
    "a rotation left out": (links(lambda _, found: found.pop(0) and None), 0, "no rotation leads to that"),
    "the last rotation left out": (links(lambda _, found: found.pop() and None), 0, "does not lead to the key in"),
    "rotations exchanged": (links(lambda _, found: found.reverse()), 0, "does not lead from key to key"),
    "the old key has not signed": (links(without_the_old_signature), 0, "rotations.json: it is not signed by"),
    "the new key has not signed": (links(without_the_new_signature), 0, "rotations.json: it is not signed by"),
    "an event that nobody recorded": (links(of_another_key), 2, "rotations.json: leaf 1 and its proof do not lead"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_chain_of_keys_that_does_not_hold_is_found(rotated: Rotated, tmp_path: Path, away: Path, cheat: str) -> None:
    do, pinned, named = CHEATS[cheat]
    away.mkdir()
    for name, content in files(rotated.pack).items():
        (away / name).parent.mkdir(exist_ok=True)
        (away / name).write_bytes(content)
    do(rotated, away)
    assert named in problem(away, rotated.vkeys[pinned])


def test_a_rotation_that_cannot_be_proven_any_more_is_left_out(rotated: Rotated, away: Path) -> None:
    """As after `recover entries`: entries come back from copies, checkpoints of before do not."""
    with psycopg.connect(rotated.log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("CREATE TABLE kept AS SELECT * FROM ledger.checkpoints")
        connection.execute("DELETE FROM ledger.checkpoints WHERE size <= 2")
    pack = export(rotated.log, away, "customer", "C-1")
    assert len(json.loads((pack / "rotations.json").read_bytes())) == 1
    for vkey in rotated.vkeys[1:]:
        verify_pack.check(str(pack), vkey)
    assert "no rotation leads to that" in problem(pack, rotated.vkeys[0])
    with psycopg.connect(rotated.log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO ledger.checkpoints SELECT * FROM kept WHERE size = 1")
        row = connection.execute("SELECT note FROM kept WHERE size = 1").fetchone()
        assert row is not None
        connection.execute(QUERIES["store_witnessed"], {"size": 1, "note": row[0], "stored_at": rotated.log.now})
    with pytest.raises(ExportRefused, match="the one of 1 events: take one of 2 or more"):
        export(rotated.log, away.with_name("early"), "customer", "C-1", size=1)
    early = export(rotated.log, away.with_name("early"), "promise", "P-0")
    assert verify_pack.check(str(early), rotated.vkeys[1]).size == 5, "not under the one of 1, which others cosigned"
