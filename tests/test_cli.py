"""The command line's tables: which module has which command, and which errors are a sentence."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from deploy import commands
from deploy.cli import BAD_NEWS, COMMANDS, GROUPS, USED_WRONGLY


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
