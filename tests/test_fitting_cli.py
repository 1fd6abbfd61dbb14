"""`tokenzip compress --fit` and `tokenzip pack --fit`."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bundled_models import bring_along
from cli_process import ENVIRONMENT, PROGRAM, run
from training_data import TINY, made, write_clips

import tokenzip
from tokenzip.cli.entry import run as run_here
from tokenzip.models import packed
from tokenzip.models.file import Model
from tokenzip.models.search import read_model

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

from make_fixtures import lively
from make_network_fixtures import FOLDER as MODELS

VIDEO = MODELS / "lstm_video.safetensors"


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In this process: tiny networks, every one of which pays."""
    pytest.importorskip("torch")
    from tokenzip.fitting import decide as decision
    from tokenzip.fitting import fit as fitting
    from tokenzip.fitting import sizes

    pays = functools.partial(decision.Verdict, solid=False)

    def decide(model: Model, clips: Any, **_: Any) -> decision.Verdict:
        return pays(clips.tokens, clips.tokens, 1, 10**9, len(packed.pack(model)))

    tiny = tuple(TINY[name] for name in ("embedding", "state", "hidden"))
    monkeypatch.setattr(fitting, "LEAST_BYTES", 0)
    monkeypatch.setattr(fitting, "decide", decide)
    monkeypatch.setattr(fitting, "batch_symbols", lambda device: 192)
    monkeypatch.setattr(sizes, "SIZES", {"tiny": tiny, "small": tiny})
    monkeypatch.chdir(tmp_path)


FIT = ["--fit", "--fit-minutes", "0.01", "--threads", "1", "--device", "cpu"]


