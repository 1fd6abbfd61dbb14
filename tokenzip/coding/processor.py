"""What the processor can do that numba compiles for, which need not be the processor at hand.

It follows from nothing but what numba's cache distinguishes machine code by.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import binding, ir
from numba.core.registry import cpu_target

#: 512 bits of int32.
LANES = 16
VECTOR = ir.VectorType(ir.IntType(32), LANES)
#: The type of an LLVM function that makes a vector of three.
OF_THREE = ir.FunctionType(VECTOR, [VECTOR] * 3)


def splat(builder: Any, value: Any, vector: Any) -> Any:
    """LLVM's code for a vector of one value."""
    undefined, zero = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(undefined, value, zero)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, undefined, zeros)


def has(features: set[str]) -> bool:
    """Whether there is a compiler, and the processor has these features."""
    if numba.config.DISABLE_JIT:
        return False
    return features <= set(cpu_target.target_context.codegen().magic_tuple()[2].split(","))


def can(features: set[str], intrinsic: str) -> bool:
    """Whether it has them, and LLVM knows an intrinsic OF_THREE by name."""
    if not has(features):
        return False
    # To those that it knows, and no others, LLVM gives attributes by itself.
    module = binding.parse_assembly(f"declare {VECTOR} @{intrinsic}({VECTOR}, {VECTOR}, {VECTOR})")
    return any(module.get_function(intrinsic).attributes)
