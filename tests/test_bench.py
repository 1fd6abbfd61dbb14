"""Comparisons: layouts and peers give everything back, results add up, failures are loud."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenzip import bench, samples
from tokenzip.bench import comparison, contender, layouts, memory, peers, worker
from tokenzip.bench.contender import Theirs
from tokenzip.bench.worker import Job
from tokenzip.errors import InputError, MissingDependencyError, OptionError, TokenzipError

PEERS = {peer.name: peer for peer in peers.all_peers()}
LAYOUTS = {layout.name: layout for layout in layouts.layouts_for(65536)}


def peer_or_skip(name: str) -> peers.Peer:
    lacking = PEERS[name].missing()
    if lacking:
        pytest.skip(f"needs {lacking}")
    return PEERS[name]


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=40, deadline=None)
@given(
    alphabet=st.sampled_from([2, 3, 256, 257, 1024, 65536]),
    shapes=st.lists(
        st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple), min_size=0, max_size=3
    ),
    seed=st.integers(0, 1000),
)
def test_layouts_give_back(
    name: str, alphabet: int, shapes: list[tuple[int, ...]], seed: int
) -> None:
    chance = np.random.default_rng(seed)
    grids = [chance.integers(0, alphabet, shape).astype(np.uint16) for shape in shapes]
    layout = LAYOUTS[name]
    data = layout.to_bytes(grids, alphabet)
    assert len(data) == layout.size(shapes, alphabet)
    again = layout.from_bytes(data, shapes, alphabet)
    assert len(again) == len(grids)
    for was, now in zip(grids, again, strict=True):
        assert now.dtype == np.uint16 and now.shape == was.shape and (now == was).all()


def test_layouts_are_what_they_say() -> None:
    grid = np.array([[1, 2], [3, 0x104]], dtype=np.uint16)  # two frames of two positions

    def written(name: str) -> bytes:
        return LAYOUTS[name].to_bytes([grid], 1024)

    assert written("frame") == bytes([1, 0, 2, 0, 3, 0, 4, 1])
    assert written("position") == bytes([1, 0, 3, 0, 2, 0, 4, 1])
    assert written("frame planes") == bytes([1, 2, 3, 4, 0, 0, 0, 1])
    assert written("position planes") == bytes([1, 3, 2, 4, 0, 0, 0, 1])
    bits = "".join(f"{token:010b}" for token in (1, 2, 3, 0x104))
    assert written("frame packed") == int(bits, 2).to_bytes(5, "big")
    assert LAYOUTS["frame"].to_bytes([grid % 7], 7) == bytes([1, 2, 3, 1])


def test_layout_refuses_a_wrong_length() -> None:
    with pytest.raises(ValueError, match="shapes ask for 4"):
        LAYOUTS["frame"].from_bytes(b"abcdef", [(2,)], 1024)
    with pytest.raises(ValueError, match="no layout"):
        layouts.layout_named("sideways")


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("data", [b"x", bytes(3000), bytes(range(256)) * 30])
def test_peers_give_back(name: str, data: bytes) -> None:
    peer = peer_or_skip(name)
    small = peer.compress(data)
    assert peer.decompress(small, len(data)) == data
    if len(data) > 1000:
        assert len(small) < len(data)


def test_peers_use_strong_settings() -> None:
    data = layouts.layout_named("position").to_bytes([samples.drive(60)], 1024)
    assert PEERS["xz -9e"].compress(data) == lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    assert PEERS["bz2 -9"].compress(data) == bz2.compress(data, 9)
    assert PEERS["zlib -9"].compress(data) == zlib.compress(data, 9)
    zstd = peer_or_skip("zstd -22")
    import zstandard

    assert len(zstd.compress(data)) < len(zstandard.compress(data))


def test_names() -> None:
    assert contender.peer_named("xz").name == "xz -9e"
    assert set(bench.contenders()) == {*PEERS, *contender.our_names()}
    assert bench.contenders()["xz -9e"] is None
    with pytest.raises(OptionError, match="arj"):
        contender.peer_named("arj")


def test_missing_programs_and_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    lacking = {name: peer.missing() for name, peer in PEERS.items()}
    assert lacking["zpaq -m5"] == "the program zpaq"
    assert lacking["zstd -22"] == "the Python package zstandard"
    assert lacking["brotli -11"] == "the Python package brotli"
    assert lacking["xz -9e"] is None
    with pytest.raises(TokenzipError, match="install the program zpaq"):
        bench.compare([samples.drive(2)], compressors=["zpaq"])


def test_a_broken_zpaq_is_loud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "zpaq"
    fake.write_text("#!/bin/sh\necho no disk >&2\nexit 2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RuntimeError, match="zpaq add failed: no disk"):
        PEERS["zpaq -m5"].compress(b"abc")


def test_best_layout_is_the_smallest() -> None:
    peer = PEERS["xz -9e"]
    grid = samples.drive(100)
    sizes = {
        layout.name: len(peer.compress(layout.to_bytes([grid], 1024)))
        for layout in layouts.layouts_for(1024)
    }
    assert comparison.best_layout(peer, [grid], 1024, solid=False) == min(sizes, key=sizes.get)


def test_compare_adds_up() -> None:
    grids = [samples.drive(40, seed=1), samples.drive(30, seed=2)]
    named: list[str] = []
    results = bench.compare(
        grids, alphabet=1024, compressors=["tokenzip stored", "zlib"], report=named.append
    )
    assert named == [result.compressor for result in results] == ["tokenzip stored", "zlib -9"]
    stored, zlib9 = results
    tokens = 70 * 128
    assert stored.tokens == tokens and stored.grids == 2 and stored.raw_bytes == tokens * 10 / 8
    assert 0 < stored.compressed_bytes - stored.raw_bytes <= 2 * 64
    assert stored.ratio == pytest.approx(stored.raw_bytes / stored.compressed_bytes)
    assert stored.bits_per_token == pytest.approx(10 / stored.ratio)
    layout = layouts.layout_named(zlib9.layout)
    expected = sum(len(PEERS["zlib -9"].compress(layout.to_bytes([g], 1024))) for g in grids)
    assert zlib9.compressed_bytes == expected
    for result in results:
        assert result.encode_seconds > 0 and result.decode_seconds > 0
        # Python and numpy alone hold more than 10 MB; nothing here comes near 1 GB.
        assert result.peak_bytes is None or 10e6 < result.peak_bytes < 1e9


def test_solid_is_one_stream() -> None:
    grids = [samples.drive(40, seed=1)] * 2
    apart = bench.compare(grids, compressors=["xz"])[0]
    solid = bench.compare(grids, compressors=["xz"], solid=True)[0]
    assert solid.solid and not apart.solid
    assert solid.compressed_bytes < 0.7 * apart.compressed_bytes  # the second is the first again


def test_compare_refuses() -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        bench.compare([np.zeros((0, 8, 16), dtype=np.uint16)])
    with pytest.raises(InputError):
        bench.compare([np.array([0.5])])
    with pytest.raises(OptionError, match="arj"):
        bench.compare([samples.drive(2)], compressors=["arj"])


def test_a_lossy_compressor_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lossy:
        name = "lossy"

        def compress(self, data: bytes) -> bytes:
            return data[:-1]

        def decompress(self, data: bytes, size: int) -> bytes:
            return data + b"\x01"

    lossy = Theirs(Lossy(), layouts.layout_named("frame"))  # type: ignore[arg-type]
    monkeypatch.setattr(Job, "contender", lambda self: lossy)
    job = Job("lossy", "frame", 1024, solid=False, threads=1)
    with pytest.raises(RuntimeError, match="did not give the tokens back"):
        worker.measure(job, [np.arange(8, dtype=np.uint16)])


def test_a_worker_that_dies_is_reported(tmp_path: Path) -> None:
    job = Job("zlib -9", "frame", 1024, solid=False, threads=1)
    with pytest.raises(TokenzipError, match=r"measuring zlib -9 failed .*No such file"):
        comparison._run(job, tmp_path / "none.npz")


def result(**changes: object) -> bench.Result:
    fields = {
        "compressor": "xz -9e",
        "layout": "frame",
        "solid": True,
        "grids": 3,
        "tokens": 8000,
        "alphabet": 1000,
        "compressed_bytes": 5000,
        "encode_seconds": 2.0,
        "decode_seconds": 0.5,
        "peak_bytes": 12_345_678,
    }
    return bench.Result(**{**fields, **changes})  # type: ignore[arg-type]


def test_derived_figures() -> None:
    one = result()
    assert (one.ratio, one.bits_per_token, one.encode_rate, one.decode_rate) == (2, 5, 4000, 16000)
    assert result(alphabet=2).raw_bytes == 1000
    assert result(alphabet=1025).raw_bytes == 11000


def test_reports() -> None:
    from rich.console import Console

    results = [result(), result(compressor="tokenzip adaptive", peak_bytes=None)]
    machine = bench.machine_info()
    document = json.loads(bench.to_json(results, machine))
    assert document["results"][0]["ratio"] == 2 and document["machine"]["cores"] >= 1
    assert document["machine"]["packages"]["numpy"] == np.__version__
    markdown = bench.to_markdown(results, "Title", machine)
    assert "| xz -9e | 5,000 | 2.000 | 5.000 | 4,000 | 16,000 | 12 | frame |" in markdown
    assert "3 grids, all in one stream (solid); 8,000 tokens" in markdown
    assert machine["python"] in markdown
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(bench.rich_table(results, "Title"))
    assert "tokenzip adaptive" in console.export_text()
    assert bench.rich_table([]).row_count == 0


def test_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "plot.png"
    bench.save_plot([result(), result(compressor="tokenzip adaptive")], target, "Title")
    assert target.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        bench.save_plot([result()], target)


def test_peak_memory_sees_a_large_array_and_not_the_parent() -> None:
    parent_ballast = bytearray(300_000_000)
    code = (
        "from tokenzip.bench.memory import peak_bytes; import sys\n"
        "before = peak_bytes(); ballast = bytearray(b'x') * 100_000_000; del ballast\n"
        "print(before, peak_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    del parent_ballast
    if "None" in done.stdout:
        pytest.skip("this system tells nothing about memory")
    before, after = map(int, done.stdout.split())
    assert after - before > 90_000_000
    if memory._high_water() is not None:
        assert before < 200_000_000


def test_bench_needs_no_optional_package() -> None:
    code = (
        "import sys\n"
        "for name in ('zstandard', 'brotli', 'matplotlib', 'psutil', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "from tokenzip import bench\n"
        "print(bench.contenders()['xz -9e'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "None", done.stderr


def test_short_counts() -> None:
    from tokenzip.bench.table import short_count

    values = [0, 7.25, 950, 999.6, 40_200, 1_310_000, 129_600_000, 3e12]
    assert [short_count(v) for v in values] == (
        ["0", "7.25", "950", "1k", "40.2k", "1.31M", "130M", "3e+03G"]
    )


# ---- the scripts in benchmarks/ ----------------------------------------------------------------


@pytest.fixture()
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


def test_ratio_script(scripts: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import ratio

    folder = tmp_path / "tokens"
    folder.mkdir()
    for seed in range(3):
        np.save(folder / f"{seed}.npy", samples.drive(20, seed=seed).astype(np.int16))
    arguments = [str(folder), "--solid", "--limit", "2", "--alphabet", "1024"]
    arguments += ["--only", "xz,tokenzip stored"]
    arguments += ["--json", str(tmp_path / "new" / "r.json"), "--markdown", str(tmp_path / "r.md")]
    assert ratio.main(arguments) == 0
    results = json.loads((tmp_path / "new" / "r.json").read_text())["results"]
    assert [(r["compressor"], r["solid"], r["grids"]) for r in results] == [
        ("xz -9e", False, 2),
        ("tokenzip stored", False, 2),
        ("xz -9e", True, 2),
        ("tokenzip stored", True, 2),
    ]
    assert (tmp_path / "r.md").read_text().count("| xz -9e |") == 2
    assert "tokenzip stored" in capsys.readouterr().out
    assert ratio.main([str(tmp_path / "none.npy")]) == 1
    assert "none.npy" in capsys.readouterr().err


def test_goals_script_skips_what_it_lacks(
    scripts: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import adaptive_goals

    monkeypatch.setenv("TOKENZIP_DATA", str(tmp_path))
    target = tmp_path / "goals.md"
    arguments = ["--only", "commavq,drive,encodec", "--markdown", str(target)]
    assert adaptive_goals.main(arguments) == 0
    assert target.read_text().count("skipped: no ") == 3
    assert "set TOKENZIP_DATA" in target.read_text()
    with pytest.raises(SystemExit):
        adaptive_goals.main(["--only", "world-peace"])


def test_goals_script_judges(scripts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import adaptive_goals as goals

    def outcomes(bits: float):  # type: ignore[no-untyped-def]
        compressed = result(compressed_bytes=int(1000 * bits))  # 8,000 tokens
        monkeypatch.setattr(goals, "_data", lambda name: [])
        monkeypatch.setattr(goals, "_ours", lambda clips, solid: compressed)
        return list(goals.commavq())

    good, between, bad = outcomes(5.4), outcomes(5.5), outcomes(5.6)
    assert [o.met for o in good[:2]] == [True, True]
    assert [o.met for o in between[:2]] == [True, False]
    assert [goals._missed(o) for o in between[:2]] == [False, False]  # an aim is no goal
    assert [goals._missed(o) for o in bad[:2]] == [True, False]
    # result() encodes 4,000 tokens a second and decodes 16,000, in 12 MB.
    assert [o.met for o in good[2:]] == [False, False, True]


def test_goals_script_remembers_zpaq(
    scripts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import adaptive_goals as goals

    calls = []

    def compare(clips, **options):  # type: ignore[no-untyped-def]
        calls.append(options["solid"])
        return [result(compressed_bytes=100 + len(calls))]

    monkeypatch.setattr(goals, "ZPAQ_CACHE", tmp_path / "out" / "cache.json")
    monkeypatch.setattr(goals.bench, "contenders", lambda: {"zpaq -m5": None})
    monkeypatch.setattr(goals.bench, "compare", compare)
    clips = [np.arange(6), np.arange(3)]
    assert [goals.zpaq_size(clips, solid) for solid in (False, True, False, True)] == (
        [101, 102, 101, 102]
    )
    assert goals.zpaq_size(clips[:1], False) == 103
    assert calls == [False, True, False]
    monkeypatch.setattr(goals.bench, "contenders", lambda: {"zpaq -m5": "the program zpaq"})
    assert goals.zpaq_size(clips, False) == 101
    with pytest.raises(goals.Skip, match="the program zpaq"):
        goals.zpaq_size([np.arange(9)], False)
