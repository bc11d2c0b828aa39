"""Commands over read tables that an update left behind: the answer says so, and PostgreSQL says nothing."""

from urllib.parse import urlsplit

import orjson
import psycopg
import pytest

from deploy import cli
from projections.runner import rebuild_all
from tests.projections.world import World

COMMANDS = (["outstanding"], ["findings"], ["customer", "C-1"], ["scorecard"], ["problems"], ["blast-radius", "D-0"])
LEFT = "the tables of promises, findings were made by another release: run `promise-ledger rebuild promises findings`"


@pytest.fixture
def old(everything: World, monkeypatch: pytest.MonkeyPatch) -> World:
    everything.for_commands(monkeypatch)
    return everything


def said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str, str]:
    """Exit code, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["promise-ledger", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_an_answer_from_tables_of_another_release_says_so(
    old: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {tuple(each): said(monkeypatch, capsys, *each, "--json") for each in COMMANDS}
    assert {err for _, _, err in before.values()} == {""}
    old.connection.execute("UPDATE projection.versions SET digest = 'older' WHERE name IN ('promises', 'findings')")
    for arguments, (code, out, _) in before.items():
        now = said(monkeypatch, capsys, *arguments, "--json")
        assert (now[0], now[2]) == (code, f"promise-ledger: answered as before an update of the program: {LEFT}\n")
        assert orjson.loads(now[1]).__class__ is orjson.loads(out).__class__
    rebuild_all(old.url, old.secrets, ["promises", "findings"])
    assert said(monkeypatch, capsys, "findings", "--json")[2] == ""


def test_what_cannot_be_asked_of_them_is_no_sentence_of_postgresql(
    old: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = old.ask("SELECT pg_get_functiondef(oid) AS made FROM pg_proc WHERE proname = 'scorecard'")
    (version,) = old.ask("SELECT digest FROM projection.versions WHERE name = 'scorecard' AND live")
    old.connection.execute("DROP FUNCTION audit.scorecard")
    unmigrated = "promise-ledger: the views of this release are not in the database: run `promise-ledger migrate`\n"
    assert said(monkeypatch, capsys, "scorecard") == (1, "", unmigrated)
    old.connection.execute("UPDATE projection.versions SET digest = 'older' WHERE name = 'scorecard'")
    left = (
        "promise-ledger: the tables of scorecard were made by another release: run `promise-ledger rebuild scorecard`\n"
    )
    assert said(monkeypatch, capsys, "scorecard") == (1, "", left)
    old.connection.execute(row["made"].encode())
    old.connection.execute("UPDATE projection.versions SET digest = %s WHERE name = 'scorecard'", [version["digest"]])


def test_an_auditor_may_ask_without_seeing_the_versions(
    old: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = urlsplit(old.url)
    with psycopg.connect(old.url, autocommit=True) as owner:
        owner.execute("CREATE USER asks_findings PASSWORD 'a' IN ROLE ledger_auditor")
    try:
        url = place._replace(netloc=f"asks_findings:a@{place.netloc.rpartition('@')[2]}").geturl()
        monkeypatch.setenv("LEDGER_DATABASE_URL", url)
        code, _, err = said(monkeypatch, capsys, "findings", "--json")
        assert (code, err) == (0, "")
    finally:
        with psycopg.connect(old.url, autocommit=True) as owner:
            owner.execute("DROP USER asks_findings")
