"""Integers only: no float can slip into what the bits of an adaptive blob depend on."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core import compiler, ir, typed_passes, types
from numba.core.registry import CPUDispatcher, cpu_target

import tokenzip
from tokenzip.coding import decoder, logarithms, tables, weights
from tokenzip.predictors.adaptive import (
    AdaptiveCoder,
    classes,
    coder,
    contexts,
    experts,
    kernel,
    learner,
    lists,
    logs,
    state,
)

MODULES = [
    *(classes, coder, contexts, experts, kernel, learner, lists, logs, state),
    *(tables, logarithms, decoder),
]
#: Converts finished tables for constriction; nothing that is coded comes from it.
NOT_CODING = {"float_rows"}
#: Of the math module only what takes and gives whole numbers.
WHOLE_MATH = {"isqrt", "prod"}


def floats_in(source: str) -> Iterator[str]:
    """Whatever in a module's source makes a float, or might."""
    tree = ast.parse(source)
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in NOT_CODING
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        where = f"line {getattr(node, 'lineno', 0)}: "
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield where + f"the literal {node.value}"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield where + "a true division"
        elif isinstance(node, ast.Attribute):
            if node.attr in NAMES_OF_FLOATS or node.attr.startswith(("float", "complex")):
                yield where + f"the attribute {node.attr}"
        elif isinstance(node, ast.Name) and node.id in ("float", "complex", "divmod", "pow"):
            yield where + f"the name {node.id}"
        elif isinstance(node, ast.ImportFrom) and node.module == "math":
            yield from (
                where + f"math.{alias.name}" for alias in node.names if alias.name not in WHOLE_MATH
            )
        elif isinstance(node, ast.Import):
            yield from (where + a.name for a in node.names if a.name in ("math", "cmath"))


NAMES_OF_FLOATS = {
    "double", "half", "single", "longdouble", "divide", "true_divide", "reciprocal", "sqrt", "cbrt",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "mean", "average", "std",
    "var", "median", "linspace", "geomspace", "random", "rint", "floor", "ceil", "inf", "nan", "pi",
}  # fmt: skip


def test_all_modules_are_here() -> None:
    folder = Path(inspect.getfile(kernel)).parent
    found = {Path(inspect.getfile(module)).name for module in MODULES}
    assert {path.name for path in folder.glob("*.py")} - {"__init__.py"} <= found


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_source(module: ModuleType) -> None:
    assert list(floats_in(inspect.getsource(module))) == []


@pytest.mark.parametrize(
    "source",
    ["x = 0.5", "x = a / b", "x /= 2", "x = np.float32(y)", "x = y.mean()", "x = np.sqrt(2)",
     "from math import log2", "import math", "x = float(y)", "x = 1j", "x = np.exp2(y)"],
)  # fmt: skip
def test_source_with_floats_is_found(source: str) -> None:
    assert list(floats_in(source))


def not_whole(function: Any, signature: tuple[Any, ...]) -> list[str]:
    """Floats among the types that numba infers, and operations of which some numba makes floats.

    Sums and comparisons of uint64 and signed integers are floats in older versions of numba, and
    int64 in newer ones.
    """
    typing, target = cpu_target.typing_context, cpu_target.target_context
    typing.refresh()
    target.refresh()
    code = compiler.run_frontend(function.py_func)
    inferred = typed_passes.type_inference_stage(typing, target, code, signature, None).typemap
    found = [f"{name}: {kind}" for name, kind in inferred.items() if is_float(kind)]
    for block in code.blocks.values():
        for assignment in block.find_insts(ir.Assign):
            value = assignment.value
            if isinstance(value, ir.Expr) and value.op in ("binop", "inplace_binop"):
                kinds = {integer(inferred[value.lhs.name]), integer(inferred[value.rhs.name])}
                if "uint64" in kinds and any(kind.startswith("int") for kind in kinds):
                    found.append(f"{value.loc}: {value.fn.__name__} of {sorted(kinds)}")
    return found


def is_float(kind: types.Type) -> bool:
    return any(word in str(kind) for word in ("float", "complex"))


def integer(kind: types.Type) -> str:
    return str(types.unliteral(kind))


def dispatchers() -> dict[str, Any]:
    return {
        f"{module.__name__}.{name}": value
        for module in MODULES
        for name, value in vars(module).items()
        if isinstance(value, CPUDispatcher)
    }


@pytest.mark.parametrize("alphabet", [2, 40, 5000])
def test_inferred_types(alphabet: int) -> None:
    """Of all functions that coding calls: numba makes a float of uint64 and int64 mixed, too."""
    tokens = np.random.default_rng(0).integers(0, alphabet, (30, 6, 10)).astype(np.uint16)
    payload = AdaptiveCoder(alphabet, (6, 10), tokens.size).encode(tokens)
    AdaptiveCoder(alphabet, (6, 10), tokens.size).decode(payload, len(tokens))
    done: set[tuple[str, Any]] = set()
    while True:
        # Inferring a function's types makes the signatures of those that it calls known.
        work = [
            (name, function, signature)
            for name, function in dispatchers().items()
            for signature in function.signatures
            if (name, signature) not in done
        ]
        if not work:
            break
        for name, function, signature in work:
            done.add((name, signature))
            assert not_whole(function, signature) == [], name
    names = {name.rpartition(".")[2] for name, _ in done}
    assert {"code_blocks", "frequencies_from_scores", "train", "log2_steps", "peek"} <= names
    if alphabet > 16:
        assert {"recount", "_k_means", "_vectors", "_centres"} <= names


def quotient(a, b):  # type: ignore[no-untyped-def]
    return np.int64(a / b)


def mixed(a, b):  # type: ignore[no-untyped-def]
    return np.int64(np.uint64(a) + b)


def mixed_with_a_literal(a, b):  # type: ignore[no-untyped-def]
    return np.int64(np.uint64(a) >> 3) + b


@pytest.mark.parametrize("function", [quotient, mixed, mixed_with_a_literal])
def test_floats_among_inferred_types_are_found(function: Any) -> None:
    compiled = njit(function)
    compiled(np.int64(7), np.int64(2))
    assert not_whole(compiled, compiled.signatures[0])


def test_the_tables_are_whole_numbers() -> None:
    for table in (weights.EXP2, logarithms.LOG2_STEPS, logs.LOG_CODES, logs.LOG_STEPS, logs.GAINS):
        assert table.dtype.kind in "iu"
        assert not table.flags.writeable


def test_every_array_of_the_state_is_of_whole_numbers() -> None:
    fresh = AdaptiveCoder(40, (6, 10), 600)._learner.state
    parts = [np.asarray(part) for group in fresh for part in group]
    assert len(parts) > 30
    assert all(part.dtype.kind in "iub" for part in parts)


def test_floating_point_flags_do_not_matter() -> None:
    """Division by zero and the like would be raised: nothing of the kind happens."""
    tokens = (np.arange(3000).reshape(50, 6, 10) % 37).astype(np.uint16)
    with np.errstate(all="raise"):
        blob = tokenzip.encode(tokens, predictor="adaptive")
        assert np.array_equal(tokenzip.decode(blob), tokens)
