"""Powers of two of scores: looked up in registers or one by one, the same entries of EXP2."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tokenzip.coding.processor import can

#: What numba may be told of the processor.
SETTINGS = {
    "as found": {},
    "any processor": {"NUMBA_CPU_NAME": "generic"},
    "no AVX": {"NUMBA_ENABLE_AVX": "0"},
    "no compiler": {"NUMBA_DISABLE_JIT": "1"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_weights_of_every_distance(name):
    """In processes of their own, for numba compiles for one processor in each."""
    code = """
        import numpy as np
        from numba import njit
        from tokenzip.coding import weights
        call = njit(lambda *arguments: weights.weigh(*arguments))
        distances = [*range(1700), 5000, 2**20, 2**31, 2**32 - 1]
        for kind in (np.int32, np.uint32, np.int16, np.uint16, np.int8, np.uint8):
            of_kind = np.iinfo(kind)
            scores = [of_kind.max - d for d in distances if of_kind.max - d >= of_kind.min]
            expected = weights.EXP2[np.minimum(distances[: len(scores)], 1601)]
            for size in (len(scores), 0, 1, 15, 16, 17, 33):
                found = np.empty(size, np.int32)
                total = call(np.array(scores[:size], kind), kind(of_kind.max), found)
                assert (found == expected[:size]).all(), (kind, size)
                assert total == expected[:size].sum()
            apart = np.empty((len(scores), 2), np.int32)
            call(np.array(scores, kind), kind(of_kind.max), apart[:, 0])
            assert (apart[:, 0] == expected).all()
        print(weights._IN_REGISTERS)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **SETTINGS[name]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if name != "as found":
        assert done.stdout.strip() == "False"


def test_registers_are_used_where_they_can_be():
    from numba.core.registry import cpu_target

    from tokenzip.coding import weights

    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    assert ("+avx512f" in features) == weights._IN_REGISTERS
    assert not can(set(), "llvm.x86.avx512.nothing.512")
    assert not can({"+nothing"}, weights._VPERMI2D)
