"""The hybrid coder on all backends: one payload whatever computes it, one state on both sides.

Payloads are held against those of numba. Blobs are in test_network_codec.py and
test_network_hostile.py, FORMAT.md in test_hybrid_reference.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from backends import FEW, make
from network_cases import calm_tokens, noise, tiny_model
from neural import random_model, random_spec
from numpy.testing import assert_array_equal
from test_network import FAMILIES, GEOMETRIES, TINY

import tokenzip
from tokenzip.errors import CorruptError, OptionError, UnsupportedVersionError
from tokenzip.models.steps import lane_count, wavefronts
from tokenzip.predictors.adaptive import state as state_module
from tokenzip.predictors.adaptive.learner import FIRST_CLASSES_AFTER
from tokenzip.predictors.hybrid import VERSION, HybridCoder, version_of
from tokenzip.predictors.hybrid import coder as coder_module
from tokenzip.predictors.hybrid import frames as frames_module
from tokenzip.predictors.network.network import Network

#: Enough symbols that classes are learned (but for the last, twice), and that pools grow.
LONG = {
    "video": ((6, 8), 300, 45),
    "codebooks": ((8,), 200, 280),
    "split": ((3, 4), 5000, 90),
    "stream": ((), 60, 1100),
}


@pytest.fixture(params=FEW, scope="module")
def few(request):
    """A backend's name and operations."""
    return request.param, make(request.param)


@lru_cache
def case(family, name):
    """A model, clips with frames that repeat themselves, and their payloads by numba."""
    frame, alphabet, lengths = GEOMETRIES[name]
    model = random_model(random_spec(family, frame, alphabet, "small", **dict(TINY)))
    clips = [calm_tokens((n, *frame), alphabet, n, "uint16", 0.7) for n in dict.fromkeys(lengths)]
    numba = make("numba")
    return model, clips, [coder_for(model, numba, clip).encode(clip) for clip in clips]


@lru_cache
def long_case(name, family="lstm", version=VERSION):
    """(model, clip, payload) of a long clip."""
    frame, alphabet, frames = LONG[name]
    model = tiny_model(family, frame, alphabet)
    clip = calm_tokens((frames, *frame), alphabet, 1, "uint16", 0.6)
    return model, clip, coder_for(model, make("numba"), clip, version=version).encode(clip)


def coder_for(model, ops, *clips, version=VERSION):
    """A coder made for these clips, one after another."""
    tokens = sum(clip.size for clip in clips)
    return HybridCoder(Network(model, ops), ops, clips[0].shape[1:], tokens, version)


def flat(state) -> list[Any]:
    return [np.asarray(part) for group in state for part in group]


def assert_same_state(first: HybridCoder, second: HybridCoder) -> None:
    one, other = first._learner, second._learner
    for a, b in zip(flat(one.state), flat(other.state), strict=True):
        assert_array_equal(a, b)
    assert (one._seen, one._next_classes) == (other._seen, other._next_classes)
    heads = first._heads, second._heads
    assert (heads[0] is None) == (heads[1] is None)
    for a, b in zip(*(coder._planes for coder in heads if coder is not None), strict=True):
        assert_array_equal(a.fine, b.fine)
        assert_array_equal(a.weight, b.weight)
    for a, b in zip(one._segments, other._segments, strict=True):
        assert_array_equal(a, b)


# One payload


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_payloads_are_those_of_numba(few, family, name):
    """Every backend writes them and decodes them."""
    model, clips, payloads = case(family, name)
    for clip, payload in zip(clips, payloads, strict=True):
        coder = coder_for(model, few[1], clip)
        assert coder.encode(clip) == payload
        coder.reset()
        found = coder.decode(payload, len(clip))
        assert found.dtype == np.uint16
        assert_array_equal(found, clip)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", LONG)
