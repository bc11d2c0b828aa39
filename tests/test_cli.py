"""The command line's tables: which module has which command, and which errors are a sentence."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from consumers.importing.errors import ImportProblem
from consumers.importing.mapping import load_mapping
from deploy import cli, commands
from deploy.cli import BAD_NEWS, COMMANDS, GROUPS, USED_WRONGLY
from deploy.commands.evidence import policy_in
from deploy.places import SetupError
from deploy.timestamping import read_roots
from deploy.witnessing import read_policy


def test_every_command_of_every_module_is_listed_where_it_is() -> None:
    modules = {path.stem for path in Path(commands.__path__[0]).glob("*.py")} - {"__init__"}
    assert modules == {place.partition(":")[0] for place in (COMMANDS | GROUPS).values()}
    listed: dict[str, set[str]] = {}
    for name, place in COMMANDS.items():
        listed.setdefault(place, set()).add(name)
    for place, names in listed.items():
        module, _, part = place.partition(":")
        there = typer.main.get_group(getattr(import_module(f"deploy.commands.{module}"), part)).commands
        assert names == set(there), module


@pytest.mark.parametrize("name", sorted(USED_WRONGLY | BAD_NEWS))
def test_an_error_that_is_a_sentence_has_that_name(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    error = getattr(import_module(module), attribute)
    assert issubclass(error, Exception)
    assert f"{error.__module__}.{error.__qualname__}" == name


def test_a_command_loads_no_other(tmp_path: Path) -> None:
    code = f"""
import sys
from deploy import cli
sys.argv = ["promise-ledger", "findings", "--data-dir", {str(tmp_path)!r}]
try:
    cli.main()
except SystemExit as end:
    print(end.code, sorted(sys.modules.keys() & {{"faststream", "fastapi", "nats", "deploy.commands.reading"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1 ['deploy.commands.reading']\n"
    assert "no ledger runs in" in done.stderr


@pytest.mark.parametrize("command", [["scorecard"], ["export", "pack"], ["policy", "try", __file__]])
def test_a_period_that_ends_before_it_begins_is_a_sentence(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    period = ["--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"]
    monkeypatch.setattr(sys, "argv", ["promise-ledger", *command, *period])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "--from is later than --to" in capsys.readouterr().err


def test_a_file_without_end_is_refused_and_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no place on the disk, and does not fit into memory
    with pytest.raises(typer.BadParameter, match="no witness policy"):
        policy_in(path)
    for read in (read_policy, read_roots):
        with pytest.raises(SetupError, match=r"is no witness policy|no certificates of a timestamp authority"):
            read(path)
    with pytest.raises(ImportProblem, match="larger than"):
        load_mapping(path)


@pytest.mark.parametrize(
    ("command", "instead"),
    [(["recover"], ", or do without it: --without-queue"), (["recover", "lost"], ""), (["deadletters", "list"], "")],
)
def test_a_database_without_a_queue_is_what_is_said(
    command: list[str],
    instead: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LEDGER_DATABASE_URL", "postgresql:///nowhere")
    monkeypatch.setattr(sys, "argv", ["promise-ledger", *command, "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = "LEDGER_DATABASE_URL names a database, and nothing names its queue: set LEDGER_BROKER_URL as well"
    assert (end.value.code, capsys.readouterr().err) == (1, f"promise-ledger: {said}{instead}\n")
