"""The command line with models: compress, decompress, info and verify."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from network_cases import FAMILIES, calm_tokens, tiny_model
from test_cli import Outcome, same

import tokenzip
from tokenzip.cli import run
from tokenzip.models import Model

FRAME, ALPHABET = (3, 4), 20


@pytest.fixture
def tz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run one command line in an empty directory, with no models but those it names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKENZIP_MODELS", raising=False)

    def call(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    """A model, in m.safetensors; and a clip for it, in clip.npy."""
    found = tiny_model(request.param, FRAME, ALPHABET, coarse=True)
    found.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "clip.npy", calm_tokens((40, *FRAME), ALPHABET, dtype=">i2"))
    return found


@pytest.mark.parametrize("how", ["auto", "hybrid", "alone"])
def test_there_and_back(tz, model: Model, how: str) -> None:
    how = model.spec.family if how == "alone" else how
    options = [] if how == "auto" else ["--predictor", how]
    done = tz("compress", "clip.npy", "--model", "m.safetensors", *options)
    assert done.code == 0 and "verified" in done.err
    clip = np.load("clip.npy")
    blob = Path("clip.npy.tkz").read_bytes()
    assert blob == tokenzip.encode(clip, model=model, predictor=how)
    os.rename("clip.npy", "original.npy")
    assert tz("decompress", "clip.npy.tkz", "--model", "m.safetensors").code == 0
    assert Path("clip.npy").read_bytes() == Path("original.npy").read_bytes()
    assert tz("verify", "clip.npy.tkz", "--model", "m.safetensors").code == 0


def test_folders_several_models_and_the_variable(
    tz, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tz("compress", "clip.npy", "--model", "m.safetensors").code == 0
    clip = np.load("clip.npy")
    os.mkdir("models")
    tiny_model("lstm", (2, 2), 5, coarse=True).save("models/other.safetensors")
    shutil.move("m.safetensors", "models/m.safetensors")
    for models in (
        ["--model", "models"],
        ["--model", "models/other.safetensors", "--model", "models/m.safetensors"],
    ):
        done = tz("decompress", "clip.npy.tkz", *models, "-o", "back.npy", "--force")
        assert done.code == 0, done.err
        assert same(np.load("back.npy"), clip)
    monkeypatch.setenv("TOKENZIP_MODELS", "models")
    assert tz("verify", "clip.npy.tkz").code == 0


def test_a_model_that_is_not_there(tz, model: Model) -> None:
    assert tz("compress", "clip.npy", "--model", "m.safetensors").code == 0
    Path("clip.npy").unlink()
    for command in ("decompress", "verify"):
        done = tz(command, "clip.npy.tkz")
        assert done.code == 1
        said = done.out + done.err  # verify's findings are what was asked for
        if command == "verify":  # nobody knows whether it is bad
            assert said.startswith("?    clip.npy.tkz: ") and "BAD" not in said
        assert model.identity.hex() in said and "--model" in said
        assert "Traceback" not in said and said.count("\n") <= 2
    assert not Path("clip.npy").exists()
    shown = tz("decompress", "clip.npy.tkz", "--json")
    assert shown.code == 1
    assert shown.json["files"][0]["error"]["type"] == "MissingModelError"
    other = tiny_model(model.spec.family, FRAME, ALPHABET, 5, coarse=True)
    other.save("other.safetensors")
    done = tz("decompress", "clip.npy.tkz", "--model", "other.safetensors")
    assert done.code == 1 and model.identity.hex() in done.err
    done = tz("decompress", "clip.npy.tkz", "--model", "nothing.safetensors")
    assert done.code in (1, 2) and "nothing.safetensors" in done.err


def test_info(tz, model: Model) -> None:
    for predictor in ("hybrid", model.spec.family):
        options = ["--model", "m.safetensors", "--predictor", predictor, "--force"]
        assert tz("compress", "clip.npy", *options).code == 0
        shown = tz("info", "clip.npy.tkz")  # needs no model
        assert shown.code == 0
        assert model.identity.hex() in shown.out and predictor in shown.out
        assert "embedded" not in shown.out
        entry = tz("info", "clip.npy.tkz", "--json").json["files"][0]["blob"]
        assert entry["predictor"] == predictor
        assert entry["model"] == model.identity.hex()


def test_solid(tz, model: Model) -> None:
    """What one array teaches the hybrid serves for the next."""
    arrays = {key: calm_tokens((30, *FRAME), ALPHABET, seed) for seed, key in enumerate("abc")}
    np.savez("x.npz", **arrays)
    models = ["--model", "m.safetensors"]
    assert tz("compress", "x.npz", *models, "--solid").code == 0
    assert tz("info", "x.npz.tkz", "--json").json["files"][0]["blob"]["solid"]
    assert tz("verify", "x.npz.tkz", *models).code == 0
    assert tz("decompress", "x.npz.tkz", *models, "-o", "back.npz").code == 0
    with np.load("back.npz") as back:
        assert all(same(back[key], arrays[key]) for key in arrays)


def test_embedded(tz, model: Model) -> None:
    clip = calm_tokens((1200, *FRAME), ALPHABET, dtype="int32", calm=0.95)
    np.save("clip.npy", clip)
    done = tz("compress", "clip.npy", "--model", "m.safetensors", "--embed-model")
    assert done.code == 0
    os.remove("m.safetensors")
    assert tz("decompress", "clip.npy.tkz", "-o", "back.npy").code == 0
    assert same(np.load("back.npy"), clip)
    shown = tz("info", "clip.npy.tkz")
    assert model.identity.hex() in shown.out and "embedded" in shown.out
    assert tz("verify", "clip.npy.tkz").code == 0
    refused = tz("compress", "clip.npy", "--embed-model", "-o", "x.tkz")
    assert refused.code == 2 and "model" in refused.err
    assert not Path("x.tkz").exists()


def test_several_files(tz, model: Model) -> None:
    """One that the model is not for fails; the others are done."""
    np.save("wide.npy", np.zeros((5, 9, 9), np.int16))
    done = tz("compress", "wide.npy", "clip.npy", "--model", "m.safetensors")
    assert done.code == 1
    assert "wide.npy" in done.err and "3 x 4 sites" in done.err
    assert Path("clip.npy.tkz").exists() and not Path("wide.npy.tkz").exists()


def test_npz_of_several_arrays(tz, model: Model) -> None:
    arrays = {"a": calm_tokens((30, *FRAME), ALPHABET), "b": calm_tokens((9, *FRAME), 5)}
    np.savez("x.npz", **arrays)
    assert tz("compress", "x.npz", "--model", "m.safetensors").code == 0
    assert tz("decompress", "x.npz.tkz", "--model", "m.safetensors", "-o", "back.npz").code == 0
    with np.load("back.npz") as back:
        assert all(same(back[key], arrays[key]) for key in arrays)


def test_wrong_options(tz, model: Model) -> None:
    (other,) = set(FAMILIES) - {model.spec.family}
    os.mkdir("empty")
    for options, words in (
        (["--model", "nothing.safetensors"], "nothing.safetensors"),
        (["--model", "clip.npy"], "clip.npy"),
        (["--model", "empty"], "empty"),
        (["--model", "m.safetensors", "--predictor", other], other),
        (["--model", "m.safetensors", "--predictor", "stored"], "stored"),
        (["--model", "m.safetensors", "--predictor", model.spec.family, "--solid"], "solid"),
        (["--model", "m.safetensors", "--backend", "jax"], "jax"),
        (["--predictor", "lstm"], "--model"),
        (["--predictor", "hybrid"], "--model"),
    ):
        done = tz("compress", "clip.npy", *options)
        assert done.code in (1, 2), options
        assert words in done.err and "Traceback" not in done.err
        assert not Path("clip.npy.tkz").exists()


def test_a_damaged_model(tz, model: Model) -> None:
    assert tz("compress", "clip.npy", "--model", "m.safetensors", "-o", "good.tkz").code == 0
    data = bytearray(Path("m.safetensors").read_bytes())
    data[-50] ^= 1
    Path("m.safetensors").write_bytes(data)
    for arguments in (("compress", "clip.npy"), ("verify", "good.tkz")):
        done = tz(*arguments, "--model", "m.safetensors")
        assert done.code == 1 and "damaged or changed" in done.out + done.err
    assert not Path("clip.npy.tkz").exists()
