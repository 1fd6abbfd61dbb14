"""Several threads at one chunk: the same bytes, whoever codes which symbol; teams and helpers."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from backends import make
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import calm_tokens, tiny_model
from numba import njit
from numpy.testing import assert_array_equal
from test_adaptive_coder import assert_same_state, drifting
from test_hybrid import LONG, case, long_case
from test_hybrid import assert_same_state as assert_same_hybrids

import tokenzip
from tokenzip.coding import helpers as helpers_module
from tokenzip.coding import team as teams
from tokenzip.coding.helpers import NOBODY, Helpers, Later
from tokenzip.coding.team import all_done, new_team, next_task, open_tasks, task_done
from tokenzip.errors import CorruptError
from tokenzip.predictors.adaptive import AdaptiveCoder, kernel, learner
from tokenzip.predictors.adaptive import state as states
from tokenzip.predictors.hybrid import HybridCoder
from tokenzip.predictors.network.network import Network

needs_compiler = pytest.mark.skipif(teams.ALONE, reason="without a compiler there are no helpers")


@pytest.fixture(autouse=True)
def helped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few symbols there are."""
    monkeypatch.setattr(learner, "_WORTH_HELP", 0)


# Teams


@njit(nogil=True)
def lead(team: Any, numbers: Any, times: int, mine: bool) -> None:
    """Open all numbers for being added to, so many times; not to be done alone unless `mine`."""
    for _ in range(times):
        open_tasks(team, numbers.size)
        task = next_task(team, 0) if mine else np.int64(-1)
        while task >= 0:
            numbers[task % numbers.size] += 1
            task_done(team)
            task = next_task(team, 0)
        all_done(team)


@njit(nogil=True)
def follow(team: Any, numbers: Any, me: int, mine: Any) -> None:
    while True:
        task = next_task(team, me)
        if task < 0:
            return
        numbers[task % numbers.size] += 1
        mine[me] += 1
        task_done(team)


@needs_compiler
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("leader_takes_part", [True, False])
def test_every_task_is_done_once(count: int, leader_takes_part: bool) -> None:
    numbers, mine = np.zeros(13, np.int64), np.zeros(1 + count, np.int64)
    crew, times = Helpers(count), 2000
    assert crew.count == count
    crew.run(
        lambda team: lead(team, numbers, times, leader_takes_part),
        lambda team, helper: follow(team, numbers, helper + 1, mine),
    )
    assert numbers.tolist() == [times] * 13
    assert mine[0] == 0 and (leader_takes_part or mine.sum() == 13 * times)


@needs_compiler
def test_a_late_helper_finds_nothing_to_do() -> None:
    numbers, mine = np.zeros(5, np.int64), np.zeros(2, np.int64)
    team = new_team()
    lead(team, numbers, 3, True)
    team[teams.CLOSED] = 1
    follow(team, numbers, 1, mine)
    assert numbers.tolist() == [3] * 5 and not mine.any()


def test_the_team_is_closed_whatever_happens() -> None:
    crew, seen = Helpers(1), []

    def fail(team: np.ndarray) -> None:
        seen.append(team)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crew.run(fail, lambda team, _: None)
    assert crew.count == 0 or seen[0][teams.CLOSED] == 1
    assert crew.run(lambda team: int(team.sum()), lambda team, _: None) == 0


def test_helpers_are_few_enough_for_a_team() -> None:
    assert Helpers(1000).count == (0 if teams.ALONE else teams.MOST_HELPERS)
    assert NOBODY.count == Helpers(0).count == 0
    of_last = teams.HELPED + teams.LINE * teams.MOST_HELPERS
    assert of_last < new_team().size


def test_work_for_later() -> None:
    """It is done once: by a helper, or by who asks for it, if none has begun."""
    done: list[str] = []

    def work() -> str:
        done.append(threading.current_thread().name)
        return "found"

    crew, go, busy = Helpers(1), threading.Event(), threading.Event()
    crew.offer(Later(lambda: busy.set() or go.wait()))  # type: ignore[func-returns-value]
    assert not crew.count or busy.wait(60)
    late = Later(work)
    crew.offer(late)
    assert late.result() == late.result() == "found"
    assert done == [threading.current_thread().name]
    go.set()
    given_up, asked_for = Later(work), Later(work)
    given_up.cancel()
    crew.offer(given_up)
    crew.offer(asked_for)
    assert asked_for.result() == "found" and len(done) == 2
    waiting = Later(go.wait)
    go.clear()
    crew.offer(waiting)
    threading.Timer(0.05, go.set).start()
    assert waiting.result() is True


