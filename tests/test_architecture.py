"""ARCHITECTURE.md is true: arrows of imports point downwards. So are the lists of all files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tokenzip import errors

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tokenzip"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


TEXT = text_of("ARCHITECTURE.md")
TOP = "tokenzip"  # the package's own __init__ and __main__


def part_of(name: str) -> str:
    """Which part a module belongs to: the name after `tokenzip.`, or TOP."""
    inner = name.partition(".")[2].partition(".")[0]
    if not inner or inner.startswith("__"):
        return TOP
    exists = (PACKAGE / inner).is_dir() or (PACKAGE / f"{inner}.py").is_file()
    return inner if exists else TOP


def imports_of(path: Path) -> Iterator[str]:
    """Full names of what a module of the package imports from the package, wherever it does so."""
    package = [TOP, *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == TOP)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base.split(".")[0] == TOP:
                yield from (f"{base}.{alias.name}" for alias in node.names)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def listed() -> Iterator[str]:
    """The files (and the folders, with a slash) of the tree, as paths from the root."""
    tree = text_of("docs/source.md").split("```")[1].removeprefix("text")
    above: list[str] = []
    for line in tree.strip().splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        above[len(indent) // 2 :] = [name]
        yield "".join(above)


def graph() -> dict[str, set[str]]:
    """Part -> the other parts that it imports."""
    arrows: dict[str, set[str]] = {}
    for path in modules():
        relative = path.relative_to(ROOT).with_suffix("")
        part = part_of(".".join(relative.parts))
        arrows.setdefault(part, set()).update(part_of(name) for name in imports_of(path))
    return {part: targets - {part} for part, targets in arrows.items()}


def allowed() -> dict[str, set[str]]:
    """The table of the parts."""
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.*?) ?\|$", TEXT, re.MULTILINE)
    return {part: set(re.findall(r"`(\w+)`", targets)) for part, targets in rows}


GRAPH = graph()


def test_the_parser_of_imports_sees_them() -> None:
    found = set(imports_of(PACKAGE / "chunk_coding.py"))
    assert {"tokenzip.errors.CorruptError", "tokenzip.predictors.stored.pack"} <= found
    assert "tokenzip.codec.encode" in set(imports_of(PACKAGE / "__init__.py"))
    assert GRAPH["cli"] >= {"codec", "files", "errors"}


@pytest.mark.parametrize("part", sorted(set(GRAPH) - {TOP}))
def test_imports_are_those_of_the_table(part: str) -> None:
    assert part in allowed(), f"ARCHITECTURE.md does not say what {part} may import"
    assert GRAPH[part] - {TOP} <= allowed()[part]


def test_the_table_has_no_part_that_is_not_there() -> None:
    assert set(allowed()) == set(GRAPH) - {TOP}


def test_arrows_point_downwards() -> None:
    without_top = {part: targets - {TOP} for part, targets in GRAPH.items() if part != TOP}
    order = list(TopologicalSorter(without_top).static_order())  # CycleError if there is none
    assert order.index("errors") < order.index("blob") < order.index("codec") < order.index("cli")


def test_who_must_not_know_whom() -> None:
    for part in ("coding", "blob"):
        assert not GRAPH[part] & {"predictors", "codec", "chunk_coding", "cli"}
    assert not GRAPH["predictors"] & {"codec", "chunk_coding", "blob", "cli", "files"}
    assert {part for part, targets in GRAPH.items() if "cli" in targets} <= {TOP}
    assert GRAPH["errors"] == set()


def test_only_main_and_nothing_else_at_the_top_knows_the_command_line() -> None:
    assert "tokenzip.cli.main" in set(imports_of(PACKAGE / "__main__.py"))
    assert not any(name.startswith("tokenzip.cli") for name in imports_of(PACKAGE / "__init__.py"))


def test_the_tree_lists_every_module() -> None:
    files = {path for path in listed() if not path.endswith("/")}
    there = {path.relative_to(ROOT).as_posix() for path in modules()}
    assert sorted(files - there) == []
    # A folder without files in the tree stands for all of its own; __init__ is the folder's line.
    folders = {path for path in listed() if path.endswith("/")}
    whole = {folder for folder in folders if not any(file.startswith(folder) for file in files)}
    missing = {
        path
        for path in there - files
        if not any(path.startswith(folder) for folder in whole)
        and not (path.endswith("/__init__.py") and path.removesuffix("__init__.py") in folders)
    }
    assert sorted(missing) == []


def test_every_folder_of_modules_is_a_package() -> None:
    """Without __init__.py a folder would be missing from the wheel."""
    assert {
        path.parent for path in modules() if not (path.parent / "__init__.py").is_file()
    } == set()


def test_every_test_file_is_in_the_map() -> None:
    named = re.findall(r"`(test_[\w*]+\.py)`", text_of("tests/README.md"))
    there = [path.name for path in (ROOT / "tests").glob("test_*.py")]
    assert [name for name in there if not any(fnmatch(name, pattern) for pattern in named)] == []
    assert [name for name in named if "*" not in name and name not in there] == []


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_the_error_family_is_whole() -> None:
    named = set(re.findall(r"`(\w+Error)`", text_of("docs/errors.md")))
    assert set(errors.__all__) <= named
