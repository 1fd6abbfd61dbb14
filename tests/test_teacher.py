"""Learning from a teacher: its lessons, what they do to the loss, and whole runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_data import TINY, made, settings, write_clips

import tokenzip
from tokenzip import errors

torch = pytest.importorskip("torch")

from tokenzip.models import Geometry, new_spec  # noqa: E402
from tokenzip.training import lessons as lessons_module  # noqa: E402
from tokenzip.training.clips import open_clips  # noqa: E402
from tokenzip.training.functions import cost  # noqa: E402
from tokenzip.training.lessons import INVENTED_FRAMES, KEPT, taught  # noqa: E402
from tokenzip.training.streams import Shape, Streams  # noqa: E402
from tokenzip.training.teacher import check_teacher, load_teacher  # noqa: E402
from tokenzip.training.twin import Taught, Twin  # noqa: E402


class Repeats:
    """A teacher that holds a repeat of the last frame for likely, four times in five."""

    frames = 2

    def __init__(self, alphabet: int = 8) -> None:
        self.alphabet, self.asked = alphabet, 0

    def __call__(self, context: Any) -> Any:
        assert context.dtype == torch.int64 and context.shape[1] == self.frames
        self.asked += len(context)
        rest = 0.2 / (self.alphabet - 1)
        last = torch.nn.functional.one_hot(context[:, -1], self.alphabet)
        return torch.log(rest + (0.8 - rest) * last) + 3.0  # not normalised


SOURCE = """
import torch

class Even:
    frames = 1
    def __call__(self, context):
        return torch.zeros(*context[:, 0].shape, 8)

def load():
    return Even()

def fails():
    raise RuntimeError("no weights")

def number():
    return 7