def test_errors_of_work_for_later() -> None:
    def fail() -> None:
        raise MemoryError

    crew = Helpers(1)
    for later in (Later(fail), Later(fail)):
        crew.offer(later)
        for _ in range(2):
            with pytest.raises(MemoryError):
                later.result()


def test_where_there_can_be_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there can be, and all is done."""
    clip = drifting((20, 3, 4), 20)
    blob = tokenzip.encode(clip)
    start, started = threading.Thread.start, []

    def one_only(self: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", one_only)
    assert Helpers(3).count == (0 if teams.ALONE else 1)
    assert Helpers(3).count == 0
    assert tokenzip.encode(clip, threads=4) == blob
    assert_array_equal(tokenzip.decode(blob, threads=4), clip)


@needs_compiler
def test_helpers_go_when_nobody_needs_them() -> None:
    before = threading.active_count()
    clip = drifting((20, 3, 4), 20)
    model, long, _ = long_case("video")
    for _ in range(3):
        AdaptiveCoder(20, (3, 4), clip.size, 3).encode(clip)
        coder_for(model, "numba", long, 3).encode(long)
    gc.collect()
    end = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before


#: A thread that encodes with helpers when the process is about to end.
AT_THE_END = """
import threading, time
import numpy as np
import tokenzip

clip = np.arange(4000).reshape(50, 8, 10) % 7
wanted = tokenzip.encode(clip)

def work():
    time.sleep(0.5)
    print(tokenzip.encode(clip, threads=3) == wanted)

