"""Inputs of matrix products (gemm.py): rows of int8 numbers, written 16 or 8 at a time.

They are short and of any length. Of such rows the vectors of a loop that LLVM makes, which take up
to 128 numbers each, leave most to be done one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

_INT8, _INT64 = ir.IntType(8), ir.IntType(64)


def putting(offset: int) -> Callable[..., Any]:
    """A function put(row, first, values), for compiled ones: row[first + k] = values[k] + offset.

    values int8; row int8, uint8 (sums wrap) or int16, not of the same memory.
    """

    def put(row, first, values):  # type: ignore[no-untyped-def]
        for k in range(values.size):
            row[first + k] = np.int64(values[k]) + offset

    by_sixteen, by_eight = _by(16, offset), _by(8, offset)

    @overload(put)
    def chosen(row, first, values):  # type: ignore[no-untyped-def]
        def vectors(row, first, values):  # type: ignore[no-untyped-def]
            if values.size >= 16:
                by_sixteen(row, first, values)
            elif values.size >= 8:
                by_eight(row, first, values)
            else:
                for k in range(values.size):
                    row[first + k] = np.int64(values[k]) + offset

        side_by_side = row.layout == values.layout == "C"
        return vectors if side_by_side and values.dtype == types.int8 else put

    return put


def _by(lanes: int, offset: int) -> Callable[..., Any]:
    """An intrinsic for so many values or more."""

    @intrinsic
    def put(context, row, first, values):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            _write(lanes, offset, context, builder, signature, arguments)
            return context.get_dummy_value()

        return types.void(row, types.intp, values), generate

    made: Callable[..., Any] = put
    return made


def _write(
    lanes: int, offset: int, context: Any, builder: Any, signature: Any, arguments: Any
) -> None:
    """Code that writes vectors, the last of which ends with the last value."""
    from numba.np.arrayobj import make_array

    row, values = (make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2))
    bits = signature.args[0].dtype.bitwidth
    of_row = ir.VectorType(ir.IntType(bits), lanes)
    added = ir.Constant(of_row, [offset] * lanes)
    length = ir.Constant(_INT64, lanes)
    last = builder.sub(builder.extract_value(values.shape, 0), length)
    vectors = builder.udiv(builder.add(last, ir.Constant(_INT64, 2 * lanes - 1)), length)
    with cgutils.for_range(builder, vectors) as loop:
        at = builder.mul(loop.index, length)
        at = builder.select(builder.icmp_unsigned("<", at, last), at, last)
        source = builder.bitcast(
            builder.gep(values.data, [at]), ir.VectorType(_INT8, lanes).as_pointer()
        )
        vector = builder.load(source, align=1)
        if bits > _INT8.width:
            vector = builder.sext(vector, of_row)
        target = builder.gep(row.data, [builder.add(arguments[1], at)])
        target = builder.bitcast(target, of_row.as_pointer())
        builder.store(builder.add(vector, added), target, align=1)
