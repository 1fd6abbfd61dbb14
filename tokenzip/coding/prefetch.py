"""A hint to the processor that memory will soon be read; it changes no result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config
from numba.core import types
from numba.extending import intrinsic


@intrinsic
def _compiled(typing: Any, array: Any, index: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", (pointer.type,), kind)
        read, keep, data_cache = number(0), number(3), number(1)
        builder.call(hint, [pointer, read, keep, data_cache])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _interpreted(array: Any, index: Any) -> None:
    """Nothing, without a compiler, for NUMBA_DISABLE_JIT."""


#: prefetch(array, index): fetch the cache line of element `index` of a C-contiguous array, counted
#: flat.
prefetch: Callable[..., None] = _interpreted if config.DISABLE_JIT else _compiled