threading.Thread(target=work).start()
"""


def test_at_the_end_of_a_process() -> None:
    found = subprocess.run(
        [sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=300
    )
    assert (found.stdout.strip(), found.stderr) == ("True", "")


@needs_compiler
@pytest.mark.parametrize("moment", ["put", "lead"])
def test_an_interrupt_while_work_is_handed_over(moment: str) -> None:
    """No helper is left waiting for tasks."""
    crew, teams_seen, left = Helpers(2), [], threading.Semaphore(0)

    def work(team: np.ndarray, helper: int) -> None:
        follow(team, np.zeros(1, np.int64), helper + 1, np.zeros(3, np.int64))
        left.release()

    class Interrupted:
        def __init__(self, queue: Any) -> None:
            self.queue, self.times = queue, 0

        def put(self, task: Any) -> None:
            self.queue.put(task)
            self.times += 1
            if moment == "put" and self.times == 1:
                time.sleep(0.05)  # until the helper has begun
                raise KeyboardInterrupt

    def lead(team: np.ndarray) -> None:
        teams_seen.append(team)
        time.sleep(0.05)
        raise KeyboardInterrupt

    crew._tasks = Interrupted(crew._tasks)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        crew.run(lead, work)
    assert left.acquire(timeout=60)
    assert bool(teams_seen) == (moment == "lead")


# Coders

SHAPES = [(40, 8, 16), (9, 3, 4, 5), (500, 8), (90, 33), (2000,), (1, 20, 20), (1, 1), (3, 2, 200)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alphabet", [2, 17, 1024, 4097])
def test_adaptive(shape: tuple[int, ...], alphabet: int) -> None:
    tokens = drifting(shape, alphabet)
    size = 2 * tokens.size
    one = AdaptiveCoder(alphabet, shape[1:], size)
    payloads = [one.encode(tokens), one.encode(tokens)]
    for threads in (2, 3):
        many = AdaptiveCoder(alphabet, shape[1:], size, threads)
        assert [many.encode(tokens), many.encode(tokens)] == payloads
        assert_same_state(one, many)
        many.reset()
        assert_array_equal(many.decode(payloads[0], len(tokens)), tokens)


def coder_for(model: Any, name: str, clip: np.ndarray, threads: int, **more: Any) -> HybridCoder:
    ops = make(name)
    return HybridCoder(Network(model, ops), ops, clip.shape[1:], clip.size, threads=threads, **more)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", LONG)
def test_hybrid(name: str, version: int) -> None:
    """Pools grow while a helper counts, and classes are learned."""
    model, clip, payload = long_case(name, version=version)
    one = coder_for(model, "numba", clip, 1, version=version)
    one.observe(clip)
    for threads in (2, 3):
        ahead, behind = (
            coder_for(model, "numba", clip, threads, version=version) for _ in range(2)
        )
        assert ahead.encode(clip) == payload
        assert_array_equal(behind.decode(payload, len(clip)), clip)
        assert_same_hybrids(one, ahead)
        assert_same_hybrids(one, behind)


@pytest.mark.parametrize("family", ["lstm", "conv3d"])
@pytest.mark.parametrize("name", ["video", "square", "tall", "stack", "row", "binary"])
def test_hybrid_of_all_shapes(family: str, name: str) -> None:
    """Of 64 x 64 sites more stand in a step than there are lanes."""
    model, clips, payloads = case(family, name)
    for clip, payload in zip(clips, payloads, strict=True):
        coder = coder_for(model, "numba", clip, 2)
        assert coder.encode(clip) == payload
        coder.reset()
        assert_array_equal(coder.decode(payload, len(clip)), clip)


def test_several_lanes() -> None:
    """As many as a step has sites, and fewer."""
    model = tiny_model("lstm", (8, 16), 40)
    for frames in (17, 40, 130):
        clip = calm_tokens((frames, 8, 16), 40, 2, "uint16", 0.6)
        payload = coder_for(model, "numba", clip, 1).encode(clip)
        for threads in (2, 4):
            many = coder_for(model, "numba", clip, threads)
            assert_array_equal(many.decode(payload, frames), clip)


def test_torch_with_helpers_for_the_mixer() -> None:
    pytest.importorskip("torch")
    model, clip, payload = long_case("video")
    coder = coder_for(model, "torch-cpu", clip, 2)
    assert coder.encode(clip) == payload
    coder.reset()
    assert_array_equal(coder.decode(payload, len(clip)), clip)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_damaged_words(data: st.DataObject) -> None:
    """With helpers the same error as without, or the same tokens, and the coder is as good as
    new afterwards."""
    model, clip, payload = long_case("video")
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    found = []
    for threads in (1, 2):
        coder = coder_for(model, "numba", clip, threads)
        try:
            found.append(coder.decode(bytes(damaged), len(clip)).tobytes())
        except CorruptError as error:
            found.append(str(error))
        coder.reset()
        assert_array_equal(coder.decode(payload, len(clip)), clip)
    assert found[0] == found[1]


@needs_compiler
@pytest.mark.parametrize("order", [[1, 2, 3], [0, 3], [2], [0, 1, 2, 3, 3]])
def test_whoever_codes_a_symbol(order: list[int]) -> None:
    """Leader and helpers in turn, a task at a time: no table tells who coded what."""
    clip = drifting((30, 4, 6), 40)
    priors = np.random.default_rng(0).integers(0, 600, (clip.size, 40)).astype(np.int16)
    wanted = [np.zeros(clip.size, np.uint32) for _ in range(2)]
    alone = AdaptiveCoder(40, (4, 6), clip.size)._learner
    alone.begin(clip.reshape(-1, 24))
    alone.encode(*wanted, priors)
    alone.end()
    turns = AdaptiveCoder(40, (4, 6), clip.size, 4)._learner
    turns.begin(clip.reshape(-1, 24))
    found = [np.zeros(clip.size, np.uint32) for _ in range(2)]
    turns.code(clip.size, lambda at, _: in_turns(turns, order, at, priors, *found))
    turns.end()
    assert_array_equal(found, wanted)
    for one, other in zip(alone.state.mixed_experts, turns.state.mixed_experts, strict=True):
        assert_array_equal(one, other)
    assert not any(part.any() for part in turns.others)


def in_turns(
    own: learner.Learner, order: list[int], at: int, priors: np.ndarray, *found: np.ndarray
) -> int:
    """A block, its tasks taken by these threads one after another; the next symbol."""
    if not kernel.count_block(own.state, own.layout, own.block, own._symbols):
        return at
    job = own.job(kernel.ENCODE, priors=priors, cum=found[0], freq=found[1])
    team, end = job.team, min(int(kernel._block_end(own.layout, at)), own._symbols.size)
    for i in range(at, end):
        team[[kernel._FIRST, kernel._LAST, kernel._STRIDE]] = i, i + 1, 1
        team[[kernel._TASK, kernel._BLOCK, kernel._PRIORS]] = team[teams.OPEN], at, 0
        team[teams.OPEN] += 1
        me = order[i % len(order)]
        state, room = own.state, own.scratch
        if me > 0:
            state, room = states.state_of_helper(state, own.others, me - 1), own._room[me - 1]
            team[teams.CLOSED] = 1  # it need not wait for more
        kernel.code_symbols(state, own.layout, room, own.block, job, me)
        team[teams.CLOSED] = 0
        assert team[teams.DONE] == team[teams.OPEN]
    kernel.end_block(own.state, own.others, own.block, team, at, end)
    return end


# Blobs


def test_a_single_chunk_has_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks share them out."""
    made: list[int] = []

    class Counted(Helpers):
        def __init__(self, count: int) -> None:
            made.append(count)
            super().__init__(count)

    for module in ("tokenzip.predictors.adaptive.coder", "tokenzip.predictors.hybrid.coder"):
        monkeypatch.setattr(f"{module}.Helpers", Counted)
    model = tiny_model("lstm", (3, 4), 20)
    clip = calm_tokens((60, 3, 4), 20, 3)
    for options in ({"predictor": "adaptive"}, {"model": model}):
        for chunk_frames, threads, solid, wanted in (
            (None, 3, False, [2]),
            (30, 3, False, [0, 0]),
            (30, 4, False, [1, 1]),
            (30, 3, True, [2]),
            (None, None, False, [0]),
        ):
            made.clear()
            settings = {"chunk_frames": chunk_frames, "solid": solid, **options}
            blob = tokenzip.encode(clip, threads=threads, **settings)
            assert sorted(set(made)) == sorted(set(wanted)) and len(made) <= len(wanted)
            assert blob == tokenzip.encode(clip, **settings)
            made.clear()
            model_of = {"model": model} if "model" in options else {}
            assert_array_equal(tokenzip.decode(blob, threads=threads, **model_of), clip)
            assert sorted(set(made)) == sorted(set(wanted)) and len(made) <= len(wanted)


