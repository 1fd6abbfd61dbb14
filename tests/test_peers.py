"""benchmarks/peers: the designs see what a decoder sees, and their coding is lossless."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

DESIGNS = {
    "window_lstm": "WindowLstm",
    "frame_parallel": "FrameParallel",
    "frame_autoregressive": "FrameAutoregressive",
}


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    before = set(sys.modules)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("peers", "adaptive_goals"):
            del sys.modules[name]


def _clips(frames: int, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 1024, (frames, 8, 16)).astype(np.uint16) for _ in range(count)]


def _peer(part: Any, module: str) -> Any:
    torch.manual_seed(0)
    return getattr(part(f"peers.{module}"), DESIGNS[module])().eval()


@pytest.mark.parametrize("module", DESIGNS)
def test_round_trip_at_its_own_batch_size(part: Any, module: str) -> None:
    coding, peer = part("peers.coding"), _peer(part, module)
    frames = 2 if module != "frame_parallel" else 10
    grids = np.stack([clip.reshape(frames, 128) for clip in _clips(frames)]).astype(np.int32)
    words = coding.encode(peer, grids)
    assert np.array_equal(coding.decode(peer, words, frames), grids)


@pytest.mark.parametrize("module", DESIGNS)
def test_it_looks_at_nothing_that_the_decoder_lacks(part: Any, module: str) -> None:
    """What a step predicts does not change with tokens at or after it, but with those before."""
    peer = _peer(part, module)
    frames = torch.from_numpy(_clips(10, 1)[0].reshape(1, 10, 128).astype(np.int64))
    sites = peer.steps[len(peer.steps) // 2]

    def predicted(past: Any, frame: Any) -> Any:
        with torch.inference_mode():
            peer.begin(past)
            return [peer.step(frame, sites) for sites in peer.steps][len(peer.steps) // 2]

    past, frame = frames[:, :9], frames[:, 9].clone()
    first = predicted(past, frame)
    frame[:, sites.start :] = 5
    assert torch.equal(predicted(past, frame), first)
    earlier = past.clone()
    earlier[:, -1] = 7
    assert not torch.equal(predicted(earlier, frame), first)


def test_training_lowers_the_cost_of_what_it_sees(part: Any) -> None:
    peer = _peer(part, "frame_autoregressive")
    clips = [np.full((8, 8, 16), 3, np.uint16)]
    said: list[str] = []
    learned = part("peers.training").train(peer, clips, 4.0, said.append)
    assert learned % (peer.batch * peer.predicted) == 0 and learned > 0
    costs = [float(line.split()[-2]) for line in said]
    assert costs[-1] < costs[0]


def test_a_program_is_run_and_must_be_lossless(part: Any, tmp_path: Path) -> None:
    programs, measure = part("peers.programs"), part("peers.measure")
    tool = tmp_path / "tool"
    tool.write_text('#!/bin/sh\n[ "$1" = -c ] || [ "$1" = -d ] || exit 3\ncp "$2" "$3"\n')
    tool.chmod(0o755)
    clips = _clips(2)
    row = measure.measure_program(programs.Program("copy", str(tool)), clips)
    assert row.result.compressed_bytes == 2 * sum(clip.size for clip in clips)
    tool.write_text('#!/bin/sh\nhead -c 4096 /dev/zero > "$3"\n')
    with pytest.raises((RuntimeError, ValueError)):
        measure.measure_program(programs.Program("zeros", str(tool)), clips)
    tool.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(RuntimeError, match="failed"):
        measure.measure_program(programs.Program("broken", str(tool)), clips)


def test_table(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(monkeypatch)
    measure = part("peers.measure")
    clips = _clips(3)
    rows = [
        measure.measure_ours("tokenzip stored", "stored", clips, None, ""),
        measure.measure_network("frames", _peer(part, "frame_parallel"), clips, "0 min"),
    ]
    text = script.markdown(rows)
    assert "| tokenzip stored | 10." in text and "| frames | " in text
    assert "2 clips of drive/val.h5, 3 frames each, 768 tokens" in text
    assert rows[1].portable == "yes" or rows[1].portable.startswith("no: ")


def _script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/peers.py, beside the package of that name."""
    from importlib.util import module_from_spec, spec_from_file_location

    path = Path(__file__).parents[1] / "benchmarks" / "peers.py"
    spec = spec_from_file_location("peers_script", path)
    assert spec is not None and spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    return script
