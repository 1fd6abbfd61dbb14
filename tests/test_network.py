"""Networks on all backends: one blob whatever computes it, tables the same on both sides, no crash.

Payloads are held against those of numba, one clip at a time and by one thread.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from backends import BACKENDS, FEW, make, rows_by_step
from neural import random_model, random_spec
from numpy.testing import assert_array_equal

from tokenzip.errors import CorruptError, ModelFormatError, UnsafeModelError, UnsupportedModelError
from tokenzip.integer.head import by_steps, decode_by_steps
from tokenzip.models import HISTORY, Model
from tokenzip.models.file import FORMAT
from tokenzip.models.steps import wavefronts
from tokenzip.predictors.network.batch import decode_batch, encode_batch, lane_rows
from tokenzip.predictors.network.network import Network

FAMILIES = ("lstm", "conv3d")
TINY = (("state", 16), ("hidden", 24), ("embedding", 4))

#: Frames, alphabet and lengths of clips. Two frames of "square" have four lanes, one has two.
GEOMETRIES = {
    "video": ((8, 16), 1024, (3, 2, 4, 1)),
    "audio": ((8,), 1024, (5, 1, 4, 5)),
    "stream": ((), 50, (12, 1, 7, 13)),
    "binary": ((3, 5), 2, (6, 2, 5, 1)),
    "tall": ((12, 4), 300, (3, 5, 1, 2)),
    "stack": ((2, 3, 4), 70, (4, 1, 3, 2)),
    "row": ((40,), 20, (3, 1, 2, 2)),
    "square": ((64, 64), 30, (2, 1)),
    "split": ((2, 3), 60000, (4, 1, 2, 3)),
}


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request):
    """A backend's name and operations."""
    return request.param, make(request.param)


@pytest.fixture(params=FEW, scope="module")
def few(request):
    """Of fewer backends."""
    return request.param, make(request.param)


@lru_cache
def case(family, name, preset="small", sizes=TINY):
    """A model, clips with frames that repeat themselves, and their payloads."""
    frame, alphabet, lengths = GEOMETRIES[name]
    model = random_model(random_spec(family, frame, alphabet, preset, **dict(sizes)))
    rng = np.random.default_rng(7)
    still = rng.integers(0, alphabet, (max(lengths), *frame))
    clips = [
        np.where(rng.random((n, *frame)) < 0.5, still[:n], rng.integers(0, alphabet, (n, *frame)))
        for n in lengths
    ]
    clips = [clip.astype(np.uint16) for clip in clips]
    ops = make("numba")
    network = Network(model, ops)
    return model, clips, [encode_batch(network, ops, [clip])[0] for clip in clips]


def decoded(network, ops, payloads, clips):
    found = decode_batch(network, ops, payloads, [len(clip) for clip in clips])
    for tokens, clip in zip(found, clips, strict=True):
        assert tokens.dtype == np.uint16
        assert_array_equal(tokens, clip.reshape(len(clip), -1))


# One blob


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_payloads_are_those_of_numba(backend, family, name):
    """Alone, all together, and in another order; every backend decodes what another wrote."""
    _, ops = backend
    model, clips, payloads = case(family, name)
    network = Network(model, ops)
    assert encode_batch(network, ops, clips) == payloads
    assert encode_batch(network, ops, clips[:1]) == payloads[:1]
    assert encode_batch(network, ops, clips[::-1]) == payloads[::-1]
    if backend[0] not in ("torch-cpu-2", "torch-float") or name == "binary":
        decoded(network, ops, payloads[::-1], clips[::-1])


@pytest.mark.parametrize(("batch", "frames"), [(1, 5), (2, 4), (7, 3), (64, 2)])
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_of_any_size(few, family, batch, frames):
    """Chunks of mixed lengths in batches of 1 to 64: alone they have the same bytes."""
    _, ops = few
    model, _, _ = case(family, "binary")
    network, rng = Network(model, ops), np.random.default_rng(batch)
    chunks = [
        rng.integers(0, 2, (int(rng.integers(1, frames + 1)), 3, 5)).astype(np.uint16)
        for _ in range(batch)
    ]
    numba = make("numba")
    alone = [encode_batch(Network(model, numba), numba, [chunk])[0] for chunk in chunks]
    assert encode_batch(network, ops, chunks) == alone
    decoded(network, ops, alone, chunks)


@pytest.mark.parametrize("family", FAMILIES)
def test_runs_of_the_encoder_are_invisible(few, family, monkeypatch):
    """However many rows the encoder takes at a time."""
    _, ops = few
    model, clips, payloads = case(family, "tall")
    for rows in (1, 100, 48 * 7):
        monkeypatch.setattr("tokenzip.predictors.network.batch.ENCODE_ROWS", rows)
        assert encode_batch(Network(model, ops), ops, clips[:1]) == payloads[:1]