@needs_compiler
@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupted_coder_can_be_reset(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a helper counts then is over before there is a new state, or will never begin."""
    model, clip, payload = long_case("video")
    coder = coder_for(model, "numba", clip, 2)
    own, heads = coder._learner, coder._heads
    assert heads is not None
    count, soon, learn, make = own._count, own.count_soon, heads.learn, learner.new_state
    rounds, waiting = [0], []
    counting, go, counted = threading.Event(), threading.Event(), threading.Event()

    def count_soon() -> None:
        rounds[0] += 1
        soon()

    def slow() -> None:
        last = rounds[0] == 7 and threading.current_thread() is not threading.main_thread()
        if last:
            counting.set()
            assert go.wait(60)
        count()
        if last:
            counted.set()

    def interrupted(*arguments: Any) -> None:
        if rounds[0] == 7:
            assert counting.wait(60) or not begun
            raise KeyboardInterrupt
        learn(*arguments)

    def new_state(*arguments: Any) -> Any:
        assert counted.is_set() == begun
        return make(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(own, "count_soon", count_soon)
        patch.setattr(own, "_count", slow)
        patch.setattr(heads, "learn", interrupted)
        if not begun:
            counting.set()
            patch.setattr(coder._helpers, "offer", waiting.append)
        with pytest.raises(KeyboardInterrupt):
            coder.encode(clip)
        patch.setattr(learner, "new_state", new_state)
        threading.Timer(0.05, go.set).start()
        coder.reset()
        for late in waiting:
            late()
    assert rounds == [7] and begun == (not waiting)
    assert coder.encode(clip) == payload


@needs_compiler
def test_helpers_do_take_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each time, for nobody waits for them, but in the long run."""
    found: list[np.ndarray] = []

    def noted() -> np.ndarray:
        found.append(new_team())
        return found[-1]

    monkeypatch.setattr(helpers_module, "new_team", noted)
    tokens = drifting((100, 8, 16), 1024)
    clip = calm_tokens((130, 8, 16), 40, 2, "uint16", 0.6)
    many = AdaptiveCoder(1024, (8, 16), tokens.size, 2)
    hybrid = coder_for(tiny_model("lstm", (8, 16), 40), "numba", clip, 2)
    payload = hybrid.encode(clip)

    def encode() -> None:
        many.encode(tokens)

    def decode() -> None:
        hybrid.reset()
        hybrid.decode(payload, len(clip))

    for work in (encode, decode):
        for _ in range(100):
            found.clear()
            work()
            taken = sum(int(team[teams.TAKEN + teams.LINE]) for team in found)
            if taken:
                break
        assert taken
