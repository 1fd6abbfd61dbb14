"""tokenzip.report: costs are what blobs pay; numbers, sampling and JSON of reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tokenzip
from tokenzip import report
from tokenzip.cli.entry import run
from tokenzip.codec import Codec
from tokenzip.errors import FileExistsRefusedError, OptionError
from tokenzip.files.atomic import check_target
from tokenzip.models import Geometry, new_spec
from tokenzip.models.blank import blank_model


def moving(frames: int, frame: tuple[int, ...], alphabet: int, seed: int = 0) -> np.ndarray:
    """Tokens that often repeat the frame before."""
    rng = np.random.default_rng(seed)
    out = (rng.random((frames, *frame)) ** 3 * alphabet).astype(np.uint16)
    for t in range(1, frames):
        keep = rng.random(frame) < 0.5
        out[t] = np.where(keep, out[t - 1], out[t])
    return out


def near(found: report.Report, bytes_off: int) -> None:
    """Costs of all tokens against the payloads: rounding, and up to 8 bytes a lane."""
    accounting = found.accounting
    assert accounting.tokens == found.sizes.tokens
    off = accounting.payload_bits - accounting.cost_bits
    assert -1 <= off <= 8 * bytes_off + 3e-4 * 2 * accounting.tokens


@pytest.mark.parametrize(
    ("frame", "alphabet"), [((4, 6), 64), ((6,), 1024), ((), 16), ((3, 4), 65536), ((2, 2, 2), 2)]
)
def test_adaptive_costs_are_the_payload(frame: tuple[int, ...], alphabet: int) -> None:
    tokens = moving(300, frame, alphabet)
    blob = tokenzip.encode(tokens, alphabet=alphabet, predictor="adaptive", chunk_frames=150)
    near(report.of_blob(blob), 2 * 12)


@pytest.mark.parametrize("family", ["lstm", "conv3d"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_network_costs_are_the_payload(family: str, hybrid: bool) -> None:
    model = blank_model(new_spec(family, "small", Geometry.of((4, 6), 64)))
    tokens = moving(60, (4, 6), 48)
    predictor = "hybrid" if hybrid else family
    blob = tokenzip.encode(tokens, predictor=predictor, model=model, alphabet=64)
    found = report.of_blob(blob, codec=Codec(model=model))
    assert found.predictors in ({predictor: 1}, {"stored": 1})
    near(found, 64)


def test_models_are_called_by_their_names() -> None:
    """Those that come with tokenzip; others by their identities."""
    model = blank_model(new_spec("lstm", "small", Geometry.of((4, 6), 64)))
    tokens = moving(300, (4, 6), 48)
    blob = tokenzip.encode(tokens, predictor="hybrid", model=model, alphabet=64)
    assert report.of_blob(blob, codec=Codec(model=model)).model == model.name
    tokens = moving(300, (8,), 1024)
    blob = tokenzip.encode(tokens, predictor="hybrid", model="encodec-24khz-1", alphabet=1024)
    assert report.of_blob(blob).model == "encodec-24khz-1"


def test_stored_and_solid_costs_are_the_payload() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 8)).astype(np.uint8)
    found = report.of_blob(tokenzip.encode(noise, alphabet=256, predictor="stored"))
    assert found.accounting.difference == 0 and found.cost == 8
    clips = [moving(60, (4, 6), 64, seed) for seed in range(4)]
    blob = tokenzip.encode(clips, alphabet=64, predictor="adaptive", solid=True)
    near(report.of_blob(blob), 4 * 12)
    one = report.of_blob(blob, sample=report.Sample(clips=1))
    assert one.sampling.clips == 1 and one.sampling.of_clips == 4


def test_what_is_said_of_known_tokens() -> None:
    still = np.tile(np.arange(24, dtype=np.uint16).reshape(4, 6), (50, 1, 1))
    found = report.of_arrays([still], names=["still"], codec=Codec(predictor="adaptive"))
    assert found.copied == 1 and found.hits is not None and found.hits > 0.9
    assert found.usage is not None and found.usage.used == 24
    assert found.usage.entropy == pytest.approx(np.log2(24), abs=1e-3)
    assert sum(found.ranks.tokens) == still.size
    assert found.positions is not None and np.shape(found.positions.bits) == (4, 6)
    assert np.mean(found.positions.bits) == pytest.approx(found.cost, abs=1e-3)
    assert np.mean(found.curves[0].bits) == pytest.approx(found.cost, abs=1e-3)
    assert found.speed.encode and found.speed.decode
    assert found.sizes.payload + found.sizes.model + found.sizes.framing == found.sizes.total


def test_empty_arrays_have_a_report_and_no_pictures() -> None:
    found = report.of_arrays([np.empty((0, 4), np.uint8), np.empty((3, 0), np.int16)])
    assert found.cost is None and found.positions is None and found.sampling.tokens == 0
    assert "application/json" in report.page(found)
    for draw in (report.heatmap, report.timeline, report.film, report.calibration, report.ranks):
        with pytest.raises(OptionError):
            draw(found)


def test_figures_are_drawn() -> None:
    pytest.importorskip("matplotlib")
    found = report.of_arrays([moving(20, (4, 6), 64)], names=["$x_"])
    names = ("heatmap", "timeline", "film", "calibration", "ranks", "codes")
    for draw in [getattr(report, name) for name in names]:
        draw(found).canvas.draw()


def test_an_archive_is_sampled_alike_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.tkz.h5"
    with tokenzip.open(str(path), "w", alphabet=64, predictor="adaptive") as archive:
        for i in range(12):
            archive[f"clip/{i}"] = (
                moving(12, (4, 6), 64, i) if i != 5 else np.zeros((12, 4, 6), int)
            )
    size = path.stat().st_size
    sample = report.Sample(tokens=100, clips=4, rows=6, seed=3)
    with tokenzip.open(str(path)) as archive:
        found = report.of_archive(archive, file_bytes=size, sample=sample)
        again = report.of_archive(archive, file_bytes=size, sample=sample)
    assert [c for c in found.clips] == [c for c in again.clips] and found.ranks == again.ranks
    assert found.sampling.clips == 4 and found.sampling.of_clips == 12 and len(found.clips) == 6
    assert all(clip.traced <= 120 for clip in found.clips)
    assert found.distribution is not None and found.distribution.outliers == ("clip/5",)
    assert found.sizes.total == size and sum(found.distribution.clips) == 12


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("clip.npy", moving(20, (4, 6), 64))
    assert run(["report", "clip.npy"]) == 1 or "-o" in capfd.readouterr().err
    capfd.readouterr()
    assert run(["report", "clip.npy", "--json", "--film", "3:5"]) == 0
    document = json.loads(capfd.readouterr().out)
    found = document["files"][0]["report"]
    assert document["ok"] and found["schema"] == 1
    assert found["film"]["start"] == 3 and len(found["film"]["frames"]) == 2
    assert run(["report", "clip.npy", "-o", "r.html", "-q"]) == 0
    assert Path("r.html").read_bytes().startswith(b"<!doctype html>")
    with pytest.raises(FileExistsRefusedError):
        check_target("r.html")
    assert run(["report", "clip.npy", "-o", "r.html"]) == 1
    assert "--force" in capfd.readouterr().err
    assert run(["report", "clip.npy", "-o", "-"]) == 0
    assert "</html>" in capfd.readouterr().out
    assert run(["compress", "clip.npy", "-q"]) == 0
    assert run(["report", "clip.npy.tkz", "-o", "r.html", "-f"]) == 0
    assert run(["report", "nothing.tkz", "-o", "s.html"]) == 1
    assert not Path("s.html").exists()


def test_names_end_no_script_and_no_title() -> None:
    hostile = "</script><script>alert(1)</script>\udc80"
    found = report.of_arrays([moving(4, (2, 2), 8)], names=[hostile], source=hostile)
    page = report.page(found)
    page.encode("utf-8")
    assert page.count("<script") == 2 and page.count("</script") == 2
    assert "<title>&lt;/script&gt;" in page


def test_a_page_of_very_many_clips_is_small(tmp_path: Path) -> None:
    from dataclasses import replace

    found = report.of_arrays([moving(20, (8, 16), 1024)])
    rows = tuple(replace(found.clips[0], name=f"drive/{i:06}/tokens") for i in range(2000))
    assert len(report.page(replace(found, clips=rows))) < 1_500_000


@pytest.mark.parametrize("bad", [{"tokens": 0}, {"clips": 0}, {"seed": -1}, {"film_start": -2}])
def test_samples_are_checked(bad: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        report.Sample(**bad)


def test_errors_name_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "cut.tkz"
    bad.write_bytes(tokenzip.encode(moving(40, (4, 6), 64))[:-9])
    for path in (bad, tmp_path / "none.npy"):
        assert run(["report", str(path), "-o", str(tmp_path / "page.html")]) == 1
        assert str(path) in capsys.readouterr().err.replace("\n", "")
    assert not (tmp_path / "page.html").exists()
    assert run(["report", str(bad), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