def test_long_clips(few, name, version):
    """Pools outgrow their first room in the middle of a clip, and version 1 learns classes."""
    model, clip, payload = long_case(name, version=version)
    ahead, behind = (coder_for(model, few[1], clip, version=version) for _ in range(2))
    assert ahead.encode(clip) == payload
    assert_array_equal(behind.decode(payload, len(clip)), clip)
    assert_same_state(ahead, behind)
    learner = behind._learner
    assert (learner._next_classes > FIRST_CLASSES_AFTER) == (version == 1)
    lists = learner.state.token_lists
    assert lists.pool.size > state_module.FIRST_POOL or lists.tables[0] > 1


@pytest.mark.parametrize("name", ["codebooks", "split"])
def test_long_clips_of_the_other_family(name):
    model, clip, payload = long_case(name, "conv3d")
    assert_array_equal(coder_for(model, make("numba"), clip).decode(payload, len(clip)), clip)


def test_the_long_cases_grow_pools_and_learn_twice():
    grown = []
    for name in LONG:
        model, clip, payload = long_case(name, version=1)
        coder = coder_for(model, make("numba"), clip, version=1)
        coder.observe(clip)
        grown.append(coder._learner.state.token_lists.pool.size > state_module.FIRST_POOL)
        assert name == "stream" or coder._learner._next_classes > 3 * FIRST_CLASSES_AFTER
        assert len(payload) < clip.size * 2
    assert sum(grown) >= 2


def test_lanes():
    """Several, on each backend."""
    for name, frames in (("square", 2), ("video", 40)):
        model, _, _ = case("lstm", name)
        frame, alphabet, _ = GEOMETRIES[name]
        clip = calm_tokens((frames, *frame), alphabet, 2, "uint16")
        assert lane_count(model.spec.geometry, frames) > 1
        ops = make("numba")
        payload = coder_for(model, ops, clip).encode(clip)
        assert_array_equal(coder_for(model, ops, clip).decode(payload, frames), clip)


@pytest.mark.parametrize("rows", [1, 60, 48 * 7])
def test_runs_of_the_encoder_are_invisible(few, rows, monkeypatch):
    """However many priors the encoder keeps at a time."""
    model, clips, payloads = case("conv3d", "tall")
    monkeypatch.setattr(coder_module, "_ROWS", rows)
    assert coder_for(model, few[1], clips[0]).encode(clips[0]) == payloads[0]


@pytest.mark.parametrize("preset", ["small", "base"])
@pytest.mark.parametrize("family", FAMILIES)
def test_presets(few, family, preset):
    model = random_model(random_spec(family, (4, 5), 64, preset))
    clip = calm_tokens((5, 4, 5), 64, 3, "uint16")
    payload = coder_for(model, make("numba"), clip).encode(clip)
    coder = coder_for(model, few[1], clip)
    assert coder.encode(clip) == payload
    coder.reset()
    assert_array_equal(coder.decode(payload, 5), clip)


# One state


@pytest.mark.parametrize("name", ["video", "audio", "stream", "binary", "split"])
@pytest.mark.parametrize("family", FAMILIES)
def test_encoder_decoder_and_observer_agree(few, family, name):
    """Over several runs, as in solid blobs; a coder that is reset begins anew."""
    model, clips, payloads = case(family, name)
    ahead, behind, beside = (coder_for(model, few[1], *clips) for _ in range(3))
    new = coder_for(model, few[1], *clips)
    first = ahead.encode(clips[0])
    assert_array_equal(behind.decode(first, len(clips[0])), clips[0])
    beside.observe(clips[0])
    rest = []
    for clip in clips[1:]:
        rest.append(ahead.encode(clip))
        beside.observe(clip)
        assert_array_equal(behind.decode(rest[-1], len(clip)), clip)
    assert_same_state(ahead, behind)
    assert_same_state(ahead, beside)
    assert rest != payloads[1:]  # what was learned before tells
    for coder in (ahead, behind, beside):
        coder.reset()
        assert_same_state(coder, new)
    assert ahead.encode(clips[0]) == first


