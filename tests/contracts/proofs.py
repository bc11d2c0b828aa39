"""What tests show, read from their source: commands recorded, refusals, findings that open, close or do not."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
Known = Mapping[str, ast.AST]
KINDS = ("opens", "closes", "spares")
"""What a test may show of a finding."""


class Shown(NamedTuple):
    """What one test shows. `records`: classes of commands in `when(…).then(…)`; `refuses`: codes in `.refused(…)`, or
    that `codes(…)` or `….erase(…)`, which send to a real ledger, are compared with;
    `findings`: (code, one of `KINDS`) by what `intervals(code)` is compared with.
    """

    records: frozenset[str]
    refuses: frozenset[str]
    findings: frozenset[tuple[str, str]]


@cache
def shown_in(path: Path) -> dict[str, Shown]:
    """Every test function of the file and what it shows."""
    known = _definitions(path)
    found = {}
    for name, test in known.items():
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and name.startswith("test_"):
            here = dict(known) | _locals(test)
            nodes = list(ast.walk(test))
            found[name] = Shown(
                frozenset(each for call in _ends(nodes, "then") for each in _names(call.func.value.args[0], here)),
                frozenset(each for code in _refused(nodes) for each in _words(code, here)),
                frozenset(each for node in nodes for each in _findings(node, here)),
            )
    return found


def _definitions(path: Path) -> dict[str, ast.AST]:
    """What the module defines at its top, by name."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Assign() | ast.AnnAssign():
                found |= _assigned(node)
    return found


def _assigned(node: ast.Assign | ast.AnnAssign) -> dict[str, ast.AST]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
    return dict.fromkeys(names, node.value or node)


def _locals(test: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.AST]:
    """What names mean within the test: its parameters are what its decorators give."""
    found: dict[str, ast.AST] = {}
    given = ast.Tuple(elts=test.decorator_list, ctx=ast.Load())
    for argument in test.args.args:
        found[argument.arg] = given
    for node in ast.walk(test):
        match node:
            case ast.Assign() | ast.AnnAssign():
                found |= _assigned(node)
            case ast.For(target=target, iter=values):
                found |= {each.id: values for each in ast.walk(target) if isinstance(each, ast.Name)}
    return found


def _ends(nodes: list[ast.AST], outcome: str) -> Iterator[ast.Call]:
    """Every `….when(…).<outcome>(…)`."""
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr=attribute, value=ast.Call(func=ast.Attribute(attr="when")))):
                if attribute == outcome:
                    yield node


def _refused(nodes: list[ast.AST]) -> Iterator[ast.AST]:
    """Where a code stands that something is refused under."""
    yield from (call.args[0] for call in _ends(nodes, "refused"))
    for node in nodes:
        match node:
            case ast.Compare(
                left=ast.Call(func=ast.Name(id="codes") | ast.Attribute(attr="erase")),
                ops=[ast.Eq()],
                comparators=[expected],
            ):
                yield expected


def _used(node: ast.AST, known: Known) -> Iterator[ast.AST]:
    """Every node of `node`, and of what it uses."""
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        for each in ast.walk(waiting.pop()):
            yield each
            if isinstance(each, ast.Name) and each.id in known and each.id not in seen:
                seen.add(each.id)
                waiting.append(known[each.id])


def _names(node: ast.AST, known: Known) -> Iterator[str]:
    return (each.id for each in _used(node, known) if isinstance(each, ast.Name))


def _words(node: ast.AST, known: Known) -> Iterator[str]:
    for each in _used(node, known):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def _findings(node: ast.AST, known: Known) -> Iterator[tuple[str, str]]:
    """What `….intervals(code, …) == expected` says of `code`; a table of cases expects what its last columns say."""
    match node:
        case ast.Compare(
            left=ast.Call(func=ast.Attribute(attr="intervals"), args=[ast.Constant(value=str(code)), *_]),
            ops=[ast.Eq()],
            comparators=[expected],
        ):
            if isinstance(expected, ast.List):
                lists = [expected]
            else:
                rows = [each for each in _used(expected, known) if isinstance(each, ast.Tuple)]
                lists = [row.elts[-1] for row in rows if row.elts and isinstance(row.elts[-1], ast.List)]
            for each in lists:
                yield from ((code, kind) for kind in _kinds(each))


def _kinds(intervals: ast.List) -> Iterator[str]:
    if not intervals.elts:
        yield "spares"
    for each in intervals.elts:
        match each:
            case ast.Tuple(elts=[_, ast.Constant(value=None)]):
                yield "opens"
            case ast.Tuple(elts=[_, _]):
                yield "opens"
                yield "closes"