"""


def shown(folder: Path, frames: int = 0, **more: Any) -> Any:
    return taught(folder, Repeats(), open_clips([made(30), made(20, seed=1)]), 8, frames, **more)


# Lessons


def test_lessons_are_the_teachers_probabilities(tmp_path: Path) -> None:
    clips = shown(tmp_path / "l")
    assert [clip.invented for clip in clips] == [False, False]
    symbols, likely = clips.clips[0].lessons.read(3, 9)
    assert symbols.shape == likely.shape == (6, 2, 3, 8)  # all of a small alphabet
    tokens = made(30)
    # The first is the token of the frame before: its 0.8 to within a sixteenth of a bit.
    assert np.array_equal(symbols[..., 0], tokens[2:8])
    assert np.allclose(np.log2(likely[..., 0]), np.log2(0.8), atol=1 / 16 + 1e-6)
    assert np.array_equal(np.sort(symbols, -1), np.broadcast_to(np.arange(8), symbols.shape))
    # Before the start there are zeros.
    assert (clips.clips[0].lessons.read(0, 1)[0][..., 0] == 0).all()
    part = clips.clips[1].part(5, 15)
    assert np.array_equal(part.lessons.read(0, 4)[0], clips.clips[1].lessons.read(5, 9)[0])


def test_only_the_likeliest_of_many_are_kept(tmp_path: Path) -> None:
    clips = open_clips(made(20, alphabet=500))
    found = taught(tmp_path / "l", Repeats(500), clips, 500, 0)
    symbols, likely = found.clips[0].lessons.read(5, 6)
    assert symbols.shape[-1] == KEPT and likely.sum(-1).max() < 1


def test_invented_clips_go_on_from_real_ones(tmp_path: Path) -> None:
    clips = shown(tmp_path / "l", 4 * INVENTED_FRAMES + 1)
    invented = [clip for clip in clips if clip.invented]
    assert len(invented) == 8
    for clip in invented:
        assert clip.frames == INVENTED_FRAMES + 2
        tokens = clip.read()
        assert tokens.dtype == np.uint16 and tokens.max() < 8
        begun = [made(30), made(20, seed=1)]
        starts = [a[t : t + 2] for a in begun for t in range(len(a) - 1)]
        assert any(np.array_equal(tokens[:2], start) for start in starts)
        # It repeats itself about as often as the teacher thinks tokens do.
        assert 0.6 < (tokens[1:] == tokens[:-1]).mean() < 0.9
        assert np.array_equal(clip.lessons.read(2, 58)[0][..., 0], tokens[1:57])
    assert len({clip.read().tobytes() for clip in invented}) == 8


def test_lessons_there_are_not_asked_for_again(tmp_path: Path) -> None:
    first = shown(tmp_path / "l", 200)
    names = sorted(path.name for path in (tmp_path / "l").iterdir())
    (tmp_path / "l" / "invented-00002.npy").unlink()  # as if it had been killed before
    content = (tmp_path / "l" / "invented-00003.npy").read_bytes()
    teacher = Repeats()
    clips = open_clips([made(30), made(20, seed=1)])
    again = taught(tmp_path / "l", teacher, clips, 8, 200)
    assert teacher.asked == 4 * INVENTED_FRAMES  # that round, and nothing about real clips
    assert sorted(path.name for path in (tmp_path / "l").iterdir()) == names
    assert (tmp_path / "l" / "invented-00003.npy").read_bytes() == content
    assert again.fingerprint == first.fingerprint


def test_a_request_to_stop_ends_the_inventing(tmp_path: Path) -> None:
    assert not any(clip.invented for clip in shown(tmp_path / "l", 500, stop=lambda: True))


def test_lessons_of_other_data_are_refused(tmp_path: Path) -> None:
    shown(tmp_path / "l")
    with pytest.raises(errors.OptionError, match="lessons of other data"):
        taught(tmp_path / "l", Repeats(), open_clips(made(31)), 8, 0)
    with pytest.raises(errors.OptionError, match="lessons of other data"):
        shown(tmp_path / "l", seed=1)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(errors.FileError, match="cannot be used for lessons"):
        shown(tmp_path / "file" / "l")
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "lessons.json").write_text("{")
    with pytest.raises(errors.FileError, match="cannot be used for lessons"):
        shown(tmp_path / "l")


# Teachers


def test_a_teacher_is_loaded_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(SOURCE)
    assert load_teacher(f"{path}:load").frames == 1
    wrong = {
        f"{path}": "FILE.py:FUNCTION",
        f"{path}:absent": "absent",
        f"{path}:fails": "RuntimeError: no weights",
        f"{path}:number": "int",
        f"{tmp_path}/none.py:load": "no file",
        "no_such_module_here:load": "No module named",
    }
    for where, message in wrong.items():
        with pytest.raises(errors.OptionError, match=message):
            load_teacher(where)
    with pytest.raises(errors.OptionError, match="attribute `frames`"):
        check_teacher(lambda context: context)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda context: torch.zeros(len(context), 2, 3, 9), r"not \(4, 2, 3, 8\)"),
        (lambda context: torch.full((len(context), 2, 3, 8), torch.nan), "not finite"),
    ],
)
def test_answers_that_make_no_sense(tmp_path: Path, answer: Any, message: str) -> None:
    teacher = type("Wrong", (), {"frames": 1, "__call__": lambda self, context: answer(context)})()
    with pytest.raises(errors.OptionError, match=message):
        taught(tmp_path / "l", teacher, open_clips(made(30)), 8, 0)


def test_tokens_split_in_two_cannot_be_taught(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="up to 4096"):
        taught(tmp_path / "l", Repeats(5000), open_clips(made(30, alphabet=5000)), 5000, 0)


# The loss


def test_shares_weigh_the_costs_of_targets() -> None:
    torch.manual_seed(0)
    scores = torch.randn(5, 8 + 2, requires_grad=True)
    candidates = torch.randint(0, 9, (5, 2))
    targets = torch.randint(0, 8, (5, 3))
    shares = torch.tensor([0.5, 0.2, 0.1]).expand(5, 3).contiguous()

    def of(targets: Any, shares: Any = None) -> Any:
        return cost(scores.clone(), candidates, targets, shares)

    each = [of(targets[:, k]) * shares[:, k] for k in range(3)]
    # What is left over is all symbols' alike.
    each += [of(torch.full((5,), symbol)) * 0.2 / 8 for symbol in range(8)]
    wanted, found = torch.stack(each).sum(0), of(targets, shares)
    assert torch.allclose(found, wanted, atol=1e-5)
    gradients = [torch.autograd.grad(bits.sum(), scores)[0] for bits in (found, wanted)]
    assert torch.allclose(*gradients, atol=1e-5)
    assert torch.allclose(of(targets[:, :1], torch.ones(5, 1)), of(targets[:, 0]), atol=1e-5)


@pytest.mark.parametrize("frame", [(2, 3), (3,)], ids=["video", "codebooks"])
def test_the_blind_see_nothing_of_the_frame_they_predict(frame: tuple[int, ...]) -> None:
    spec = new_spec("lstm", "small", Geometry.of(frame, 8), **TINY)
    geometry = spec.geometry
    torch.manual_seed(0)
    twin = Twin(spec).eval()
    with torch.no_grad():
        for head in twin.heads:
            head.output.weight.mul_(50)
    symbols = torch.randint(0, 8, (2, 5, geometry.height, geometry.width, geometry.planes))
    other = symbols.clone()
    other[:, -1] = (other[:, -1] + torch.randint(1, 8, other[:, -1].shape)) % 8
    labels = torch.zeros(*symbols[:, 4:].shape, 1, dtype=torch.int64)
    lesson = Taught(torch.tensor([True, False]), labels, torch.ones(labels.shape))
    a, b = (twin(x, None, torch.float32, lesson)[0].detach() for x in (symbols, other))
    assert torch.equal(a[0], b[0]) and not torch.equal(a[1], b[1])
    # They do see the frames before.
    other = symbols.clone()
    other[:, -2] = (other[:, -2] + 1) % 8
    assert not torch.equal(twin(other, None, torch.float32, lesson)[0].detach()[0], a[0])


def test_streams_mix_truth_and_lessons(tmp_path: Path) -> None:
    clips = shown(tmp_path / "l", 300)
    streams = Streams(clips, Geometry.of((2, 3), 8), Shape(6, 8, 2), 0, 0, 0.25)
    seen: dict[tuple[bool, bool], int] = {}
    for _ in range(40):
        batch = streams.next()
        state = streams.state()["streams"]
        for row, (number, _, _, blind) in enumerate(state):
            clip = clips.clips[number]
            assert batch.blind[row] == blind and (blind or not clip.invented)
            seen[clip.invented, blind] = seen.get((clip.invented, blind), 0) + 1
            there = batch.there[row]
            truth = batch.symbols[row, 4:][there]
            assert np.array_equal(batch.labels[row][there][..., 0], truth)
            share = batch.shares[row][there]
            assert np.allclose(share[..., 0], 0.0 if blind else 0.75)
            assert np.allclose(share.sum(-1), 1, atol=0.05)
    invented = sum(count for (made_up, _), count in seen.items() if made_up)
    assert 0.6 < invented / sum(seen.values()) < 0.9
    assert seen[False, True] > 0 and seen[False, False] > 0
    again = Streams(clips, Geometry.of((2, 3), 8), Shape(6, 8, 2), 1, 0, 0.25)
    again.restore(streams.state())
    assert np.array_equal(again.next().labels, streams.next().labels)


def test_clips_without_lessons_may_be_among_them(tmp_path: Path) -> None:
    clips = shown(tmp_path / "l")
    mixed = clips.only([clips.clips[0], replace(clips.clips[1], lessons=None)])
    streams = Streams(mixed, Geometry.of((2, 3), 8), Shape(4, 8, 2), 0, 0, 0.5)
    for _ in range(10):
        batch = streams.next()
        for row, (number, *_) in enumerate(streams.state()["streams"]):
            if number == 1:
                assert not batch.blind[row] and (batch.shares[row][..., 0] == 1).all()
                assert (batch.shares[row][..., 1:] == 0).all()


# Whole runs


def test_a_teacher_helps_where_there_is_little_to_learn_from(tmp_path: Path) -> None:
    """40 tokens say little; the teacher knows how tokens come about."""
    data, val = made(20, (1, 2)), made(2000, (1, 2), seed=1)
    chosen = settings(steps=150, batch=256, lr=1e-2, dropout=0.0, patience=0)

    class OneRow(Repeats):
        pass

    alone = tokenzip.train(data, val=val, alphabet=8, **chosen)
    helped = tokenzip.train(
        *(data,),
        val=val,
        alphabet=8,
        teacher=OneRow(),
        teacher_frames=1000,
        lessons=tmp_path / "l",
        **chosen,
    )
    bits = [model.summary["validation"]["bits_per_token"] for model in (alone, helped)]
    assert bits[1] < 0.9 * bits[0]
    assert helped.summary["teacher"]["name"] == "OneRow"
    assert helped.summary["teacher"]["invented_tokens"] >= 2000
    assert helped.summary["data"]["clips"] == 1


def test_the_same_run_gives_the_same_model_and_resumes(tmp_path: Path) -> None:
    paths = write_clips(tmp_path)
    chosen = settings(steps=8, teacher=Repeats(), teacher_frames=100, alphabet=8)
    models = [
        tokenzip.train(paths, output=tmp_path / f"{n}.safetensors", **chosen) for n in range(2)
    ]
    assert models[0].identity == models[1].identity
    assert (tmp_path / "0.safetensors.lessons").is_dir()
    path = tmp_path / "c"
    more = {"lessons": tmp_path / "0.safetensors.lessons", "checkpoint": path}
    tokenzip.train(paths, **more, **{**chosen, "steps": 5})
    resumed = tokenzip.train(paths, resume=True, **more, **chosen)
    assert resumed.summary["steps"] == 8
    with pytest.raises(errors.CheckpointError, match="teacher_share"):
        tokenzip.train(paths, resume=True, teacher_share=0.5, **more, **chosen)


def test_lessons_need_a_place() -> None:
    with pytest.raises(errors.OptionError, match="need a place"):
        tokenzip.train(made(60), teacher=Repeats(), alphabet=8, **settings())


@pytest.mark.parametrize("wrong", [{"teacher_share": 1.5}, {"teacher_frames": -1}])
def test_options_that_make_no_sense(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.OptionError, match="teacher_"):
        tokenzip.train(made(60), teacher=Repeats(), lessons=tmp_path, **wrong, **settings())


def test_a_killed_write_leaves_no_half_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lessons_module.write_npy

    def full(file: Any, array: Any) -> None:
        real(file, array)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lessons_module, "write_npy", full)
    with pytest.raises(errors.FileError, match="No space left"):
        shown(tmp_path / "l")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "l").iterdir()] == ["lessons.json"]
    shown(tmp_path / "l")
