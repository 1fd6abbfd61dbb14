"""Training: what comes out, going on after a kill, ending well, and what users do to it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_process import ENVIRONMENT
from training_data import TINY, made, settings, write_clips

import tokenzip
from tokenzip import errors

torch = pytest.importorskip("torch")

from tokenzip.files import atomic  # noqa: E402
from tokenzip.integer.numba_backend import Operations  # noqa: E402
from tokenzip.models import Geometry, Model, new_spec  # noqa: E402
from tokenzip.predictors.network.batch import decode_batch, encode_batch  # noqa: E402
from tokenzip.predictors.network.network import Network  # noqa: E402
from tokenzip.training import checkpoint  # noqa: E402
from tokenzip.training.clips import open_clips  # noqa: E402
from tokenzip.training.evaluate import evaluate_clips  # noqa: E402
from tokenzip.training.export import export  # noqa: E402
from tokenzip.training.interrupt import TrainingInterrupted  # noqa: E402
from tokenzip.training.loop import Loop, Progress  # noqa: E402
from tokenzip.training.options import Options  # noqa: E402
from tokenzip.training.train import run  # noqa: E402
from tokenzip.training.twin import Twin  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def codes(model: Model, clips: list[np.ndarray]) -> None:
    """The model's integers give every clip back."""
    ops = Operations(1)
    network = Network(model, ops)
    payloads = encode_batch(network, ops, clips)
    frames = [len(clip) for clip in clips]
    for clip, found in zip(clips, decode_batch(network, ops, payloads, frames), strict=True):
        assert np.array_equal(found.reshape(clip.shape), clip)


# What comes out


@pytest.mark.parametrize("predictor", ["lstm", "conv3d"])
def test_the_loss_falls_and_the_integers_cost_what_the_twin_does(predictor: str) -> None:
    chosen = settings(predictor, steps=80, batch=512, lr=2e-2, validate_steps=40)
    model = tokenzip.train(made(2000), val=made(3000, seed=1), **chosen)
    history = [bits for *_, bits in model.summary["history"]]
    assert history[-1] < 1.3 and history[-1] <= history[0]  # of 3 bits; their entropy is 1.16
    found = model.summary["validation"]
    assert found["measured_tokens"] == 18_000
    assert found["bits_per_token"] == pytest.approx(found["twin_bits_per_token"], rel=0.01)
    measured = tokenzip.evaluate(model, made(3000, seed=1))
    assert measured.bits_per_token == pytest.approx(found["bits_per_token"], abs=1e-3)


def test_a_head_that_sees_nothing_of_its_frame() -> None:
    """Neither neighbours nor candidates nor equalities: twin and integers agree, and it decodes."""
    spec = new_spec("lstm", "small", Geometry.of((3, 4), 6), **TINY)
    blind = replace(spec.features, neighbours=(), candidates=(), past=(), now=())
    twin = Twin(replace(spec, features=blind))
    clip = np.random.default_rng(0).integers(0, 6, (20, 3, 4)).astype(np.uint16)
    symbols = torch.full((1, 24, 3, 4, 1), 6)
    symbols[0, 4:, ..., 0] = torch.from_numpy(clip.astype(np.int64))
    bits = float(twin(symbols)[0].detach().sum())
    ops = Operations()
    network = Network(export(twin), ops)
    payloads = encode_batch(network, ops, [clip])
    assert abs(8 * len(payloads[0]) - bits) < 0.01 * bits + 64
    assert np.array_equal(decode_batch(network, ops, payloads, [20])[0].reshape(clip.shape), clip)


def test_bfloat16_learns_too() -> None:
    chosen = settings(steps=80, batch=512, lr=2e-2, validate_steps=80, dtype="bfloat16")
    model = tokenzip.train(made(2000), val=made(3000, seed=1), **chosen)
    found = model.summary["validation"]
    assert found["bits_per_token"] < 1.3
    assert found["bits_per_token"] == pytest.approx(found["twin_bits_per_token"], rel=0.01)


def test_the_summary_tells_the_story(tmp_path: Path) -> None:
    paths = write_clips(tmp_path)
    model = tokenzip.train(paths, output=tmp_path / "m.safetensors", **settings(seed=5))
    loaded = tokenzip.Model.load(tmp_path / "m.safetensors")
    assert loaded.identity == model.identity and loaded.summary == model.summary
    story = loaded.summary
    assert story["data"]["clips"] == 2 and story["validation"]["clips"] == 1
    assert story["data"]["tokens"] + story["validation"]["tokens"] == 6 * 190
    assert story["steps"] == 12 and story["seed"] == 5 and story["stopped"] == "budget"
    assert story["tokens_seen"] == 12 * 192 and story["seconds"] > 0
    assert story["versions"]["torch"] == torch.__version__ and story["machine"]["cpu"]
    assert loaded.spec.geometry.alphabet == 8
    assert len(story["data"]["sha256"]) == 64 and story["tokenzip"] == tokenzip.__version__


