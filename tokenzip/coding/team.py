"""Threads that share the symbols of one chunk: who takes which, and when all are done.

One thread leads. It opens a number of tasks, takes part in them, and goes on when all are done;
helpers take tasks as long as the leader has not closed the team. Nobody waits for a helper that has
not taken a task, so one that is late, or never comes, costs nothing. All state is in an int64
array; tasks are numbered from 0 on, through all openings.

A thread that sees a task open sees all that the leader wrote before it was opened, and the leader,
when all are done, all that was written for them (acquire and release of the C11 memory model).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import config
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compiled import inner

#: Entries of a team's array are so far from each other that each has a cache line of its own.
LINE = 16
#: The next task to take, how many are open, how many are done, and whether there will be none.
NEXT, OPEN, DONE, CLOSED = 0, LINE, 2 * LINE, 3 * LINE
#: Whether a task went wrong.
FAILED = 4 * LINE
#: What the leader tells helpers with every opening.
TOLD = 5 * LINE
#: Whether each helper has taken a task since it was last asked, and how many it has taken.
HELPED, TAKEN = 6 * LINE, 6 * LINE + 1

# Waits, of some 50 ns each, after which the core is better left to others: there may be fewer cores
# than threads, and the one that is waited for be without.
_PATIENCE = 500

#: Helpers of a team at most: more cost the leader more time than they save.
MOST_HELPERS = 7


def new_team() -> npt.NDArray[np.int64]:
    """The array of a team, with nothing open; it has room for MOST_HELPERS besides the leader."""
    return np.zeros(HELPED + LINE * (1 + MOST_HELPERS), np.int64)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@intrinsic
def _load(typing: Any, team: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(team, types.int64), generate


@intrinsic
def _store(typing: Any, team: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(team, types.int64, types.int64), generate


@intrinsic
def _add(typing: Any, team: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        return builder.atomic_rmw("add", pointer, arguments[2], "acq_rel")

    return types.int64(team, types.int64, types.int64), generate


@intrinsic
def _swap(typing: Any, team: Any, index: Any, old: Any, new: Any) -> Any:
    """Whether `old` was there, and is now `new`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        done = builder.cmpxchg(pointer, arguments[2], arguments[3], "acq_rel", "acquire")
        return builder.extract_value(done, 1)

    return types.boolean(team, types.int64, types.int64, types.int64), generate


@intrinsic
def _pause(typing: Any) -> Any:
    """Let the core's other thread run for some cycles, where the processor can be told so."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _yield(typing: Any) -> Any:
    """Let another thread have this core, where the system can be asked for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            function = cgutils.get_or_insert_function(builder.module, kind, "sched_yield")
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


def _plain_load(team: Any, index: Any) -> Any:
    return team[index]


def _plain_store(team: Any, index: Any, value: Any) -> None:
    team[index] = value


def _plain_add(team: Any, index: Any, value: Any) -> None:
    team[index] += value


def _plain_swap(team: Any, index: Any, old: Any, new: Any) -> bool:
    team[index] = new
    return True


# Without a compiler (NUMBA_DISABLE_JIT) a team is its leader alone.
ALONE = bool(config.DISABLE_JIT)
load: Callable[..., Any] = _plain_load if ALONE else _load
store: Callable[..., Any] = _plain_store if ALONE else _store
add: Callable[..., Any] = _plain_add if ALONE else _add
swap: Callable[..., Any] = _plain_swap if ALONE else _swap
pause: Callable[..., Any] = (lambda: None) if ALONE else _pause
give_way: Callable[..., Any] = (lambda: None) if ALONE else _yield


@inner
def _wait(times):  # type: ignore[no-untyped-def]
    """Wait a moment, for the `times`-th time in a row."""
    if times < _PATIENCE:
        pause()
    else:
        give_way()


@inner
def open_tasks(team, count):  # type: ignore[no-untyped-def]
    """The leader opens so many more; what helpers need to know for them is written before."""
    store(team, OPEN, load(team, OPEN) + count)


@inner
def next_task(team, me):  # type: ignore[no-untyped-def]
    """The number of an open task, which thread `me` takes; -1: none for the leader (0), who is to
    wait for those of the others, or for a helper none any more."""
    times = 0
    while True:
        task = load(team, NEXT)
        if task < load(team, OPEN):
            if swap(team, NEXT, task, task + 1):
                if me > 0:
                    store(team, HELPED + LINE * me, 1)
                    team[TAKEN + LINE * me] += 1
                return task
        elif me == 0 or load(team, CLOSED) != 0:
            return np.int64(-1)
        else:
            _wait(times)
            times += 1


@inner
def task_done(team):  # type: ignore[no-untyped-def]
    """Say that a task that was taken is done."""
    add(team, DONE, 1)


@inner
def all_done(team):  # type: ignore[no-untyped-def]
    """Wait for tasks that others took; whether none has failed."""
    times = 0
    while load(team, DONE) < load(team, OPEN):
        _wait(times)
        times += 1
    return load(team, FAILED) == 0
