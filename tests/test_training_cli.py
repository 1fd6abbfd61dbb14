"""`tokenzip train` and `tokenzip evaluate` as processes, and evaluation without torch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_process import ENVIRONMENT, PROGRAM, run
from neural import random_model, random_spec
from training_data import made, write_clips

from tokenzip.models import Model
from tokenzip.predictors.network import warm

TINY = ["--preset", "small", "--size", "embedding=4", "--size", "state=8", "--size", "hidden=8"]
FAST = [*TINY, "--batch", "192", "--segment", "8", "--threads", "1", "--device", "cpu"]


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    """The processes here have a minute each: numba's cache spares them the compiling."""
    warm()


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """m.safetensors, untrained, for frames of 2 x 3 and an alphabet of 8."""
    made_up = random_model(random_spec("lstm", (2, 3), 8, embedding=4, state=8, hidden=8))
    made_up.save(tmp_path / "m.safetensors")
    return made_up


def test_train_and_evaluate(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_clips(tmp_path)
    done = run("train", ".", *FAST, "--steps", 5, "-o", "m.safetensors", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (entry,) = document["files"]
    model = Model.load(tmp_path / "m.safetensors")
    assert document["ok"] and entry["identity"] == model.identity.hex()
    assert entry["summary"]["data"]["clips"] == 2 and entry["summary"]["steps"] == 5
    assert entry["summary"]["command"][0] == "train"
    assert (tmp_path / "m.safetensors.checkpoint").exists()
    assert b"the largest token is 7: alphabet 8" in done.stderr

    again = run("train", ".", *FAST, "--steps", 5, "-o", "m.safetensors", cwd=tmp_path)
    assert again.returncode == 1 and again.stderr == (
        b"tokenzip: error: m.safetensors: exists; use --force to overwrite it\n"
    )
    more = run("train", ".", *FAST, "--steps", 7, "-o", "m.safetensors", "--resume", cwd=tmp_path)
    assert more.returncode == 0 and b"step 7" in more.stderr and b"in 7 steps" in more.stderr

    done = run("evaluate", "m.safetensors", "clip0.npy", "clip1.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert "clip0.npy" in lines[0] and "total, 2 clips" in lines[2] and "the model's" in lines[3]


TEACHER = """
import torch

class Repeats:
    frames = 1
    def __call__(self, context):
        return 3.0 * torch.nn.functional.one_hot(context[:, -1], 8)

def load():
    return Repeats()
"""


def test_train_with_a_teacher(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_clips(tmp_path, (30, 20))
    (tmp_path / "teacher.py").write_text(TEACHER)
    learn = [*FAST, "--steps", 3, "--teacher", "teacher.py:load", "--teacher-frames", 60]
    done = run("train", "clip0.npy", "clip1.npy", *learn, "-o", "m.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"asking the teacher about" in done.stderr
    story = Model.load(tmp_path / "m.safetensors").summary
    assert story["teacher"]["name"] == "teacher.py:load"
    assert len(list((tmp_path / "m.safetensors.lessons").glob("invented-*.npy"))) == 4
    again = run(
        *("train", "clip0.npy", "clip1.npy", *learn, "-o", "n.safetensors"),
        *("--lessons", "m.safetensors.lessons"),
        cwd=tmp_path,
    )
    assert again.returncode == 0 and b"asking" not in again.stderr
    assert Model.load(tmp_path / "n.safetensors").identity.hex() == (
        Model.load(tmp_path / "m.safetensors").identity.hex()
    )
    wrong = run("train", "clip0.npy", *FAST, "--teacher", "teacher.py:gone", cwd=tmp_path)
    assert wrong.returncode == 2 and b"tokenzip: error: teacher 'teacher.py:gone'" in wrong.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_training_leaves_model_and_checkpoint(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    pytest.importorskip("torch")
    write_clips(tmp_path)
    command = ["train", ".", *FAST, "--minutes", "9", "--checkpoint-seconds", "0"]
    child = subprocess.Popen(
        [*PROGRAM, *command], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    path = tmp_path / "model.safetensors.checkpoint"
    with contextlib.suppress(subprocess.TimeoutExpired):
        for _ in range(600):
            if path.exists() or child.poll() is not None:
                break
            time.sleep(0.1)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == code, errors
    last = errors.decode().splitlines()[-2:]
    assert last[0].startswith("tokenzip: stopped at step ")
    assert "the best model so far" in last[0] and "is in model.safetensors" in last[0]
    assert "--resume goes on from model.safetensors.checkpoint" in last[0]
    assert last[1] == "tokenzip: interrupted"
    assert Model.load(tmp_path / "model.safetensors").summary["stopped"] == "request"
    assert path.exists() and not list(tmp_path.glob(".*.tmp"))


def test_presets_are_listed_with_their_cost(tmp_path: Path) -> None:
    done = run("train", "--list-presets", cwd=tmp_path)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 7
    assert b"lstm    base        659,680  (body 407,040" in done.stdout
    np.save(tmp_path / "codes.npy", made(9, (8,), 600))
    done = run("train", "codes.npy", "--list-presets", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["frame"] == [8] and document["alphabet"] == 1024
    assert [row["preset"] for row in document["presets"]] == ["small", "base", "large"] * 2
    for row in document["presets"]:
        assert row["macs"]["total"] == pytest.approx(sum(list(row["macs"].values())[:3]), abs=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], b"name the files to train on"),
        (["x.npy", "--size", "state"], b"not of the form NAME=N"),
        (["x.npy", "--predictor", "gru"], b"predictor must be lstm, conv3d, not 'gru'"),
        (["-"], b"standard input"),
    ],
)
def test_command_lines_that_make_no_sense(
    tmp_path: Path, arguments: list[str], message: bytes
) -> None:
    pytest.importorskip("torch")
    done = run("train", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count(b"\n") == 1


def test_evaluation_by_source(tmp_path: Path, model: Model) -> None:
    with h5py.File(tmp_path / "clips.h5", "w") as file:
        for n, name in enumerate("abc"):
            data = file.create_dataset(f"clips/{name}/tokens", data=made(30 + n, seed=n))
            data.parent.attrs["source"] = "odd" if name == "b" else "even"
    done = run("evaluate", "m.safetensors", "clips.h5", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["evaluation"]
    clips, groups = found["clips"], found["groups"]
    assert [clip["name"] for clip in clips] == [f"clips.h5[clips/{n}/tokens]" for n in "abc"]
    assert groups["even"]["tokens"] == clips[0]["tokens"] + clips[2]["tokens"]
    assert groups["odd"]["bytes"] == clips[1]["bytes"]
    assert found["bytes"] == sum(clip["bytes"] for clip in clips)
    assert found["model_bytes"] == (tmp_path / "m.safetensors").stat().st_size
    done = run("evaluate", "m.safetensors", "clips.h5", "--dataset", "clips/b", cwd=tmp_path)
    assert b"all of source odd" in done.stdout and b"total, 1 clips" in done.stdout


def test_evaluation_says_what_is_wrong(tmp_path: Path, model: Model) -> None:
    np.save(tmp_path / "big.npy", made(9) + 4)
    done = run("evaluate", "m.safetensors", "big.npy", cwd=tmp_path)
    assert done.returncode == 1 and b"knows 8 symbols" in done.stderr
    done = run("evaluate", "big.npy", "big.npy", cwd=tmp_path)
    assert done.returncode == 1 and b"big.npy: not a safetensors file" in done.stderr
    done = run("evaluate", "missing.safetensors", "big.npy", cwd=tmp_path)
    assert done.returncode == 1 and b"missing.safetensors: " in done.stderr
    assert b"No such file" in done.stderr


def test_evaluation_needs_no_torch_and_training_says_so(tmp_path: Path, model: Model) -> None:
    code = """
        import sys

        class NoTorch:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "torch":
                    raise ImportError("torch is blocked")

        sys.meta_path.insert(0, NoTorch())
        import numpy as np
        import tokenzip
        clips = [np.zeros((20, 2, 3), int)]
        assert tokenzip.evaluate("m.safetensors", clips).tokens == 120
        try:
            tokenzip.train(clips)
        except tokenzip.errors.MissingDependencyError as error:
            print(error)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "training needs torch: pip install 'tokenzip[train]'\n"