def test_frames_one_by_one():
    """A run is as if nothing stood before it; only the state comes from earlier runs."""
    model, clips, _ = case("lstm", "video")
    frames = [clips[0][t : t + 1] for t in range(3)]
    ahead, behind = (coder_for(model, make("numba"), clips[0]) for _ in range(2))
    payloads = [ahead.encode(frame) for frame in frames]
    for frame, payload in zip(frames, payloads, strict=True):
        assert_array_equal(behind.decode(payload, 1), frame)
    assert_same_state(ahead, behind)
    assert payloads[0] == coder_for(model, make("numba"), clips[0]).encode(frames[0])


def test_later_use_of_the_array_changes_nothing():
    model, clip, _ = long_case("codebooks")
    one, other = (coder_for(model, make("numba"), clip, clip) for _ in range(2))
    mine = clip.copy()
    one.observe(mine)
    mine[:] = 0
    other.observe(clip)
    assert one.encode(clip) == other.encode(clip)


@pytest.mark.parametrize("name", ["video", "audio", "stack", "split", "row"])
@pytest.mark.parametrize("family", FAMILIES)
def test_intervals_of_the_decoder_are_those_of_the_encoder(family, name):
    """Raster order or the order of wavefronts: cum and freq of every symbol are the same."""
    model, clips, payloads = case(family, name)
    clip, payload, geometry = clips[0], payloads[0], model.spec.geometry
    ops = make("numba")
    coder = coder_for(model, ops, clip)
    wanted = np.stack(coder._intervals(clip), 2)
    found = np.zeros_like(wanted)

    def recorded(state, others, layout, scratch, block, job, begin, first, last):
        for i in range(first, last):
            one = job._replace(priors=job.priors[i - first : i - first + 1])
            assert original(state, others, layout, scratch, block, one, begin, i, i + 1)
            t, freq = begin // layout.positions, scratch.last_freq
            p = job.order[i - begin]
            x = job.symbols[t, p]
            found[t, p] = freq[:x].sum(), freq[x]
        return True

    original = frames_module.decode_symbols
    torch = make("torch-cpu")
    behind = coder_for(model, torch, clip)
    frames_module.decode_symbols = recorded
    try:
        assert_array_equal(behind.decode(payload, len(clip)), clip)
    finally:
        frames_module.decode_symbols = original
    assert_array_equal(found, wanted)
    planes = geometry.planes
    order = [s * planes + p for wave in wavefronts(geometry) for p in range(planes) for s in wave]
    assert geometry.height == 1 or order != sorted(order)


def test_the_frame_in_one_go_is_the_frame_by_steps(monkeypatch):
    """numba's own loop against the operations it is made of."""
    for name in ("video", "audio", "stack", "split"):
        model, clips, payloads = case("lstm", name)
        ops = make("numba")
        stepwise = _BySteps(ops)
        found = HybridCoder(
            Network(model, stepwise), stepwise, clips[0].shape[1:], clips[0].size
        ).decode(payloads[0], len(clips[0]))
        assert_array_equal(found, clips[0])


class _BySteps:
    """numba's operations under another name, with a head by steps."""

    name = "by steps"

    def __init__(self, ops):
        self._ops = ops

    def __getattr__(self, name):
        return getattr(self._ops, name)

    def head(self, head):
        from tokenzip.integer.head import by_steps

        return by_steps(head, self)

    def with_hidden(self, head, hidden):
        from tokenzip.integer.head import with_hidden

        return with_hidden(head, hidden)


# Payloads that no encoder wrote


@pytest.mark.parametrize("name", ["video", "audio", "binary", "split"])
def test_corrupt_payloads_never_crash(few, name):
    """An error, or the same wrong tokens on every backend, which the checksum refuses."""
    model, clips, payloads = case("lstm", name)
    rng = np.random.default_rng(3)
    good, clip = payloads[0], clips[0]
    bad = [b"", good[:-4], good[:-1], good + bytes(8), bytes(len(good)), b"\xff" * len(good)]
    bad += [rng.bytes(len(good)), good[4:], bytes([good[0] ^ 1]) + good[1:]]
    bad += [good[:-6] + bytes([good[-6] ^ 16]) + good[-5:]]
    for payload in bad:
        found, wanted = (
            outcome(coder_for(model, ops, clip), payload, len(clip))
            for ops in (few[1], make("numba"))
        )
        assert found == wanted
        assert found != clip.tobytes()