def test_few_tokens_are_compressed_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    np.save(tmp_path / "clip.npy", made(50))
    done = run("compress", "clip.npy", "--fit", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"note: no network: 300 tokens are too few for one to pay" in done.stderr
    (entry,) = json.loads(done.stdout)["files"]
    assert entry["model_bytes"] is None and entry["verified"]
    assert sorted(os.listdir(tmp_path)) == ["clip.npy", "clip.npy.tkz"]


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize("more", [[], ["--solid"], ["--predictor", "lstm"]])
def test_compress(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"a": made(8000, seed=1), "b": made(5000, seed=2).astype(">i4")}
    np.savez(tmp_path / "two.npz", **arrays)
    code = run_here(["compress", "two.npz", *FIT, *more, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "note: a network pays: " in captured.err and "suits 78,000 tokens" in captured.err
    (entry,) = json.loads(captured.out)["files"]
    assert entry["predictor"] == ("lstm" if "lstm" in more else "hybrid")
    assert 500 < entry["model_bytes"] < entry["bytes"]
    assert sorted(os.listdir(tmp_path)) == ["two.npz", "two.npz.tkz"]
    assert run_here(["decompress", "two.npz.tkz", "-o", "back.npz"]) == 0
    with np.load("back.npz") as back:
        for name, array in arrays.items():
            assert np.array_equal(back[name], array) and back[name].dtype == array.dtype


@pytest.mark.usefixtures("generous")
def test_arrays_that_no_single_network_is_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("two.npz", a=made(50), b=made(50, (4,)))
    assert run_here(["compress", "two.npz", *FIT]) == 0
    assert "no network: the arrays have frames of several shapes" in capsys.readouterr().err
    np.savez("none.npz", a=made(50)[:0])
    assert run_here(["compress", "none.npz", *FIT]) == 0
    assert "no network: there are no tokens" in capsys.readouterr().err
    np.savez("wrong.npz", a=made(50), b=made(50).astype(int) - 9)
    assert run_here(["compress", "wrong.npz", *FIT]) == 1
    assert "wrong.npz: b: " in (said := capsys.readouterr().err) and "negative" in said


@pytest.mark.usefixtures("generous")
def test_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_clips(tmp_path, (900, 700, 800))
    assert run_here(["pack", *paths, *FIT, "-o", "a.tkz.h5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["files"][0]["archive_clips"] == 3
    assert not (tmp_path / "a.tkz.h5.fit").exists()
    with tokenzip.open("a.tkz.h5") as archive:
        (identity,) = archive.models
        data = archive.models[identity]
        assert read_model(data).identity.hex() == identity
        assert data == packed.pack(read_model(data))
        kinds = {archive[name].info.predictor for name in archive}
        assert kinds == {"hybrid"}
        for number, name in enumerate(sorted(archive)):
            assert np.array_equal(archive[name][:], np.load(paths[number]))
    assert run_here(["verify", "a.tkz.h5"]) == 0
    capsys.readouterr()
    # More of the same, with the network that is there.
    np.save(tmp_path / "more.npy", made(300, seed=9))
    assert run_here(["pack", *paths, "more.npy", *FIT, "-o", "a.tkz.h5", "--resume"]) == 0
    said = capsys.readouterr().err
    assert f"going on with the network {identity[:12]}" in said and "3 were there" in said
    with tokenzip.open("a.tkz.h5") as archive:
        assert list(archive.models) == [identity] and archive["more"].info.predictor == "hybrid"


@pytest.mark.usefixtures("generous")
def test_clips_that_changed_after_the_fit_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenzip.cli import pack as command

    paths = write_clips(tmp_path, (90, 70))
    whole = command.gather

    def gather(sources: Any) -> Any:
        found = whole(sources)
        np.save(paths[0], made(90, (5, 5)))
        return found

    monkeypatch.setattr(command, "gather", gather)
    assert run_here(["pack", *paths, *FIT, "-o", "a.tkz.h5"]) == 1
    assert "clip0.npy: the model " in (said := capsys.readouterr().err) and "not (5, 5)" in said
    with tokenzip.open("a.tkz.h5") as archive:
        assert list(archive) == ["clip1"]
        assert np.array_equal(archive["clip1"][:], np.load(paths[1]))


def test_a_full_disk_ends_the_fit(
    generous: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenzip.errors import FileError
    from tokenzip.training import checkpoint

    def full(path: Any, content: Any) -> None:
        raise FileError(f"{path}: cannot be written: no space left on the device")

    monkeypatch.setattr(checkpoint, "write", full)
    np.save("clip.npy", made(50))
    assert run_here(["compress", "clip.npy", *FIT]) == 1
    assert "clip.npy.tkz.fit: cannot be written: no space left" in capsys.readouterr().err
    assert os.listdir() == ["clip.npy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fit", "--predictor", "adaptive"], b"which adaptive has no use for"),
        (["--fit", "--predictor", "lstm", "--solid"], b"--solid takes --predictor hybrid"),
        (["--fit", "--fit-minutes", "0"], b"--fit-minutes must be above 0"),
        (["--fit", "--fit-size", "vast"], b"--fit-size must be tiny, small, middle, base"),
        (["--fit-minutes", "3"], b"--fit-minutes and --fit-size go with --fit"),
    ],
)
def test_command_lines_that_make_no_sense(
    tmp_path: Path, arguments: list[str], message: bytes
) -> None:
    pytest.importorskip("torch")
    np.save(tmp_path / "clip.npy", made(50))
    done = run("compress", "clip.npy", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr, done.stderr


def test_without_torch(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", made(50))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tokenzip.cli.entry import run\n"
        "sys.exit(run(['compress', 'clip.npy', '--fit']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True
    )
    assert done.returncode == 1 and done.stderr == (
        b"tokenzip: error: fitting a network needs torch: pip install 'tokenzip[train]'\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_terminated_and_gone_on_with(tmp_path: Path) -> None:
    """250,000 bytes of tokens, so that a fit begins; the checkpoint is there to go on from."""
    pytest.importorskip("torch")
    with h5py.File(tmp_path / "clips.h5", "w") as file:
        for number in range(2):
            file[f"clips/{number}"] = made(1000, (8, 16), 1000, seed=number)
    command = ["compress", "clips.h5", "--fit", "--fit-size", "tiny", "--device", "cpu"]
    command += ["--threads", "1", "--fit-minutes", "30"]
    child = subprocess.Popen(
        [*PROGRAM, *command], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    time.sleep(20)
    child.send_signal(signal.SIGTERM)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 143, errors
    last = errors.decode().splitlines()[-2:]
    assert "stopped at step" in last[0] and "goes on from clips.h5.tkz.fit" in last[0]
    assert sorted(os.listdir(tmp_path)) == ["clips.h5", "clips.h5.tkz.fit"]


@pytest.mark.parametrize("predictor", ["auto", "hybrid", "lstm"])
@pytest.mark.parametrize("command", ["compress", "pack"])
def test_without_a_network_it_is_what_a_network_was_judged_against(
    command: str, predictor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict weighs a network against encode's default (which tries the bundled models)."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module(f"tokenzip.cli.{command}"), "fitted", _no_network)
    bring_along(monkeypatch, tmp_path / "bundled", {"video-1": Model.load(VIDEO)})
    tokens = lively((520, 10, 4), 24, "<u2", 6, calm=80)
    np.save("clip.npy", tokens)
    assert run_here([command, "clip.npy", "--fit", "--predictor", predictor, "-o", "out"]) == 0
    if command == "compress":
        blob = Path("out").read_bytes()
        assert blob == tokenzip.encode(tokens)
        assert tokenzip.inspect(blob).bundled == 1
    else:
        assert tokenzip.open("out")["clip"].info.bundled == 1


def _no_network(*_: Any, **__: Any) -> None:
    """As fitted(), where none pays."""
