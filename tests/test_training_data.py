"""Training data: clips found and read in slices, validation split, streams of segments."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from training_data import made

from tokenzip import errors
from tokenzip.models import HISTORY, Geometry
from tokenzip.training.clips import inferred_alphabet, open_clips, split
from tokenzip.training.streams import Shape, Streams

GEOMETRY = Geometry.of((2, 3), 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same three clips as .npy, .npz and .h5."""
    clips = {name: made(20 + n, seed=n) for n, name in enumerate("abc")}
    (tmp_path / "npy").mkdir()
    for name, clip in clips.items():
        np.save(tmp_path / "npy" / f"{name}.npy", clip)
    np.savez_compressed(tmp_path / "all.npz", **clips, floats=np.zeros(3))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for name, clip in clips.items():
            data = file.create_dataset(f"clips/{name}/tokens", data=clip, chunks=(5, 2, 3))
            data.parent.attrs["source"] = "odd" if name == "b" else "even"
        file["clips/times"] = np.zeros(4)
    return tmp_path


@pytest.mark.parametrize("what", ["npy", "npy/*.npy", "all.npz", "all.h5"])
def test_every_kind_of_file_gives_the_same_clips(folder: Path, what: str) -> None:
    clips = open_clips(str(folder / what))
    assert len(clips) == 3 and clips.frame == (2, 3) and clips.largest == 7
    for number, clip in enumerate(clips):
        tokens = made(20 + number, seed=number)
        assert clip.frames == 20 + number and clip.tokens == tokens.size
        assert np.array_equal(clip.read(3, 9), tokens[3:9])
        assert np.array_equal(clip.part(4, 9).read(1), tokens[5:9])
        assert clip.repeats == pytest.approx((tokens[1:] == tokens[:-1]).mean())
    assert [clip.group for clip in clips] == (["even", "odd", "even"] if "h5" in what else [""] * 3)


def test_arrays_and_several_sources(folder: Path) -> None:
    clips = open_clips([made(5), str(folder / "npy"), made(6).astype(">i4")])
    assert [clip.frames for clip in clips] == [5, 6, 20, 21, 22]
    assert np.array_equal(clips.clips[1].read(), made(6))


def test_selection(folder: Path) -> None:
    assert len(open_clips(str(folder / "all.h5"), select=["clips/b"])) == 1
    assert len(open_clips(str(folder / "all.npz"), select=["a", "c"])) == 2
    with pytest.raises(errors.FileError, match="no dataset"):
        open_clips(str(folder / "all.h5"), select=["nothing"])


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", made(5))
    np.save(tmp_path / "b.npy", made(5, (4, 4)))
    with pytest.raises(errors.ShapeError, match=r"b\.npy: frames of shape 4 x 4.*a\.npy have 2 x"):
        open_clips(str(tmp_path))
    bad = made(5)
    bad[3, 1, 2] = 9
    np.save(tmp_path / "b.npy", bad)
    with pytest.raises(errors.TokenRangeError, match=r"b\.npy: token 9 at \(3, 1, 2\)") as caught:
        open_clips(str(tmp_path), alphabet=8)
    assert caught.value.index == (3, 1, 2) and caught.value.value == 9
    np.save(tmp_path / "b.npy", -bad.astype(int))
    with pytest.raises(errors.TokenRangeError, match=r"b\.npy: token -\d .* is negative"):
        open_clips(str(tmp_path))
    np.save(tmp_path / "b.npy", bad / 2)
    with pytest.raises(errors.DTypeError, match=r"b\.npy: tokens must be integers"):
        open_clips(str(tmp_path))
    (tmp_path / "b.npy").write_bytes(b"nonsense")
    with pytest.raises(errors.FileFormatError, match=r"b\.npy"):
        open_clips(str(tmp_path))
    with pytest.raises(errors.FileError, match="missing"):
        open_clips(str(tmp_path / "missing.npy"))
    with pytest.raises(errors.OptionError, match="alphabet"):
        open_clips(made(5), alphabet=1)
    with pytest.raises(errors.InputError, match="no tokens"):
        open_clips([np.zeros((0, 2, 3), int), np.zeros((4, 0), int)])
    with pytest.raises(errors.InputError, match="no tokens"):
        open_clips([])


def test_empty_clips_are_left_out() -> None:
    clips = open_clips([np.zeros((0, 2, 3), int), made(5)])
    assert len(clips) == 1 and clips.empty == 1


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", made(50))
    (clip,) = open_clips(str(tmp_path / "a.npy"))
    np.save(tmp_path / "a.npy", made(5))
    with pytest.raises(errors.FileError, match="changed while"):
        clip.read(10, 20)
    (tmp_path / "a.npy").unlink()
    with pytest.raises(errors.FileError, match="cannot be read any more"):
        clip.read(10, 20)


@pytest.mark.parametrize(
    ("largest", "alphabet"), [(0, 2), (1, 2), (2, 4), (1000, 1024), (1023, 1024), (1024, 2048)]
)
def test_the_alphabet_is_a_power_of_two(largest: int, alphabet: int) -> None:
    assert inferred_alphabet(open_clips(np.full((3, 2), largest))) == alphabet


