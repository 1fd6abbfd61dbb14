"""How heads of networks learn from a clip: the gradient, its rates and limits, and when.

That encoder, decoder and every backend do it alike is in test_hybrid.py, FORMAT.md's words for it
in test_hybrid_reference.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends import make
from network_cases import TINY, calm_tokens, flat, tiny_model
from numpy.testing import assert_array_equal
from reference import hybrid_decoder
from reference.network_decoder import read_model_file

import tokenzip
from tokenzip.coding.tables import tables_from_scores
from tokenzip.integer.head import SeenByOutput
from tokenzip.models import HISTORY, Geometry, Model, new_spec
from tokenzip.models.blank import blank_model
from tokenzip.predictors.hybrid import HybridCoder
from tokenzip.predictors.hybrid import head_learner as head_learner_module
from tokenzip.predictors.hybrid.head_learner import (
    LEAST_ROWS,
    MOST_ERRORS,
    HeadLearner,
    head_learner,
)
from tokenzip.predictors.network.network import Network

NUMBA = make("numba")


def learner_of(model: Model) -> HeadLearner:
    return HeadLearner(Network(model, NUMBA), NUMBA)


def coder_of(model: Model, clip: np.ndarray, version: int = 2) -> HybridCoder:
    return HybridCoder(Network(model, NUMBA), NUMBA, clip.shape[1:], clip.size, version)


def changed(model: Model, **tensors: Any) -> Model:
    """The model with other tensors; `__` stands for the dots in their names."""
    named = {name.replace("__", "."): value for name, value in tensors.items()}
    return Model(model.spec, {**model.tensors, **named}, {})


def seen_by(network: Network, tokens: np.ndarray) -> tuple[Any, list[SeenByOutput], np.ndarray]:
    """The body's output in all frames, what heads see, and the errors of the network's tables."""
    symbols = network.geometry.to_symbols(tokens)
    history = network.followed(network.no_symbols(1, HISTORY), symbols[None])
    embedded, features, _ = network.look(history, network.begin(1))
    planes = list(network.seen(history, embedded, features))
    flat_symbols = symbols.reshape(-1)
    errors = np.empty((flat_symbols.size, network.geometry.symbols), np.int16)
    for plane, (seen, (*_, output)) in enumerate(zip(planes, network.head_layers, strict=True)):
        rows = slice(plane, None, len(planes))
        scores = NUMBA.scores(seen.z, NUMBA.layer(output), seen.candidates)
        freq = np.diff(tables_from_scores(scores).astype(np.int64), axis=1)
        freq[np.arange(len(freq)), flat_symbols[rows]] -= 2**24
        errors[rows] = (freq + 2**9) >> 10
    return features, planes, errors


@pytest.mark.parametrize(("frame", "alphabet", "frames"), [((3, 5), 40, 2), ((4,), 30, 9)])
def test_a_step_is_the_gradient_of_the_twin(
    frame: tuple[int, ...], alphabet: int, frames: int
) -> None:
    """By autograd, through the float network that these integers come from."""
    torch = pytest.importorskip("torch")
    from tokenzip.training.export import export
    from tokenzip.training.twin import Twin

    torch.manual_seed(0)
    spec = new_spec("lstm", "small", Geometry.of(frame, alphabet))
    twin = Twin(spec)
    with torch.no_grad():
        for head in twin.heads:
            head.output.weight *= 10
    tokens = calm_tokens((frames, *frame), alphabet, 1, "uint16")
    learner = learner_of(export(twin))
    before = [plane.fine.copy() for plane in learner._planes]
    learner.learn(*seen_by(learner.network, tokens))

    geometry = spec.geometry
    shape = (HISTORY + frames, geometry.height, geometry.width, geometry.planes)
    symbols = torch.full((1, *shape), geometry.symbols)
    own = torch.from_numpy(geometry.to_symbols(tokens).astype(np.int64))
    symbols[0, HISTORY:] = own.reshape(symbols[0, HISTORY:].shape)
    bits, _ = twin(symbols)
    bits.sum().backward()
    for plane, head, start in zip(learner._planes, twin.heads, before, strict=True):
        moved = (plane.fine - start) / 2**16 * head.layer.step().numpy()
        strength = head.output.weight[: geometry.symbols].detach().square().mean().sqrt() / 64
        # The rate is 2**34 / 2**49, for costs in bits.
        wanted = (-(2.0**-15) / strength * head.layer.weight.grad).numpy()
        likeness = (moved * wanted).sum() / np.sqrt((moved**2).sum() * (wanted**2).sum())
        assert likeness > 0.99
        assert (moved**2).sum() == pytest.approx((wanted**2).sum(), rel=0.1)


def test_it_learns_what_the_network_does_not_know() -> None:
    """After a clip whose tokens count up, the network itself expects that."""
    rng = np.random.default_rng(0)
    clip = (np.arange(120)[:, None, None] + rng.integers(0, 20, (4, 6))) % 20
    coder = coder_of(tiny_model("lstm", (4, 6), 20, hidden=24, embedding=8), clip)
    coder.encode(clip.astype(np.uint16))
    steps = []
    for network in (coder._trained, coder._network):
        priors = NUMBA.numpy(network.priors(seen_by(network, clip.astype(np.uint16))[1]))
        steps.append(priors[np.arange(clip.size), 0, clip.reshape(-1)].mean())
    assert steps[1] < 0.8 * steps[0]


def test_version_1_does_not_learn() -> None:
    clip = calm_tokens((40, 3, 4), 20, dtype="uint16")
    coder = coder_of(tiny_model("lstm", (3, 4), 20), clip, version=1)
    payload = coder.encode(clip)
    assert coder._heads is None and coder.parameters() == b"\1"
    coder.reset()
    assert_array_equal(coder.decode(payload, 40), clip)


@pytest.mark.parametrize(
    ("frame", "frames", "steps"),
    [((3, 12), 3, 3), ((3, 4), 7, 3), ((3, 4), 6, 2), ((), 70, 3), ((5,), 32, 1), ((5,), 33, 2)],
)
def test_when_it_learns(
    frame: tuple[int, ...], frames: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 32 rows of each plane or more, whole frames, and after a chunk's last frame."""
    clip = calm_tokens((frames, *frame), 20, dtype="uint16")
    coder = coder_of(tiny_model("lstm", frame, 20), clip)
    learned: list[int] = []
    learn = HeadLearner.learn

    def counting(self: HeadLearner, features: Any, seen: Any, errors: np.ndarray) -> None:
        learned.append(len(seen[0].z))
        learn(self, features, seen, errors)

    monkeypatch.setattr(HeadLearner, "learn", counting)
    payload = coder.encode(clip)
    assert len(learned) == steps and sum(learned) == clip.size // max(1, clip[0].size) * (
        clip[0].size if len(frame) == 2 else 1
    )
    assert all(rows >= LEAST_ROWS for rows in learned[:-1])
    encoded, learned[:] = list(learned), []
    coder.reset()
    assert_array_equal(coder.decode(payload, frames).reshape(clip.shape), clip)
    assert learned == encoded