def test_a_seed_decides_all() -> None:
    identities = [
        tokenzip.train([made(90), made(50, seed=1)], **settings(seed=seed, dropout=0.1)).identity
        for seed in (0, 0, 1)
    ]
    assert identities[0] == identities[1] != identities[2]


def test_dropout_is_for_training_only() -> None:
    spec = new_spec("lstm", "small", Geometry.of((2, 3), 8), **TINY)
    torch.manual_seed(0)
    twin = Twin(spec, dropout=0.5, token_dropout=0.5)
    symbols = torch.randint(0, 8, (2, 12, 2, 3, 1))
    a, b = (twin(symbols)[0] for _ in range(2))
    assert not torch.equal(a, b)
    twin.eval()
    torch.manual_seed(0)
    plain = Twin(spec)
    assert torch.equal(twin(symbols)[0], plain(symbols)[0])


def test_small_data_ends_early_with_the_best_weights() -> None:
    """Noise can only be learnt by heart: validation gets worse, and the best is kept."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 8, (30, 2, 3))
    chosen = settings(steps=600, lr=2e-2, patience=3, validate_steps=10)
    model = tokenzip.train(noise, val=rng.integers(0, 8, (400, 2, 3)), **chosen)
    story = model.summary
    assert story["stopped"] == "patience" and story["steps"] < 600
    best = min(bits for *_, bits in story["history"])
    assert story["history"][-1][3] > best
    assert story["validation"]["twin_bits_per_token"] == pytest.approx(best, abs=0.01)


# Going on after the worst

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from training_data import made, settings
from tokenzip.training.options import Options
from tokenzip.training.train import run
def report(progress):
    if progress.step == 7 and not progress.validated:
        os.kill(os.getpid(), signal.SIGKILL)
run([made(90), made(50, seed=1), made(30, seed=2)], Options(**settings({predictor!r}, **{more!r})),
    checkpoint={checkpoint!r}, report=report)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("predictor", "optimizer"), [("lstm", "muon"), ("conv3d", "muon"), ("lstm", "adamw")]
)
def test_a_killed_run_goes_on_to_the_same_model(
    tmp_path: Path, predictor: str, optimizer: str
) -> None:
    more = {"dropout": 0.1, "token_dropout": 0.1, "validate_steps": 4, "checkpoint_seconds": 0.0}
    more["optimizer"] = optimizer
    path = tmp_path / "run.checkpoint"
    code = KILLED.format(
        tests=str(Path(__file__).parent), predictor=predictor, more=more, checkpoint=str(path)
    )
    killed = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint.read(path)["step"] == 6
    data = [made(90), made(50, seed=1), made(30, seed=2)]
    chosen = settings(predictor, **more)
    resumed = tokenzip.train(data, checkpoint=path, resume=True, **chosen)
    whole = tokenzip.train(data, **chosen)
    assert resumed.identity == whole.identity
    for story in (resumed.summary, whole.summary):
        assert [step for step, *_ in story["history"]] == [4, 8, 12]
    assert [h[1::2] for h in resumed.summary["history"]] == [
        h[1::2] for h in whole.summary["history"]
    ]


def test_resume_without_a_checkpoint_begins(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    tokenzip.train(made(90), checkpoint=path, resume=True, **settings())
    assert checkpoint.read(path)["step"] == 12


def test_a_longer_budget_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    tokenzip.train(made(90), checkpoint=path, **settings())
    model = tokenzip.train(made(90), checkpoint=path, resume=True, **settings(steps=20))
    assert model.summary["steps"] == 20


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    tokenzip.train(made(90), checkpoint=path, **settings())
    with pytest.raises(errors.FileExistsRefusedError, match="--resume"):
        tokenzip.train(made(90), checkpoint=path, **settings())
    with pytest.raises(errors.CheckpointError, match=r"lr \(None, now 0.5\)"):
        tokenzip.train(made(90), checkpoint=path, resume=True, **settings(lr=0.5))
    with pytest.raises(errors.CheckpointError, match="training data"):
        tokenzip.train(made(90, seed=1), checkpoint=path, resume=True, **settings())
    content = checkpoint.read(path)
    torch.save({**content, "version": 2}, path)
    with pytest.raises(errors.CheckpointError, match="version 2"):
        tokenzip.train(made(90), checkpoint=path, resume=True, **settings())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.CheckpointError, match="not a readable checkpoint"):
        tokenzip.train(made(90), checkpoint=path, resume=True, **settings())
    torch.save(SimpleNamespace(format=checkpoint.FORMAT), path)  # a pickled class is not loaded
    with pytest.raises(errors.CheckpointError, match="not a readable checkpoint"):
        checkpoint.read(path)


def test_a_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.checkpoint"
    written: list[bytes] = []

    def fsync(descriptor: int) -> None:
        if len(written) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path.read_bytes() if path.exists() else b"")

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    monkeypatch.setattr(atomic, "_sync_directory", lambda path: None)
    chosen = settings(checkpoint_seconds=0.0)
    with pytest.raises(errors.FileError, match="cannot be written: No space left on device"):
        tokenzip.train(made(90), checkpoint=path, **chosen)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["run.checkpoint"]
    assert checkpoint.read(path)["step"] == 4
    resumed = tokenzip.train(made(90), checkpoint=path, resume=True, **chosen)
    assert resumed.identity == tokenzip.train(made(90), **chosen).identity


# Ending early


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_well(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def report(progress: Progress) -> None:
        if progress.step == 5 and not progress.validated:
            os.kill(os.getpid(), number)

    output, path = tmp_path / "m.safetensors", tmp_path / "run.checkpoint"
    chosen = settings(validate_steps=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step 5.*--resume") as caught:
        run(made(90), Options(**chosen), output=output, checkpoint=path, report=report)
    assert isinstance(caught.value, TrainingInterrupted) and caught.value.number == number
    assert signal.getsignal(number) is before
    stopped = Model.load(output)
    assert stopped.summary["stopped"] == "request" and stopped.summary["steps"] == 5
    codes(stopped, [made(9, seed=3)])
    resumed = tokenzip.train(made(90), output=output, checkpoint=path, resume=True, **chosen)
    assert resumed.identity == tokenzip.train(made(90), **chosen).identity


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"

    def report(progress: Progress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(made(90), Options(**settings()), checkpoint=path, report=report)
    assert not isinstance(caught.value, TrainingInterrupted) and not path.exists()


def test_a_loss_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Twin.forward

    def broken(self: Twin, *arguments: Any) -> Any:
        bits, state = forward(self, *arguments)
        return bits * float("nan"), state

    monkeypatch.setattr(Twin, "forward", broken)
    with pytest.raises(errors.DivergedError, match=r"nan at step 1: try a lower .* 0\.002 \(--lr"):
        tokenzip.train(made(90), **settings())


def test_too_little_memory_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Twin, *arguments: Any) -> Any:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't "
            "allocate memory: you tried to allocate 9 bytes."
        )

    monkeypatch.setattr(Twin, "forward", broken)
    with pytest.raises(errors.TrainingMemoryError, match=r"192 symbols: .*--batch 96") as caught:
        tokenzip.train(made(90), **settings())
    assert isinstance(caught.value, MemoryError)


# Several processes

TOGETHER = """
import sys
sys.path.insert(0, {tests!r})
from training_data import made, settings
import tokenzip
more = {more!r}
model = tokenzip.train([made(90 + n, seed=n) for n in range(9)], output={output!r},
    checkpoint={checkpoint!r}, val_fraction=0.4, **settings(dropout=0.1, **more))
