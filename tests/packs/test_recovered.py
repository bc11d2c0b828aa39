"""Packs of a log whose words were lost with the database, and came back from no copy of its entries."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.pack.publishing import export_pack
from deploy.pack.selecting import Wanted
from ledger.storage import keys
from ledger.storage.sql import QUERIES
from tests.conftest import _copy, new_data_dir, remove
from tests.packs.making import change, export, files, leaves, owner, problem, sign, verified
from tests.storage.log import NOON, Log, copied, make, told
from tests.storage.place import Place
from tests.storage.place import export as export_site


@pytest.fixture(scope="module")
def recovered(postgres_url: str, _readable_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log of which an older copy, of leaves 0 and 1, was put back: leaves 2 and 3 came from a site, 4 says so, 5 is
    new. C-1 has leaves 0, 2 and 5, C-2 leaf 1, C-3 leaf 3 in the case of leaf 2."""
    directory, case = new_data_dir(), {"case_id": "case-9"}
    with _copy(postgres_url, _readable_template) as url:
        log = Log(url, directory)
        told(log.open(), make(1, customer_id="C-1"), make(2, customer_id="C-2"))
        log.close()
        with copied(url, "ledger_older_for_packs") as older:
            lost = [make(3, text="gone for good", customer_id="C-1", **case), make(4, customer_id="C-3", **case)]
            told(log.open(), *lost)
            log.close()
            site = export_site(Place(log, log.settings), tmp_path_factory.mktemp("site"))
            settings = log.settings.model_copy(update={"database_url": older})
            place = Place(log, settings)
            place.entries(site)
            restored = Log(older, directory)
            restored.now = log.now
            told(restored.open(), make(5, customer_id="C-1"))
            restored.close()
            yield restored
    remove(directory)


@pytest.mark.parametrize(("by", "value"), [("all", None), ("customer", "C-1"), ("promise", "P-3"), ("case", "case-9")])
def test_lost_words_are_said_to_be_lost_and_what_says_so_is_proven(
    recovered: Log, away: Path, by: str, value: str | None
):
    pack = export(recovered, away, by, value)
    assert "2 lost 4 [lost on 2026-03-01]\n" in (pack / "texts.txt").read_text()
    assert "[lost on 2026-03-01]" in (pack / "report.html").read_text()
    assert 4 in leaves(pack)
    assert json.loads((pack / "pack.json").read_bytes())["also"] == ([] if by == "all" else [4])
    code, said = verified(pack, "--vkey", recovered.vkey)
    assert code == 0, said
    assert f"lost: {2 if by in ('all', 'case') else 1}\n" in said
    assert b"gone for good" not in b"".join(files(pack).values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 lost 4 [lost on 2026-03-01]", "2 lost 4 [lost on 2026-03-02]"),
        ("2 lost 4 ", "2 lost 5 "),
        ("2 lost 4 ", "2 lost 99 "),
        ("2 lost 4 ", "2 erased 4 "),
    ],
)
def test_words_that_nothing_says_to_be_lost_are_missed_even_if_signed_for(
    recovered: Log, away: Path, old: str, new: str
):
    pack = export(recovered, away)
    change(pack / "texts.txt", old, new)
    sign(pack, owner(recovered))
    assert "texts.txt, leaf 2" in problem(pack, recovered)


def test_words_from_before_a_recovery_cannot_be_withheld_as_lost(recovered: Log, away: Path):
    pack = export(recovered, away)
    for at, leaf in ((0, 0), (4, 5)):
        lines = (pack / "texts.txt").read_text().split("\n")
        assert lines[at].startswith(f"{leaf} ")
        lines[at] = f"{leaf} lost 4 [lost on 2026-03-01]"
        other = away.with_name(f"{away.name}-{leaf}")
        shutil.copytree(pack, other)
        (other / "texts.txt").write_text("\n".join(lines))
        sign(other, owner(recovered))
        assert problem(other, recovered) == f"texts.txt, leaf {leaf}: what it names did not bring its entry back"


def test_a_log_that_goes_on_anew_is_exported_under_a_checkpoint_of_its_own(readable: str, data_dir: Path, away: Path):
    log = Log(readable, data_dir)
    told(log.open(), make(1, customer_id="C-1"))
    log.close()
    ((note,),) = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 1")
    with copied(readable, "ledger_ended_for_packs") as older:
        with psycopg.connect(older) as connection:
            for size in (1, 99):
                connection.execute(QUERIES["store_witnessed"], {"size": size, "note": note, "stored_at": NOON})
        told(log.open(), make(2, customer_id="C-2"))
        log.close()
        place = Place(log, log.settings.model_copy(update={"database_url": older}))
        place.anew(origin="example/again")
        settings = place.settings.model_copy(update={"origin": "example/again"})
        wanted = Wanted("customer", "C-1")
        exported = export_pack(older, keys.secrets_of(settings), away, wanted)
    assert (exported.entries, exported.size) == (1, 2)
    assert exported.vkey.startswith("example/again+")
    assert verified(away, "--vkey", exported.vkey)[0] == 0