def test_a_reset_forgets() -> None:
    clip = calm_tokens((40, 3, 4), 20, dtype="uint16")
    coder = coder_of(tiny_model("conv3d", (3, 4), 20), clip)
    first = coder.encode(clip)
    assert (coder._heads._planes[0].weight != coder._heads._planes[0].trained.weight).any()
    again = coder.encode(clip)
    coder.reset()
    assert coder.encode(clip) == first != again


def test_networks_that_others_use_do_not_change() -> None:
    """Coders of one network, side by side."""
    clip = calm_tokens((40, 3, 4), 20, dtype="uint16")
    model = tiny_model("lstm", (3, 4), 20)
    network = Network(model, NUMBA)
    first, second = (HybridCoder(network, NUMBA, (3, 4), clip.size) for _ in range(2))
    payload = first.encode(clip)
    assert_array_equal(second.decode(payload, 40), clip)
    assert second.encode(clip) != payload  # it knows the clip by now
    third = HybridCoder(network, NUMBA, (3, 4), clip.size)
    assert third.encode(clip) == payload
    assert_array_equal(network.head_layers[0][0].weight, model.tensors["head.0.weight"])


# Limits


def extreme(model: Model) -> Model:
    """A model whose gradients and rates are as large as can be."""
    weight = model.tensors["output.0.weight"]
    return changed(
        model,
        output__0__weight=np.where(weight > 0, 127, -128).astype(np.int8),
        head__0__multiplier=np.ones_like(model.tensors["head.0.multiplier"]),
        head__0__shift=np.array(9, np.int32),
    )