def test_a_clip_stays_on_its_side(tmp_path: Path) -> None:
    for number in range(40):
        np.save(tmp_path / f"clip{number}.npy", made(3, seed=number))
    train, held = split(open_clips(str(tmp_path)), 0.2)
    assert held is not None and 2 <= len(held) <= 16 and len(train) + len(held) == 40
    for number in range(40, 50):
        np.save(tmp_path / f"clip{number}.npy", made(3, seed=number))
    more_train, more_held = split(open_clips(str(tmp_path)), 0.2)
    assert more_held is not None
    assert {c.name for c in train} <= {c.name for c in more_train}
    assert {c.name for c in held} <= {c.name for c in more_held}
    assert split(open_clips(str(tmp_path)), 0.0)[1] is None


def test_few_clips_are_split_too() -> None:
    for count in (2, 3, 4):
        train, held = split(open_clips([made(9, seed=n) for n in range(count)]), 0.01)
        assert held is not None and len(held) == 1 and len(train) == count - 1
    train, held = split(open_clips(made(40)), 0.1)
    assert held is not None and [train.clips[0].frames, held.clips[0].frames] == [36, 4]
    assert np.array_equal(held.clips[0].read(), made(40)[36:])
    train, held = split(open_clips(made(3)), 0.1)
    assert held is None and len(train) == 1


def test_the_fingerprint_knows_the_tokens() -> None:
    tokens = made(9)
    one = open_clips(tokens).fingerprint
    assert one == open_clips(tokens.astype(np.int64)).fingerprint and len(one) == 64
    tokens[4, 0, 0] ^= 1
    assert open_clips(tokens).fingerprint != one


def test_repetitive_clips_count_less() -> None:
    still = np.zeros((50, 2, 3), int)
    noise = np.random.default_rng(0).integers(0, 8, (50, 2, 3))
    lively, dull = open_clips([noise, still])
    assert lively.weight == 50 and dull.weight == pytest.approx(15)


def streams(lengths: tuple[int, ...], shape: Shape, seed: int = 0, rank: int = 0) -> Streams:
    clips = open_clips([made(length, seed=n) for n, length in enumerate(lengths)])
    return Streams(clips, GEOMETRY, shape, seed, rank)


def test_segments_follow_one_another() -> None:
    source = streams((100, 70), Shape(3, 8, 4))
    before = None
    runs = 0
    for _ in range(40):
        batch = source.next()
        assert batch.symbols.shape == (3, HISTORY + 8, 2, 3, 1) and batch.there.all()
        if before is not None:
            for n in np.flatnonzero(~batch.fresh):
                assert np.array_equal(batch.symbols[n, :HISTORY], before[n, -HISTORY:])
                runs += 1
        before = batch.symbols
    assert runs > 60


def test_segments_are_of_the_clips_with_what_comes_before() -> None:
    clips = [made(30, seed=n) for n in range(2)]
    source = Streams(open_clips(clips), GEOMETRY, Shape(2, 6, 2), 0)
    starts = 0
    for _ in range(30):
        for run in source.next().symbols[..., 0]:
            known = int((run[:HISTORY, 0, 0] < 8).sum())
            starts += known == 0
            assert (run[: HISTORY - known] == 8).all()
            found = [
                t
                for clip in clips
                for t in range(30 - 6 + 1)
                if np.array_equal(clip[t : t + 6], run[HISTORY:])
                and np.array_equal(clip[max(0, t - HISTORY) : t], run[HISTORY - known : HISTORY])
            ]
            assert found and known == min(HISTORY, found[0])
    assert starts > 0


def test_clips_shorter_than_a_segment() -> None:
    source = streams((3, 1), Shape(4, 8, 2))
    lengths = set()
    for _ in range(10):
        batch = source.next()
        assert batch.fresh.all()
        lengths |= set(batch.there.sum(1).tolist())
        assert (np.diff(batch.there.astype(int), axis=1) <= 0).all()
        assert (batch.symbols[:, HISTORY:] < 8).all()  # also where nothing is: it is costed
    assert lengths == {1, 3}


def test_streams_go_on_from_a_saved_place() -> None:
    source = streams((100, 30, 5), Shape(3, 8, 3), seed=4)
    for _ in range(7):
        source.next()
    state = source.state()
    wanted = [source.next() for _ in range(10)]
    again = streams((100, 30, 5), Shape(3, 8, 3), seed=9)
    again.restore(state)
    for batch in wanted:
        other = again.next()
        assert np.array_equal(batch.symbols, other.symbols)
        assert np.array_equal(batch.fresh, other.fresh)


def test_processes_see_different_segments() -> None:
    shape = Shape(2, 8, 2)
    a, b = (streams((100, 90), shape, rank=rank).next() for rank in (0, 1))
    assert not np.array_equal(a.symbols, b.symbols)


@pytest.mark.parametrize(
    ("frame", "longest", "shape"),
    [
        ((8, 16), 1200, (4, 16)),
        ((8,), 600, (16, 64)),
        ((32, 32), 1, (8, 1)),
        ((32, 32), 100, (2, 4)),
        ((64, 64), 100, (1, 4)),
        ((), 10_000, (128, 64)),
    ],
)
def test_steps_are_sized_in_symbols(
    frame: tuple[int, ...], longest: int, shape: tuple[int, int]
) -> None:
    found = Shape.of(Geometry.of(frame, 1024), longest, 8192, 6, None)
    assert (found.streams, found.frames) == shape