def test_a_coder_survives_a_corrupt_payload(few):
    """Reset, it is as new."""
    model, clips, payloads = case("lstm", "split")
    coder = coder_for(model, few[1], clips[0])
    outcome(coder, b"\xff" * len(payloads[0]), len(clips[0]))
    coder.reset()
    assert_array_equal(coder.decode(payloads[0], len(clips[0])), clips[0])


def outcome(coder, payload, frames):
    try:
        return coder.decode(payload, frames).tobytes()
    except CorruptError as error:
        assert error.where == "payload"
        return str(error)


@pytest.mark.parametrize("parameters", [b"", b"\0", b"\1\1", b"\0\1"])
def test_parameters_that_make_no_sense(parameters):
    with pytest.raises(CorruptError):
        version_of(parameters)


def test_parameters_of_newer_versions():
    assert [version_of(bytes([version])) for version in (1, 2)] == [1, 2]
    with pytest.raises(UnsupportedVersionError, match="hybrid"):
        version_of(bytes([VERSION + 1]))


# Blobs


def test_solid_blobs():
    """Grids learn from each other; threads, backends and batches change no byte."""
    model, clip, _ = long_case("video")
    grids = [clip[:20], clip[20:43].astype(">i4"), noise((2, 6, 8), 300), clip[43:]]
    alone = tokenzip.encode(grids, alphabet=300, model=model, chunk_frames=9)
    solid = tokenzip.encode(grids, alphabet=300, model=model, solid=True, chunk_frames=9)
    assert tokenzip.inspect(solid).solid and tokenzip.inspect(solid).predictor == "hybrid"
    assert len(solid) < len(alone)
    kinds = [chunk.kind for grid in tokenzip.inspect(solid).grids for chunk in grid.chunks]
    assert set(kinds) == {"predicted", "stored"}
    for options in ({}, {"threads": 2}, {"backend": "torch"}, {"batch": 3}):
        if "backend" in options:
            pytest.importorskip("torch")
        again = tokenzip.encode(
            grids, alphabet=300, model=model, solid=True, chunk_frames=9, **options
        )
        assert again == solid
        found = tokenzip.decode(solid, model=model, **options)
        for one, other in zip(found, grids, strict=True):
            assert one.dtype == other.dtype
            assert_array_equal(one, other)
    found = tokenzip.decode(solid, model=model, frames=slice(1, 3))
    for one, other in zip(found, grids, strict=True):
        assert_array_equal(one, other[1:3])


@pytest.mark.parametrize("options", [{"backend": "torch"}, {"backend": "torch", "threads": 2}])
@pytest.mark.parametrize("family", FAMILIES)
def test_blobs_of_torch(family, options):
    pytest.importorskip("torch")
    model = tiny_model(family, (3, 4), 20)
    grids = [calm_tokens((n, 3, 4), 20, n) for n in (30, 4, 19)]
    blob = tokenzip.encode(grids, model=model, chunk_frames=8)
    assert tokenzip.encode(grids, model=model, chunk_frames=8, **options) == blob
    for one, other in zip(tokenzip.decode(blob, model=model, **options), grids, strict=True):
        assert_array_equal(one, other)


def test_it_is_smaller_than_the_network_alone():
    """On a clip that repeats what the model never saw."""
    model, clip, _ = long_case("codebooks")
    sizes = {p: len(tokenzip.encode(clip, model=model, predictor=p)) for p in ("hybrid", "lstm")}
    assert sizes["hybrid"] < sizes["lstm"]


def test_needs_a_model():
    with pytest.raises(OptionError, match="needs a model"):
        tokenzip.encode([[1, 2]], predictor="hybrid")
