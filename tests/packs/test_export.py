"""What export writes: for which eyes, how it reads, what it refuses; and the commands as they are typed."""

import csv
import html
import io
import json
import re
import sys
from pathlib import Path

import psycopg
import pytest

from deploy import cli
from deploy.exporting import ExportRefused
from deploy.pack import verify_pack
from deploy.pack.selecting import Sample
from tests.packs.making import (
    ERASING,
    FORMULA,
    MARKUP,
    NOBODY,
    Packs,
    change,
    export,
    files,
    leaves,
    owner,
    problem,
    sign,
    verified,
)
from tests.storage.log import Log, make, told


def test_no_cell_is_a_formula_and_no_word_of_the_page_is_markup(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    found = {row["leaf_index"]: row for row in verify_pack.rows_of((pack / "timeline.csv").read_bytes())}
    assert found["0"]["text"] == "'" + FORMULA
    assert found["10"]["text"] == "'-done"
    for name in ("timeline.csv", "promises.csv", "findings.csv"):
        for row in csv.reader(io.StringIO((pack / name).read_text(encoding="utf-8"), newline="")):
            assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    page = (pack / "report.html").read_text(encoding="utf-8")
    assert not re.search(
        r"<(script|img|link|iframe|object|a|form|base)\b|\bon\w+=|javascript:|https?:", page.split("<body>")[0]
    )
    body = page.split("<body>")[1]
    assert {*re.findall(r"<(\w+)", body)} == {
        "h1",
        "h2",
        "p",
        "code",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
    }
    assert html.escape(FORMULA) in body
    assert "default-src 'none'" in page


def test_words_with_markup_newlines_and_hidden_signs_stay_words():
    assert verify_pack.cell(MARKUP) == MARKUP.replace("\u202e", "\\u202e")
    for formula in ("=1", "+1", "-1", "@a", "\t=1", " =1", "\n=1", "＝1", "＋1", "－1", "＠1"):
        assert verify_pack.cell(formula) == "'" + formula
    for harmless in ("", None, 0, "1-1", "a=b", "'=1"):
        assert verify_pack.cell(harmless) == ("" if harmless is None else str(harmless))
    assert verify_pack.visible("a\0\r\x1b[2J\u2066b") == "a\\u0000\\u000d\\u001b[2J\\u2066b"
    rows = verify_pack.rows_of(verify_pack.csv_of(["a", "b"], [['x,"y"\n', 'ä;"']]))
    assert rows == [{"a": 'x,"y"\n', "b": 'ä;"'}]
    assert verify_pack.csv_of(["a", "b"], [["x;=1", "y\t=1"]]) == b'"a","b"\r\n"x;=1","y\t=1"\r\n'


def test_a_pack_that_its_own_program_would_not_look_at_is_not_made(
    log: Log, away: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verify_pack, "MAX_BYTES", 50_000)
    with pytest.raises(ExportRefused, match="select less, or use --sample"):
        export(log, away, "case", "case-77")
    assert not away.exists()


def test_what_was_erased_is_nowhere_and_its_order_is_proven(log: Log, packs: Packs, away: Path):
    for by, value in (("all", None), ("customer", "C-2"), ("promise", "P-2")):
        pack = packs.copy(away / by, by, value)
        everything = b"".join(files(pack).values())
        assert MARKUP.split()[0].encode() not in everything
        assert b"Done." not in everything
        assert f"1 erased {ERASING} [erased on 2026-03-04]\n" in (pack / "texts.txt").read_text()
        assert "[erased on 2026-03-04]" in (pack / "report.html").read_text()
        assert verified(pack, "--vkey", log.vkey)[0] == 0
    assert json.loads((away / "promise/pack.json").read_bytes())["also"] == [ERASING]


def test_an_erasure_that_nothing_orders_is_found_even_if_signed_for(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "promise", "P-2")
    for order in ("1", "12", "99", "-1"):
        change(pack / "texts.txt", f"1 erased {ERASING} ", f"1 erased {order} ")
        sign(pack, owner(log))
        assert "texts.txt, leaf 1" in problem(pack, log)
        change(pack / "texts.txt", f"1 erased {order} ", f"1 erased {ERASING} ")
    change(pack / "texts.txt", "[erased on 2026-03-04]", "[erased on 2026-03-05]")
    sign(pack, owner(log))
    assert "does not order its erasure" in problem(pack, log)


def test_a_pack_is_for_its_owner_alone_and_replaces_only_one_of_the_same_log(log: Log, case: Path, tmp_path: Path):
    pack = export(log, tmp_path / "new", "promise", "P-1")
    assert {oct(path.stat().st_mode)[-3:] for path in [pack, pack / "proofs"]} == {"700"}
    assert {oct(path.stat().st_mode)[-3:] for path in pack.rglob("*") if path.is_file()} == {"600"}
    assert files(export(log, pack, "case", "case-77")) == files(case)
    (pack / "notes.txt").write_text("mine")
    before = files(pack)
    for refused in (pack, tmp_path):
        with pytest.raises(ExportRefused, match="choose another directory"):
            export(log, refused)
    assert files(pack) == before
    (pack / "notes.txt").unlink()
    sign(pack, NOBODY)
    with pytest.raises(ExportRefused, match="choose another directory"):
        export(log, pack)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case", "new"]


def test_a_pack_takes_no_place_that_cannot_be_replaced(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever stood in it would see an empty folder; and of a mount point the words would lie beside it."""
    (tmp_path / "here" / "within").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "within")
    for directory in (Path(), tmp_path / "here", Path("/proc")):
        with pytest.raises(ExportRefused, match="name a folder in it"):
            export(log, directory)
    assert [path.name for path in tmp_path.rglob("*")] == ["here", "within"]
    assert (export(log, Path("pack"), "promise", "P-1") / "README.md").exists()


def test_a_log_that_is_not_what_was_signed_is_not_exported(readable: str, data_dir: Path, tmp_path: Path):
    changes = (
        "UPDATE ledger.events SET state = replace(convert_from(state, 'UTF8'), 'phone', 'email')::bytea",
        "UPDATE ledger.sealed SET ciphertext = (SELECT ciphertext FROM ledger.sealed WHERE leaf_index = 1)",
        "DELETE FROM ledger.sealed",
        "DELETE FROM ledger.events WHERE notification_id = 2",
        "UPDATE ledger.events SET state = '[]' WHERE notification_id = 1",
        "UPDATE ledger.events SET state = '\\xff' WHERE notification_id = 1",
        "UPDATE ledger.events SET originator_id = 'promise:P-9' WHERE notification_id = 1",
        "UPDATE ledger.events SET topic = 'x' WHERE notification_id = 1",
        "UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = now()",
        "UPDATE ledger.head SET origin = 'a name'",
        "INSERT INTO ledger.checkpoints SELECT 9, origin || E'\\n no checkpoint', now() FROM ledger.head",
    )
    tables = ("events", "sealed", "checkpoints", "customer_keys", "head")
    log = Log(readable, data_dir)
    told(log.open(), make(1), make(8))
    log.close()
    with psycopg.connect(readable, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in tables:
            connection.execute(f"CREATE TABLE kept_{table} AS TABLE ledger.{table}".encode())
        for change in changes:
            connection.execute(change.encode())
            with pytest.raises(ExportRefused):
                export(log, tmp_path / "pack")
            assert list(tmp_path.iterdir()) == []
            for table in tables:
                connection.execute(f"DELETE FROM ledger.{table}".encode())
                connection.execute(f"INSERT INTO ledger.{table} SELECT * FROM kept_{table}".encode())
    assert verified(export(log, tmp_path / "pack", "customer", "C-1"), "--vkey", log.vkey)[0] == 0


class Command:
    """`promise-ledger` in this process: exit code and both outputs."""

    def __init__(self, log: Log, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capture, self._patch = capture, patch
        patch.setenv("LEDGER_DATABASE_URL", log.url)
        patch.setenv("LEDGER_DATA_DIR", str(log.settings.data_dir))

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["promise-ledger", *map(str, arguments)])
        self._capture.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = self._capture.readouterr()
        return int(end.value.code or 0), said.out, said.err


@pytest.fixture
def command(log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(log, capsys, monkeypatch)


def test_export_and_verify_pack_as_they_are_typed(log: Log, command: Command, case: Path, away: Path):
    code, said, _ = command("export", away, "--case", "case-77")
    assert code == 0
    assert said.endswith(f"\n{log.vkey}\n")
    assert "texts in the clear" in said
    assert files(away) == files(case)
    code, said, _ = command("verify-pack", away, "--vkey", log.vkey)
    assert code == 0
    assert said == verified(away, "--vkey", log.vkey)[1]
    found = json.loads(command("verify-pack", away, "--json")[1])
    assert (found["ok"], found["entries"], found["size"], found["key_was_given"]) == (True, 6, 19, False)
    change(away / "texts.txt", "HYPERLINK", "HYPERLANE")
    code, said, _ = command("verify-pack", away, "--vkey", log.vkey)
    assert (code, said) == (1, "NOT AS SIGNED: texts.txt: it is not the file that was signed for\n")
    found = json.loads(command("verify-pack", away, "--json")[1])
    assert found == {"ok": False, "problem": "texts.txt: it is not the file that was signed for"}


def test_sampled_and_timed_exports_as_they_are_typed(log: Log, command: Command, away: Path):
    drawn = ("--all", "--sample", "5", "--seed", "2026-audit", "--checkpoint", "19", "--json")
    code, said, _ = command("export", away / "sample", *drawn)
    assert code == 0
    assert json.loads(said)["size"] == 19
    assert files(away / "sample") == files(export(log, away / "same", sample=Sample(5, "2026-audit")))
    assert command("export", away / "time", "--from", "2026-03-01T18:00:00Z", "--to", "2026-03-02T00:00:00Z")[0] == 0
    assert leaves(away / "time") == [5, 6, 7, 8]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--all", "--customer", "C-1"),
        ("--all", "--sample", "3"),
        ("--all", "--seed", "x"),
        ("--all", "--sample", "0", "--seed", "x"),
        ("--all", "--sample", "3", "--seed", "`x`"),
        ("--from", "yesterday"),
    ],
)
def test_exports_that_make_no_sense_are_used_wrongly(command: Command, away: Path, options: tuple[str, ...]):
    assert command("export", away, *options)[0] == 2
    assert not away.exists()


def test_what_cannot_be_exported_or_checked_is_said_in_one_sentence(command: Command, away: Path, tmp_path: Path):
    code, _, said = command("export", away, "--customer", "C-none")
    assert (code, said) == (1, "promise-ledger: no event under the checkpoint is what you asked for\n")
    (tmp_path / "empty").mkdir()
    assert command("verify-pack", tmp_path / "empty")[:2] == (1, "NOT AS SIGNED: README.md is missing\n")
    assert command("verify-pack", tmp_path / "empty", "--vkey", "no key")[0] == 2
    assert command("verify-pack", tmp_path / "empty", "--witness", NOBODY.vkey)[0] == 2
