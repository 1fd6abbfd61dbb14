"""Networks fitted to data: weights that cost few bits, the verdict, ending early, going on."""

from __future__ import annotations

import functools
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_data import TINY, made

import tokenzip
from tokenzip.errors import CheckpointError, FileError, InputError, OptionError

torch = pytest.importorskip("torch")

from tokenzip.fitting import decide as decision  # noqa: E402
from tokenzip.fitting import fit as fitting  # noqa: E402
from tokenzip.fitting import sizes  # noqa: E402
from tokenzip.fitting.fit import FitOptions, Progress, TrainingInterrupted, fit  # noqa: E402
from tokenzip.models import Geometry, Model, new_spec  # noqa: E402
from tokenzip.models.packed import pack  # noqa: E402
from tokenzip.training import validation  # noqa: E402
from tokenzip.training.clips import open_clips  # noqa: E402
from tokenzip.training.compact import _STEP_SPEED, CompactLayer, CompactTwin  # noqa: E402
from tokenzip.training.distributed import world  # noqa: E402
from tokenzip.training.evaluate import evaluate_clips  # noqa: E402
from tokenzip.training.export import export  # noqa: E402
from tokenzip.training.loop import Loop, Outcome  # noqa: E402
from tokenzip.training.options import Options  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks and steps that take milliseconds, and no data too small for them."""
    tiny = tuple(TINY[name] for name in ("embedding", "state", "hidden"))
    monkeypatch.setattr(fitting, "LEAST_BYTES", 0)
    monkeypatch.setattr(sizes, "SIZES", {"tiny": tiny, "small": tiny})
    monkeypatch.setattr(fitting, "batch_symbols", lambda device: 192)


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    """Every network pays."""
    pays = functools.partial(decision.Verdict, solid=False)

    def decide(model: Model, clips: Any, **_: Any) -> decision.Verdict:
        return pays(clips.tokens, clips.tokens, 1, 10**9, len(pack(model)))

    monkeypatch.setattr(fitting, "decide", decide)


def options(**more: Any) -> FitOptions:
    return FitOptions(**{"steps": 8, "device": "cpu", "threads": 1, **more})


def clips_of(*arrays: np.ndarray) -> Any:
    return open_clips(list(arrays))


def run_twin(symbols: float, steps: int = 60) -> tuple[Outcome, Loop, Any]:
    clips = clips_of(made(200, seed=3), made(150, seed=4))
    learning = Options(
        preset="small",
        sizes=TINY,
        steps=steps,
        batch=192,
        segment=8,
        lr=8e-3,
        dropout=0.0,
        dtype="float32",
        device="cpu",
        threads=1,
        patience=0,
    )
    spec = new_spec("lstm", "small", Geometry.of((2, 3), 8), **TINY)
    with world("cpu") as here:
        network = functools.partial(CompactTwin, symbols=symbols)
        loop = Loop(spec, learning, clips, clips, here, network=network)
        return loop.run(), loop, clips


# Weights


def test_the_integers_cost_what_the_twin_says() -> None:
    outcome, loop, clips = run_twin(symbols=1e6)
    model = loop.model({})
    found = evaluate_clips(model, clips)
    twin = validation.cost(outcome.twin, clips.clips, torch.float32, torch.device("cpu"))
    assert twin is not None
    assert found.bits_per_token == pytest.approx(twin.per_token, rel=0.05)
    for tensor in (model.tensors["embedding"], model.tensors["position"]):
        assert not (tensor % 8).any()
    assert not model.tensors["head.0.site_bias"].any()


def test_weights_are_cheap_where_they_are_shared_by_few() -> None:
    dear, cheap = (run_twin(symbols)[1].model({}) for symbols in (1e3, 1e7))
    assert len(pack(dear)) < 0.7 * len(pack(cheap))


def test_the_price_is_about_what_packing_comes_to() -> None:
    spec = new_spec("lstm", "small", Geometry.of((4, 4), 256), embedding=16, state=64, hidden=64)
    torch.manual_seed(0)
    twin = CompactTwin(spec, symbols=1e6)
    twin(torch.randint(0, 256, (1, 6, 4, 4, 1)))
    price = float(twin.weight_bits().detach()) / 8
    model = export(twin)
    rest = {name: t for name, t in model.tensors.items() if t.dtype != np.int8}
    weights = len(pack(model, 2)) - sum(len(pack_of(tensor)) for tensor in rest.values())
    assert price == pytest.approx(weights, rel=0.06)


def pack_of(tensor: np.ndarray) -> bytes:
    """About what a tensor that is no matrix takes."""
    import zlib

    values = (
        np.diff(tensor, 2, prepend=np.zeros(2, np.int16)) if tensor.dtype == np.int16 else tensor
    )
    planes = np.atleast_1d(values).view(np.uint8).reshape(-1, tensor.dtype.itemsize).T
    return zlib.compress(planes.tobytes(), 9)


def test_gradients_of_weights_and_steps() -> None:
    """What rounding hides is not there; a step's gradient is that of what is rounded away."""
    layer = CompactTwin.layer(3, 5)
    values = layer.rounded(torch.float32)
    values.sum().backward()
    assert torch.equal(layer.weight.grad, torch.ones(3, 5))
    away = (values - layer.weight).detach().sum(1)
    wanted = away * np.log(2) * 10  # by the logarithm, which moves ten times as fast
    assert torch.allclose(layer.log_step.grad, wanted, atol=1e-5)