print("RESULT", model.identity.hex(), model.summary["tokens_seen"], model.summary["history"][-1][3],
    "bits_per_token" in model.summary.get("validation", {{}}), flush=True)
"""


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """Over gloo, as torchrun starts them; both end with the same weights."""
    script = tmp_path / "together.py"
    output, path = tmp_path / "m.safetensors", tmp_path / "run.checkpoint"
    text = TOGETHER.format(
        tests=str(Path(__file__).parent), output=str(output), checkpoint=str(path), more={}
    )
    script.write_text(text)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*launch, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert len(results) == 2 and results[0][:3] == results[1][:3]
    assert {result[3] for result in results} == {"True", "False"}  # rank 0 measures
    assert int(results[0][1]) == 2 * 12 * 192
    model = Model.load(output)
    assert model.identity.hex() == results[0][0]
    assert model.summary["machine"]["processes"] == 2
    assert len(checkpoint.read(path)["ranks"]) == 2
    with pytest.raises(errors.CheckpointError, match=r"processes \(2, now 1\)"):
        data = [made(90 + n, seed=n) for n in range(9)]
        chosen = settings(dropout=0.1)
        tokenzip.train(data, checkpoint=path, resume=True, val_fraction=0.4, **chosen)


# What users do


@pytest.mark.parametrize(
    ("lengths", "frame", "alphabet"),
    [
        ((30, 30, 30), (2, 3), 8),
        ((40,), (2, 3), 8),
        ((3, 200, 17), (2, 3), 8),
        ((1,), (2, 3), 8),
        ((1, 1, 1, 1), (2, 3), 8),
        ((60, 5), (), 4),
        ((60, 5), (1, 1), 2),
        ((30, 9), (4,), 8),
        ((30, 9), (40,), 8),
        ((6, 9), (2, 2, 3), 8),
        ((20, 9), (2, 2), 5000),
    ],
    ids=str,
)
@pytest.mark.parametrize("predictor", ["lstm", "conv3d"])
def test_any_clips_will_do(
    predictor: str, lengths: tuple[int, ...], frame: tuple[int, ...], alphabet: int
) -> None:
    clips = [made(length, frame, alphabet, seed) for seed, length in enumerate(lengths)]
    model = tokenzip.train(clips, alphabet=alphabet, **settings(predictor, steps=2))
    assert model.spec.geometry == Geometry.of(frame, alphabet)
    codes(model, clips)


@pytest.mark.parametrize("predictor", ["lstm", "conv3d"])
def test_a_dead_half_of_the_alphabet_can_still_be_coded(predictor: str) -> None:
    # By Muon it learns to copy so well that the dead half is not stored.
    chosen = settings(predictor, steps=60, lr=1e-2, optimizer="adamw")
    model = tokenzip.train(made(200), alphabet=16, **chosen)
    codes(model, [made(20) + 8, made(20)])
    alive, dead = (tokenzip.evaluate(model, made(200) + n).bits_per_token for n in (0, 8))
    assert alive < 3 < dead == 4  # stored, as that is smaller


def test_a_model_for_other_tokens_is_refused(tmp_path: Path) -> None:
    model = tokenzip.train(made(60), **settings(steps=2))
    np.save(tmp_path / "a.npy", made(9, alphabet=9) | 8)
    with pytest.raises(errors.ModelMismatchError, match=r"a\.npy: the model .* knows 8 symbols"):
        tokenzip.evaluate(model, tmp_path / "a.npy")
    with pytest.raises(errors.ModelMismatchError, match=r"is for frames of 2 x 3 sites, not \(3"):
        tokenzip.evaluate(model, made(9, (3, 2)))
    with pytest.raises(errors.TokenRangeError, match=r"a\.npy: token \d+ at"):
        tokenzip.train([made(9), tmp_path / "a.npy"], alphabet=8, **settings())
    with pytest.raises(errors.ShapeError, match=r"frames of shape \(3, 2\), but those of array 0"):
        tokenzip.train(made(9), val=made(9, (3, 2)), **settings())


def test_a_newer_model_is_refused(tmp_path: Path) -> None:
    model = tokenzip.train(made(60), **settings(steps=2))
    data = model.to_bytes().replace(b'"version":"1"', b'"version":"2"')
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(errors.UnsupportedModelError, match=r"m\.safetensors: .* version '2'.*upg"):
        tokenzip.evaluate(tmp_path / "m.safetensors", made(9))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"predictor": "gru"}, "lstm, conv3d"),
        ({"preset": "huge"}, "small, base, large"),
        ({"minutes": 1.0}, "minutes or steps"),
        ({"steps": 0}, "steps must be above 0"),
        ({"lr": float("nan")}, "lr must be a finite"),
        ({"dropout": 1.0}, "dropout must be from 0"),
        ({"sizes": {"depth": 3}}, "no size depth"),
        ({"sizes": {"squeeze": 3}}, "no size squeeze"),
        ({"sizes": {"state": 0}}, "state must be above 0"),
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"device": "tpu"}, "tpu"),
        ({"device": "meta"}, "cpu or cuda"),
        ({"dtype": "float16"}, "bfloat16"),
        ({"optimizer": "sgd"}, "muon, adamw"),
        ({"resume": True}, "needs a checkpoint"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.OptionError, match=message):
        tokenzip.train(made(20), **{**settings(), **wrong})


def test_tensorboard_is_needed_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(errors.MissingDependencyError, match=r"tokenzip\[train\]"):
        tokenzip.train(made(60), log_dir=tmp_path, **settings())
    logged: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, directory: str) -> None:
            assert directory == str(tmp_path)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            logged.append((name, value, step))

        def close(self) -> None:
            logged.append(("closed", 0.0, 0))

    module = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    tokenzip.train(made(60), log_dir=tmp_path, **settings())
    names = {name for name, _, _ in logged}
    assert {"training/bits_per_token", "validation/bits_per_token", "closed"} <= names


def test_validation_clips_that_are_trained_on_are_mentioned() -> None:
    notes: list[str] = []
    run(made(60), Options(**settings(steps=1)), val=[made(60), made(50)], note=notes.append)
    assert any("1 of 2 validation clips are in the training data" in note for note in notes)


def test_validation_of_much_data_takes_a_part() -> None:
    from tokenzip.training.validation import sample

    clips = open_clips([np.zeros((3000, 2, 3), int) for _ in range(40)])
    part = sample(clips.clips, 100_000)
    assert 60_000 <= sum(clip.tokens for clip in part) <= 100_000 and len(part) > 4
    assert sample(clips.clips, 10**9) == list(clips.clips)


def test_evaluation_counts_what_is_written(tmp_path: Path) -> None:
    clips = [made(40), made(100, seed=1), made(1, seed=2)]
    model = tokenzip.train(clips, **settings(steps=5))
    found = tokenzip.evaluate(model, clips, chunk_frames=16)
    ops = Operations(1)
    network = Network(model, ops)
    for clip, cost in zip(clips, found.clips, strict=True):
        starts = range(0, max(1, len(clip) - 7), 16)  # a tail of 8 frames is a chunk of its own
        cuts = [*starts, len(clip)]
        chunks = [clip[a:b] for a, b in pairwise(cuts)]
        stored = [(3 * chunk.size + 7) // 8 for chunk in chunks]
        coded = [len(payload) for payload in encode_batch(network, ops, chunks)]
        assert cost.bytes == sum(map(min, coded, stored))
    assert found.tokens == 6 * 141 and found.token_bits == 3
    assert found.bits_per_token == 8 * found.bytes / found.tokens
    size = found.embedded_bytes
    assert found.model_bytes == len(model.to_bytes()) > size > 1000
    assert found.ratio_with_model == pytest.approx(3 * found.tokens / 8 / (found.bytes + size))
    assert found.groups == {}
    fields = found.to_dict()
    assert [clip["tokens"] for clip in fields["clips"]] == [240, 600, 6]


def test_evaluation_of_the_hybrid_counts_its_payloads() -> None:
    clips = [made(300), made(40, seed=1)]
    model = tokenzip.train(clips, **settings(steps=5))
    found = tokenzip.evaluate(model, clips, predictor="hybrid", threads=2)
    infos = [tokenzip.inspect(tokenzip.encode(clip, model=model, alphabet=8)) for clip in clips]
    assert [cost.bytes for cost in found.clips] == [info.payload_bytes for info in infos]
    assert found.predictor == found.to_dict()["predictor"] == "hybrid"
    assert tokenzip.evaluate(model, clips).predictor == "lstm"
    with pytest.raises(errors.OptionError, match="not conv3d"):
        tokenzip.evaluate(model, clips, predictor="conv3d")


def test_the_loop_on_its_own_reports(tmp_path: Path) -> None:
    from tokenzip.training.distributed import World

    seen: list[Progress] = []
    clips = open_clips(made(90))
    spec = new_spec("lstm", "small", Geometry.of((2, 3), 8), **TINY)
    here = World(0, 1, torch.device("cpu"))
    loop = Loop(spec, Options(**settings()), clips, clips, here, report=seen.append)
    outcome = loop.run()
    assert [p.step for p in seen if not p.validated] == list(range(1, 13))
    assert seen[-1].validated and seen[-1].fraction == 1 and seen[-1].left == 0
    assert seen[-1].ratio == pytest.approx(3 / seen[-1].best)
    assert outcome.progress.tokens == 12 * 192
    assert evaluate_clips(loop.model({}), clips).tokens == 540


def test_a_head_of_few_neighbours(tmp_path: Path) -> None:
    whole = new_spec("lstm", "small", Geometry.of((3, 4), 6), **TINY)
    for count in (0, 1, 3, 99):
        spec = new_spec("lstm", "small", Geometry.of((3, 4), 6), neighbours=count, **TINY)
        seen = spec.features.neighbours
        assert len(seen) == min(count, len(whole.features.neighbours))
        assert set(seen) <= set(whole.features.neighbours)
        assert replace(spec.features, neighbours=()) == replace(whole.features, neighbours=())
    nearest = new_spec("lstm", "small", Geometry.of((3, 4), 6), neighbours=2, **TINY)
    assert set(nearest.features.neighbours) == {(0, 0, -1), (0, -1, 0)}
    model = tokenzip.train(made(90), neighbours=0, **settings())
    codes(model, [made(50, seed=3)])
    with pytest.raises(errors.OptionError, match="neighbours must not be negative"):
        tokenzip.train(made(90), neighbours=-1, **settings())