@pytest.mark.parametrize("preset", ["small", "base", pytest.param("large", marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", FAMILIES)
def test_presets(few, family, preset):
    model, clips, payloads = case(family, "split", preset, ())
    network = Network(model, few[1])
    assert encode_batch(network, few[1], clips) == payloads
    decoded(network, few[1], payloads, clips)


@pytest.mark.slow
@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("preset", ["small", "base", "large"])
@pytest.mark.parametrize("family", FAMILIES)
def test_presets_on_all_geometries(few, family, preset, name):
    model, clips, payloads = case(family, name, preset, ())
    network = Network(model, few[1])
    assert encode_batch(network, few[1], clips) == payloads
    decoded(network, few[1], payloads, clips)


def test_nothing_to_code(few):
    model, _, _ = case("lstm", "stream")
    network = Network(model, few[1])
    assert encode_batch(network, few[1], []) == []


# The same tables on both sides


class Recorder:
    """A backend that keeps the scores of every row, and decodes what it is told."""

    def __init__(self, ops, tokens=None):
        self._ops, self._tokens, self.scores = ops, tokens, []

    def __getattr__(self, name):
        return getattr(self._ops, name)

    def intervals(self, z, layer, candidates, targets):
        self._keep(z, layer, candidates)
        return self._ops.intervals(z, layer, candidates, targets)

    def head(self, head):
        return by_steps(head, self)

    def decode_head(self, head, symbols, embedded, bases, lanes, rows):
        rows = rows_by_step(self._ops, rows) if self._ops.name == "numba" else rows
        decode_by_steps(self, head, symbols, embedded, bases, lanes, rows)

    def decode(self, z, layer, candidates, lanes, rows):
        self._keep(z, layer, candidates)
        return self._ops.array(self._tokens[len(self.scores) - 1])

    def _keep(self, z, layer, candidates):
        self.scores.append(self._ops.numpy(self._ops.scores(z, layer, candidates)).copy())


@pytest.mark.parametrize("name", ["video", "audio", "stream", "binary", "stack", "split"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tables_of_the_encoder_are_those_of_the_decoder(few, family, name):
    """All frames at once, and step by step, integer by integer."""
    model, clips, _ = case(family, name)
    geometry, clip = model.spec.geometry, clips[0][:2]
    symbols = geometry.to_symbols(clip)
    ahead = Recorder(few[1])
    encode_batch(Network(model, ahead), ahead, [clip])
    wanted = np.stack(ahead.scores, 1).reshape(
        len(clip), geometry.sites, geometry.planes, geometry.symbols
    )
    steps = [
        (t, sites, plane)
        for t in range(len(clip))
        for sites in wavefronts(geometry)
        for plane in range(geometry.planes)
    ]
    told = [symbols[t, sites, plane] for t, sites, plane in steps]
    by_step = Recorder(few[1], told)
    network = Network(model, by_step)
    rows = by_step.lane_rows(lane_rows(geometry, [1]))
    now, state = network.no_symbols(1, HISTORY + 1), network.begin(1)
    for _ in clip:
        embedded = network.embed(now)
        state = network.decode_frame(now, embedded, state, None, rows)
        now = by_step.concatenate([now[:, 1:], network.no_symbols(1, 1)], 1)
    for (t, sites, plane), scores in zip(steps, by_step.scores, strict=True):
        assert_array_equal(scores, wanted[t, sites, plane])
    assert len(np.unique(wanted)) > 50


@pytest.mark.parametrize("name", ["video", "audio", "stream", "binary", "stack", "split"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_frames_in_one_go_are_frames_by_operations(monkeypatch, family, name, threads):
    """A backend's own loops, over frames and in the head, against what they are made of."""
    model, clips, payloads = case(family, name)
    ops = make("numba" if threads == 1 else "numba-2")
    monkeypatch.setattr("tokenzip.integer.numba_backend._WORTH_A_THREAD", 1)
    frames = [len(clip) for clip in clips]
    own = decode_batch(Network(model, ops), ops, payloads, frames)
    monkeypatch.setattr("tokenzip.predictors.network.batch.SYMBOLS_AT_ONCE", 1)
    again = decode_batch(Network(model, ops), ops, payloads, frames)
    assert all(np.array_equal(*pair) for pair in zip(own, again, strict=True))

    class ByFrames:
        name = "by frames"

        def __getattr__(self, name):
            return getattr(ops, name)

    class BySteps(Recorder):
        name = "by steps"

        def decode(self, *arguments):
            return self._ops.decode(*arguments)

    for other in (ByFrames(), BySteps(ops)):
        found = decode_batch(Network(model, other), other, payloads, frames)
        for one, two, clip in zip(own, found, clips, strict=True):
            assert_array_equal(one, two)
            assert_array_equal(one, clip.reshape(len(clip), -1))


# Nothing waits for the device


@pytest.mark.parametrize("name", ["video", "audio"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_frame_never_asks_the_device(family, name):
    """What a CUDA graph cannot record: numbers read back, sizes that depend on data, uploads."""
    pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    from tokenzip.models.steps import lane_count
    from tokenzip.predictors.network.batch import _frame, _open

    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.add(func.name().split("::")[1].split(".")[0])
            return func(*args, **(kwargs or {}))

    model, clips, payloads = case(family, name)
    ops, seen = make("torch-cpu"), set()
    network = Network(model, ops)
    counts = [lane_count(model.spec.geometry, len(clips[0]))]
    lanes = _open(payloads[:1], counts, ops)
    frame = _frame(network, ops, 1, lanes, ops.lane_rows(lane_rows(network.geometry, counts)))
    symbols = network.no_symbols(1, HISTORY + 1)
    carried, first = frame((symbols, network.embed(symbols), *network.begin(1)))
    with Names():
        carried, second = frame(carried)
    found = np.stack([first.numpy()[0], second.numpy()[0]])
    assert_array_equal(found, model.spec.geometry.to_symbols(clips[0][:2]))
    asking = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}
    # Tensors made of the host's numbers.
    asking |= {"lift_fresh", "lift_fresh_copy", "_unique2", "bincount", "repeat_interleave"}
    assert "searchsorted" in seen
    assert not asking & seen


# Payloads that no encoder wrote


@pytest.mark.parametrize("name", ["video", "audio", "binary", "split"])
def test_corrupt_payloads_never_crash(few, name):
    """An error, or the same wrong tokens on every backend, which the checksum refuses."""
    model, clips, payloads = case("lstm", name)
    ops, numba = few[1], make("numba")
    network, reference = Network(model, ops), Network(model, numba)
    rng = np.random.default_rng(3)
    good, frames = payloads[0], [len(clips[0])]
    bad = [b"", good[:-4], good[:-1], good + bytes(8), bytes(len(good)), b"\xff" * len(good)]
    bad += [rng.bytes(len(good)), good[4:], bytes([good[0] ^ 1]) + good[1:]]
    if name == "video":
        bad = bad[2:7:2]
    for payload in bad:
        found, wanted = (
            outcome(network, ops, payload, frames),
            outcome(reference, numba, payload, frames),
        )
        assert found == wanted
        assert found != clips[0].tobytes()


def outcome(network, ops, payload, frames):
    try:
        return decode_batch(network, ops, [payload], frames)[0].tobytes()
    except CorruptError as error:
        assert error.where == "payload"
        return str(error)


# Models


def changed(model, **tensors):
    return {**{name: array.copy() for name, array in model.tensors.items()}, **tensors}


@pytest.mark.parametrize("family", FAMILIES)
def test_unsafe_models_are_refused_by_layer(family):
    model, _, _ = case(family, "video")
    names = sorted(name[: -len(".weight")] for name in model.tensors if name.endswith(".weight"))
    assert len(names) == (3 if family == "lstm" else 7)
    for name in names:
        bias = model.tensors[f"{name}.bias"].copy()
        bias[-1] = -(2**31)
        multiplier = model.tensors[f"{name}.multiplier"].copy()
        negative, large = multiplier.copy(), np.full_like(multiplier, 2**31 - 1)
        negative[0] = -1
        shift = np.int32(41)
        for tensor, value in (("bias", bias), ("multiplier", negative), ("shift", np.array(shift))):
            with pytest.raises(UnsafeModelError, match=f"layer {name}:") as caught:
                Model(model.spec, changed(model, **{f"{name}.{tensor}": value}))
            assert caught.value.layer == name
        # Each fits, and so does the largest sum, but not their product and half of 2**shift.
        product = {
            f"{name}.weight": np.zeros_like(model.tensors[f"{name}.weight"]),
            f"{name}.bias": np.full_like(bias, 2**31 - 1),
            f"{name}.multiplier": large,
            f"{name}.shift": np.array(40, np.int32),
        }
        if name.startswith("head."):
            site_bias = f"{name}.site_bias"
            product[site_bias] = np.zeros_like(model.tensors[site_bias])
        with pytest.raises(UnsafeModelError, match="multiplier") as caught:
            Model(model.spec, changed(model, **product))
        assert caught.value.layer == name
    for shift in (0, -1):
        with pytest.raises(UnsafeModelError):
            Model(model.spec, changed(model, **{"output.0.shift": np.array(shift, np.int32)}))


def test_the_bias_of_a_site_counts():
    model, _, _ = case("lstm", "binary")
    site_bias = model.tensors["head.0.site_bias"].copy()
    site_bias[3, 2] = 2**31 - 10
    with pytest.raises(UnsafeModelError) as caught:
        Model(model.spec, changed(model, **{"head.0.site_bias": site_bias}))
    assert caught.value.layer == "head.0"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_at_the_edge_of_safety_is_exact(backend, family):
    """Largest weights, biases that all but overflow: the same payload as numba's."""
    model, clips, _ = case(family, "binary")
    tensors = changed(model)
    for name in [name for name in tensors if name.endswith(".weight")]:
        layer = name[: -len(".weight")]
        weight = np.where(tensors[name] < 0, -128, 127).astype(np.int8)
        room = 2**31 - 1 - int(np.abs(weight.astype(np.int64)).sum(axis=1).max()) * 128 - 600
        sign = np.where(np.arange(len(weight)) % 2, -1, 1)
        tensors[name] = weight
        tensors[f"{layer}.bias"] = (sign * room).astype(np.int32)
        tensors[f"{layer}.multiplier"] = np.full(len(weight), 2**31 - 2**10, np.int32)
        tensors[f"{layer}.shift"] = np.array(40, np.int32)
    edge, ops, numba = Model(model.spec, tensors), backend[1], make("numba")
    payloads = encode_batch(Network(edge, numba), numba, clips)
    assert encode_batch(Network(edge, ops), ops, clips) == payloads
    decoded(Network(edge, ops), ops, payloads, clips)


def test_model_files(tmp_path):
    for family in FAMILIES:
        model, clips, payloads = case(family, "audio")
        model.save(tmp_path / "model.safetensors")
        again = Model.load(tmp_path / "model.safetensors")
        assert again.identity == model.identity and again.name == model.name
        assert again.spec == model.spec and again.summary == model.summary
        assert Model.from_bytes(again.to_bytes()).identity == model.identity
        ops = make("numba")
        assert encode_batch(Network(again, ops), ops, clips) == payloads


def test_identity_is_of_all_that_decides_the_tables():
    model, _, _ = case("lstm", "stream")
    weight = model.tensors["lstm.weight"].copy()
    weight[0, 0] ^= 1
    other = Model(model.spec, changed(model, **{"lstm.weight": weight}), model.summary)
    assert other.identity != model.identity
    assert Model(model.spec, model.tensors, {"other": 1}).identity == model.identity


def test_damaged_model_files_are_refused():
    model, _, _ = case("lstm", "stream")
    data = model.to_bytes()
    length = int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(5)
    for place in (*rng.integers(8 + length, len(data), 40).tolist(), len(data) - 1):
        wrong = bytearray(data)
        wrong[place] ^= 4
        with pytest.raises((ModelFormatError, UnsafeModelError)):
            Model.from_bytes(bytes(wrong))
    for place in rng.integers(0, 8 + length, 200).tolist():
        wrong = bytearray(data)
        wrong[place] ^= 1 << int(rng.integers(8))
        try:
            again = Model.from_bytes(bytes(wrong))
        except (ModelFormatError, UnsupportedModelError, UnsafeModelError):
            continue
        assert again.identity == model.identity  # only the summary, or white space, was hit
    for part in (b"", data[:7], data[:100], data[: 8 + length], data[:-1], data + b"\0"):
        with pytest.raises(ModelFormatError):
            Model.from_bytes(part)
    for garbage in (b"PK\x03\x04" + bytes(40), bytes(1000), b"\xff" * 1000, rng.bytes(5000)):
        with pytest.raises(ModelFormatError):
            Model.from_bytes(garbage)


def test_model_files_of_others_and_of_the_future():
    from safetensors.numpy import save

    model, _, _ = case("lstm", "stream")
    data = model.to_bytes()
    newer = data.replace(b'"version":"1"', b'"version":"2"')
    assert newer != data
    with pytest.raises(UnsupportedModelError, match="upgrade"):
        Model.from_bytes(newer)
    for metadata in (None, {}, {"format": "pt"}, {"format": FORMAT, "version": "1"}):
        with pytest.raises(ModelFormatError):
            Model.from_bytes(save(dict(model.tensors), metadata))


def test_tensors_of_other_shapes_and_dtypes_are_refused():
    model, _, _ = case("conv3d", "stream")
    for name, tensor in model.tensors.items():
        for wrong in (tensor.astype(np.int64), tensor.astype(np.float32), tensor[None]):
            with pytest.raises(ModelFormatError, match=name.replace(".", r"\.")):
                Model(model.spec, changed(model, **{name: wrong}))
        missing = changed(model)
        del missing[name]
        with pytest.raises(ModelFormatError, match="missing"):
            Model(model.spec, missing)
    with pytest.raises(ModelFormatError, match="superfluous"):
        Model(model.spec, changed(model, extra=np.zeros(3, np.int8)))