def test_weights_beyond_the_most_steps_make_steps_larger() -> None:
    """A weight that is cut off wants a larger step as much as it wants to be larger itself."""
    layer = CompactLayer(1, 2)
    with torch.no_grad():
        layer.log_step.fill_(math.log2(0.5) / _STEP_SPEED)
        layer.weight.copy_(torch.tensor([[0.5 * 1000, 0.5 * 3]]))
    for towards in (-1.0, 1.0):
        layer.weight.grad = layer.log_step.grad = None
        values = layer.rounded(torch.float32)
        assert values.tolist() == [[0.5 * 127, 0.5 * 3]]
        (towards * values[0, 0]).backward()
        found = (layer.log_step.grad.item(), *layer.weight.grad[0].tolist())
        of_step = towards * 127 * 0.5 * math.log(2) * _STEP_SPEED
        # Outwards it is cut off already; back it may come.
        assert found == pytest.approx((of_step, max(towards, 0.0), 0.0))


# The verdict


def test_too_few_tokens_need_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "Loop", None)
    said: list[str] = []
    assert fit(clips_of(made(100)), 8, options(), note=said.append) is None
    assert said == ["no network: 600 tokens are too few for one to pay"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("solid", [False, True])
def test_a_network_that_does_not_pay_is_left_out(solid: bool) -> None:
    said: list[str] = []
    clips = clips_of(made(40, seed=1), made(30, seed=2))
    assert fit(clips, 8, options(solid=solid), note=said.append) is None
    assert said[-1].startswith("no network: ") and "bytes with a network" in said[-1]


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize(
    ("frame", "alphabet"), [((2, 3), 8), ((3,), 5), ((), 2), ((2, 2), 5000), ((1, 2, 4), 16)]
)
def test_a_fitted_network_codes_its_data(frame: tuple[int, ...], alphabet: int) -> None:
    clips = [made(30, frame, alphabet, seed=1), made(1, frame, alphabet, seed=2)]
    model = tokenzip.fit(clips, steps=4, device="cpu", threads=1)
    assert model is not None and model.summary["verdict"]["without"] == 10**9
    blob = tokenzip.encode(clips, model=model, embed_model=True, solid=True)
    for a, b in zip(clips, tokenzip.decode(blob), strict=True):
        assert np.array_equal(a, b) and a.dtype == b.dtype


@pytest.mark.usefixtures("generous")
def test_one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokenzip.fit(made(1), steps=2, device="cpu") is not None


def test_the_verdict_is_that_of_real_blobs() -> None:
    clips = clips_of(made(6000, seed=1), made(3000, seed=2))
    model = run_twin(symbols=1e6, steps=4)[1].model({})
    verdict = decision.decide(model, clips, solid=True)
    arrays = [clip.read() for clip in clips]
    blob = tokenzip.encode(arrays, alphabet=8, model=model, solid=True, embed_model=True)
    assert verdict.with_model + verdict.model == pytest.approx(len(blob), abs=8)
    assert verdict.without == len(
        tokenzip.encode(arrays, alphabet=8, predictor="adaptive", solid=True)
    )
    part = decision.decide(model, clips, most_tokens=600, tokens=540_000)
    assert (part.tokens, part.looked_at) == (540_000, 600)
    assert part.without > 5 * verdict.without


@pytest.mark.parametrize(
    ("own", "without", "looked_at", "solid", "pays"),
    [
        (900, 1000, 50, False, False),
        (899, 1000, 50, False, True),
        (896, 1000, 40, False, False),
        (890, 1000, 40, False, True),
        (890, 1000, 40, True, False),
        (800, 1000, 40, True, True),
    ],
)
def test_margins(own: int, without: int, looked_at: int, solid: bool, pays: bool) -> None:
    assert decision.Verdict(50, looked_at, own, without, 100, solid).pays is pays


def test_samples_hold_whole_clips() -> None:
    clips = clips_of(*(made(n, seed=n) for n in (20, 30, 40, 50)))
    assert [len(part) for part in decision.sample(clips, 10**6)] == [20, 30, 40, 50]
    some = decision.sample(clips, 6 * 75)
    assert [len(part) for part in some] == [20, 40]
    assert [len(part) for part in decision.sample(clips, 6 * 5)] == [5]
    assert [len(part) for part in decision.sample(clips, 1)] == [1]


# Sizes


def test_sizes_grow_with_data_and_budget() -> None:
    geometry = Geometry.of((8, 16), 1024)
    order = list(sizes.SIZES)
    chosen = [
        order.index(sizes.choose(geometry, tokens, dict.fromkeys(order, seen)))
        for tokens, seen in ((3e5, 1e7), (1e7, 1e7), (1e9, 1e9))
    ]
    assert chosen == sorted(chosen) and chosen[0] == 0 and chosen[2] == len(order) - 1


def test_slower_sizes_see_less() -> None:
    geometry = Geometry.of((8, 16), 1024)
    rates = [sizes.rate_of(name, geometry, "small", 1000.0) for name in sizes.SIZES]
    assert rates == sorted(rates, reverse=True) and rates[1] == pytest.approx(1000)


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize("budget", [{"steps": 3}, {"steps": None, "minutes": 0.01}])
def test_the_size_is_chosen(budget: dict[str, Any]) -> None:
    said: list[str] = []
    model = fit(clips_of(made(60)), 8, options(**budget), note=said.append)
    assert model is not None and any("suits 360 tokens" in line for line in said)


# Ending early, going on


def interrupting(after: int, what: Callable[[], Any]) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step == after and not progress.validated:
            what()

    return report


@pytest.mark.usefixtures("generous")
def test_going_on_makes_the_same_network(tmp_path: Path) -> None:
    clips, path = clips_of(made(90)), tmp_path / "x.fit"
    chosen = options(size="tiny", steps=30, checkpoint_seconds=0.0)
    whole = fit(clips, 8, chosen)

    def stop() -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit(clips, 8, chosen, checkpoint=path, report=interrupting(21, stop))
    said: list[str] = []
    resumed = fit(clips, 8, chosen, checkpoint=path, note=said.append)
    assert whole is not None and resumed is not None
    assert resumed.identity == whole.identity and said[0] == f"going on from {path}"
    with pytest.raises(CheckpointError, match="other training data"):
        fit(clips_of(made(91)), 8, chosen, checkpoint=path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError):
        fit(clips, 8, chosen, checkpoint=path)


@pytest.mark.usefixtures("generous")
def test_the_checkpoint_goes_when_it_has_served(tmp_path: Path) -> None:
    path = tmp_path / "x.fit"
    assert tokenzip.fit(made(50), steps=4, device="cpu", checkpoint=path) is not None
    assert not path.exists()
    with pytest.raises(FileError, match="there is no directory"):
        tokenzip.fit(made(50), steps=4, device="cpu", checkpoint=tmp_path / "no" / "x.fit")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.usefixtures("generous")
def test_control_c_keeps_what_there_is() -> None:
    said: list[str] = []
    stop = interrupting(5, lambda: os.kill(os.getpid(), signal.SIGINT))
    model = fit(clips_of(made(90)), 8, options(steps=10**6), report=stop, note=said.append)
    assert model is not None and model.summary["steps"] == 5
    assert "training was ended early: going on with the network that there is" in said


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.usefixtures("generous")
def test_sigterm_leaves_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.fit"
    stop = interrupting(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingInterrupted, match="goes on from") as caught:
        fit(clips_of(made(90)), 8, options(steps=10**6), checkpoint=path, report=stop)
    assert caught.value.number == signal.SIGTERM and path.exists()


# Arguments


def test_odd_data_and_options() -> None:
    for wrong in ({"size": "huge"}, {"predictor": "adaptive"}, {"predictor": "conv3d"}):
        with pytest.raises(OptionError):
            tokenzip.fit(made(20), **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        tokenzip.fit(np.zeros((0, 2, 3), np.uint8))
    with pytest.raises(InputError):
        tokenzip.fit([made(9), made(9, (3, 3))])
    with pytest.raises(InputError):
        tokenzip.fit(made(9) + 0.5)
    with pytest.raises(OptionError):
        tokenzip.fit(made(9), minutes=1, steps=1)
    assert replace(options(), size="tiny").size == "tiny"


@pytest.mark.usefixtures("small")
def test_weights_weigh_more_beside_a_mixer(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = []

    def loop(*_: Any, network: Any, **__: Any) -> None:
        shared.append(network.keywords["symbols"])
        raise RuntimeError("seen")

    monkeypatch.setattr(fitting, "Loop", loop)
    for predictor in ("lstm", "hybrid"):
        for tokens in (None, 10**6):
            with pytest.raises(RuntimeError, match="seen"):
                chosen = options(predictor=predictor, size="tiny")
                fit(clips_of(made(50, (2, 4))), 8, chosen, tokens=tokens)
    assert shared[:2] == [400, 10**6]
    assert all(0.3 < b / a < 1 for a, b in zip(shared[:2], shared[2:], strict=True))