def test_extreme_weights_stay_in_range() -> None:
    """And are those that the format describes."""
    model = extreme(tiny_model("lstm", (5, 8), 30))
    clip = np.random.default_rng(0).integers(0, 30, (12, 5, 8)).astype(np.uint16)
    clip[::2] = 29
    coder = coder_of(model, clip)
    coder.encode(clip)
    fine = coder._heads._planes[0].fine
    assert fine.min() == -(2**23) and fine.max() == 127 << 16
    blob = tokenzip.encode(clip, alphabet=30, model=model)
    assert tokenzip.inspect(blob).predictor == "hybrid"
    assert_array_equal(tokenzip.decode(blob, model=model), clip)
    assert hybrid_decoder.decode_blob(blob, read_model_file(model.to_bytes())) == [flat(clip)]


def test_rows_that_could_overflow_do_not_learn() -> None:
    """Nor those whose outputs are 0 whatever comes."""
    model = tiny_model("lstm", (3, 4), 20)
    bias = model.tensors["head.0.bias"].copy()
    multiplier = model.tensors["head.0.multiplier"].copy()
    weight = np.abs(model.tensors["head.0.weight"][0].astype(np.int64)).sum()
    site_bias = np.abs(model.tensors["head.0.site_bias"][:, 0]).max()
    bias[0] = 2**31 - 1 - 128 * weight - site_bias
    multiplier[0], multiplier[1] = 1, 0
    model = changed(model, head__0__bias=bias, head__0__multiplier=multiplier)
    clip = calm_tokens((40, 3, 4), 20, dtype="uint16")
    coder = coder_of(model, clip)
    payload = coder.encode(clip)
    plane = coder._heads._planes[0]
    assert_array_equal(plane.trained.rate[:2], 0)
    assert_array_equal(plane.weight[:2], plane.trained.weight[:2])
    assert (plane.weight[2:] != plane.trained.weight[2:]).any()
    coder.reset()
    assert_array_equal(coder.decode(payload, 40), clip)
    blob = tokenzip.encode(clip, alphabet=20, model=model)
    assert hybrid_decoder.decode_blob(blob, read_model_file(model.to_bytes())) == [flat(clip)]


def test_an_output_of_zeros_teaches_nothing() -> None:
    model = tiny_model("lstm", (3, 4), 20)
    model = changed(model, output__0__weight=np.zeros_like(model.tensors["output.0.weight"]))
    clip = calm_tokens((40, 3, 4), 20, dtype="uint16")
    coder = coder_of(model, clip)
    payload = coder.encode(clip)
    assert_array_equal(coder._heads._planes[0].trained.rate, 0)
    coder.reset()
    assert_array_equal(coder.decode(payload, 40), clip)


def test_networks_of_very_large_frames_do_not_learn() -> None:
    """What they would learn from takes memory: 128 MiB at most."""
    large = Geometry.of((64, 64, 9), 2048)
    assert large.sites * large.planes * large.symbols > MOST_ERRORS
    for frame, learns in (((64, 64, 9), False), ((64, 64, 8), True)):
        spec = new_spec("lstm", "small", Geometry.of(frame, 2048), **TINY)
        network = Network(blank_model(spec), NUMBA)
        assert (head_learner(network, NUMBA) is not None) == learns


def test_a_network_that_cannot_learn_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = calm_tokens((40, 3, 4), 20, dtype="uint16")
    model = tiny_model("lstm", (3, 4), 20)
    monkeypatch.setattr(head_learner_module, "MOST_ERRORS", 3 * 12 * 20 - 1)
    coder = coder_of(model, clip)
    assert coder._heads is None and coder.parameters() == b"\2"
    payload = coder.encode(clip)
    coder.reset()
    assert_array_equal(coder.decode(payload, 40), clip)


def test_large_frames_take_smaller_steps() -> None:
    """So that sums over all sites of a frame are at most 2**30."""
    model = tiny_model("lstm", (64, 64), 4)
    learner = learner_of(model)
    assert learner.period == 1 and int(learner._most) == 2**23 // 4096
    assert int(learner_of(tiny_model("lstm", (3, 4), 4))._most) == 2**15 - 1
