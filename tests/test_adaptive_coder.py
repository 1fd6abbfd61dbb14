"""AdaptiveCoder: round trips, one state for encoder, decoder and observer, what it learns."""

from __future__ import annotations

import tracemalloc
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenzip
from tokenzip.coding.constants import USABLE
from tokenzip.coding.team import new_team
from tokenzip.errors import CorruptError, UnsupportedVersionError
from tokenzip.predictors.adaptive import AdaptiveCoder, kernel, learner
from tokenzip.predictors.adaptive import experts as experts_module
from tokenzip.predictors.adaptive import state as state_module
from tokenzip.predictors.adaptive.classes import find_classes
from tokenzip.predictors.adaptive.coder import SYMBOLS_FOR_LANES
from tokenzip.predictors.adaptive.contexts import CLASSES, geometry
from tokenzip.predictors.stored import packed_size


def drifting(shape: tuple[int, ...], alphabet: int, seed: int = 0) -> np.ndarray:
    """uint16 tokens of which most repeat their past."""
    rng = np.random.default_rng(seed)
    frames, *frame = shape
    grid = np.empty(shape, np.uint16)
    now = rng.integers(0, alphabet, frame)
    for t in range(frames):
        now = np.where(rng.random(frame) < 0.3, rng.integers(0, alphabet, frame), now)
        grid[t] = now
    return grid


def noise(shape: tuple[int, ...], alphabet: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, alphabet, shape).astype(np.uint16)


def coder_for(tokens: np.ndarray, alphabet: int) -> AdaptiveCoder:
    return AdaptiveCoder(alphabet, tokens.shape[1:], tokens.size)


def flat(state: Any) -> list[np.ndarray]:
    return [np.asarray(part) for group in state for part in group]


def assert_same_state(first: AdaptiveCoder, second: AdaptiveCoder) -> None:
    one, other = first._learner, second._learner
    for a, b in zip(flat(one.state), flat(other.state), strict=True):
        assert np.array_equal(a, b)
    assert (one._seen, one._next_classes) == (other._seen, other._next_classes)
    assert len(one._segments) == len(other._segments)


SHAPES = [(40, 8, 16), (9, 3, 4, 5), (500, 8), (90, 33), (2000,), (1, 20, 20), (1, 1), (3, 2, 200)]
ALPHABETS = [2, 3, 16, 17, 1024, 4096, 4097, 65536]


class TestRoundTrip:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_shapes(self, shape: tuple[int, ...]) -> None:
        tokens = drifting(shape, 40)
        payload = coder_for(tokens, 40).encode(tokens)
        decoded = coder_for(tokens, 40).decode(payload, len(tokens))
        assert decoded.dtype == np.uint16
        assert np.array_equal(decoded, tokens)

    @pytest.mark.parametrize("alphabet", ALPHABETS)
    def test_alphabets(self, alphabet: int) -> None:
        tokens = drifting((18, 8, 8), alphabet)
        tokens[0, 0, :2] = 0, alphabet - 1
        payload = coder_for(tokens, alphabet).encode(tokens)
        assert np.array_equal(coder_for(tokens, alphabet).decode(payload, 18), tokens)

    @settings(max_examples=40)
    @given(st.data())
    def test_anything(self, data: st.DataObject) -> None:
        shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
        alphabet = data.draw(st.sampled_from(ALPHABETS))
        seed = data.draw(st.integers(0, 1 << 30))
        tokens = data.draw(st.sampled_from([drifting, noise]))(shape, alphabet, seed)
        payload = coder_for(tokens, alphabet).encode(tokens)
        assert np.array_equal(coder_for(tokens, alphabet).decode(payload, shape[0]), tokens)

    @pytest.mark.parametrize(
        "dtype", ["?", "i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">u4", "<i8", ">i8", "<u8"]
    )
    def test_dtypes(self, dtype: str) -> None:
        tokens = drifting((30, 4, 8), 2 if dtype == "?" else 100).astype(dtype)
        blob = tokenzip.encode(tokens, predictor="adaptive")
        assert tokenzip.inspect(blob).grids[0].chunks[0].kind == "predicted"
        decoded = tokenzip.decode(blob)
        assert decoded.dtype == tokens.dtype
        assert np.array_equal(decoded, tokens)

    def test_lanes(self) -> None:
        """So many symbols that rows are spread over lanes, not all of them of the same length."""
        tokens = drifting((150, 11, 10), 20)
        assert tokens.size >= SYMBOLS_FOR_LANES
        payload = coder_for(tokens, 20).encode(tokens)
        assert np.array_equal(coder_for(tokens, 20).decode(payload, len(tokens)), tokens)

    def test_the_same_bytes_every_time(self) -> None:
        tokens = drifting((60, 6, 8), 50)
        assert coder_for(tokens, 50).encode(tokens) == coder_for(tokens, 50).encode(tokens)

    def test_tokens_are_left_as_they_were(self) -> None:
        tokens = drifting((30, 6, 8), 50)
        before = tokens.copy()
        coder_for(tokens, 50).encode(tokens)
        assert np.array_equal(tokens, before)


class TestState:
    @pytest.mark.parametrize("alphabet", [2, 40, 5000])
    def test_encode_decode_and_observe_leave_the_same(self, alphabet: int) -> None:
        tokens = drifting((40, 5, 8), alphabet)
        encoder, decoder, observer = (coder_for(tokens, alphabet) for _ in range(3))
        decoder.decode(encoder.encode(tokens), len(tokens))
        observer.observe(tokens)
        assert_same_state(encoder, decoder)
        assert_same_state(encoder, observer)
        following = drifting((30, 5, 8), alphabet, seed=1)
        payload = encoder.encode(following)
        assert observer.encode(following) == payload
        assert np.array_equal(decoder.decode(payload, len(following)), following)
        assert_same_state(encoder, decoder)

    def test_reset_is_fresh(self) -> None:
        tokens = drifting((40, 5, 8), 40)
        used = coder_for(tokens, 40)
        used.encode(noise((70, 5, 8), 40))
        used.reset()
        fresh = coder_for(tokens, 40)
        assert_same_state(used, fresh)
        assert used.encode(tokens) == fresh.encode(tokens)

    def test_reset_after_nonsense(self) -> None:
        tokens = drifting((40, 5, 8), 40)
        used = coder_for(tokens, 40)
        with pytest.raises(CorruptError):
            used.decode(b"\xff" * 400, 40)
        used.reset()
        assert used.encode(tokens) == coder_for(tokens, 40).encode(tokens)

    def test_what_was_learned_is_kept_for_the_next_segment(self) -> None:
        tokens = noise((40, 5, 8), 40)
        kept = AdaptiveCoder(40, (5, 8), 2 * tokens.size)
        first = kept.encode(tokens)
        assert len(kept.encode(tokens)) < len(first) // 2

    def test_a_segment_does_not_see_the_one_before_as_its_past(self) -> None:
        """Neighbours before a segment's first frame are outside, for observers too."""
        frame = np.arange(40).reshape(1, 5, 8).astype(np.uint16)
        one, other = (AdaptiveCoder(40, (5, 8), 400) for _ in range(2))
        one.observe(np.concatenate([frame, frame]))
        other.observe(frame)
        other.observe(frame)
        assert not np.array_equal(
            one._learner.state.token_lists.row, other._learner.state.token_lists.row
        )

    def test_later_use_of_the_array_changes_nothing(self) -> None:
        """The state keeps what it has seen, to learn classes from it; not the caller's array."""
        tokens = drifting((60, 5, 8), 40)
        lent = tokens.copy()
        one, other = (AdaptiveCoder(40, (5, 8), 3 * tokens.size) for _ in range(2))
        one.observe(tokens)
        other.observe(lent)
        lent[:] = 0
        following = drifting((80, 5, 8), 40, seed=2)
        assert one.encode(following) == other.encode(following)


class TestBlocks:
    """The state changes between blocks only, by sums."""

    def code(
        self, tokens: np.ndarray, alphabet: int, schedule: list[int]
    ) -> tuple[AdaptiveCoder, np.ndarray]:
        """(coder, frequencies) after coding with a call of the loop up to each stop."""
        made = coder_for(tokens, alphabet)
        own, layout = made._learner, made._learner.layout
        symbols = tokens.reshape(-1, layout.positions)
        cum, freq = (np.zeros(tokens.size, np.uint32) for _ in range(2))
        own.begin(symbols)
        job = own.job(kernel.ENCODE, cum=cum, freq=freq)
        at = 0
        for stop in schedule:
            while at < stop:
                at = kernel.code_blocks(*own.mixer, job._replace(team=new_team()), at, stop)
                if at < stop:
                    own._make_room()
        return made, freq

    def test_interruptions_do_not_matter(self) -> None:
        """One call, a call for every block, and pools that fill up: the same tables."""
        tokens = noise((40, 6, 8), 300)
        _, whole = self.code(tokens, 300, [tokens.size])
        _, halting = self.code(tokens, 300, [*range(1, tokens.size, 7), tokens.size])
        assert np.array_equal(whole, halting)

    def test_a_table_depends_on_nothing_later_in_its_block_but_its_neighbours(self) -> None:
        """Change a symbol: within its block, only tables of symbols that see it change."""
        tokens = drifting((8, 4, 8), 20)
        size = geometry(20, (4, 8), tokens.size).block_symbols
        assert size == 128
        at = 4 * 32 + 31  # the last position of the block's first frame
        changed = tokens.copy()
        changed.ravel()[at] = (int(tokens.ravel()[at]) + 1) % 20
        cums = []
        for grid in (tokens, changed):
            made = coder_for(grid, 20)
            cum, freq = (np.zeros(grid.size, np.uint32) for _ in range(2))
            made._learner.begin(grid.reshape(-1, 32))
            made._learner.encode(cum, freq)
            cums.append(np.stack([cum, freq], 1))
        differs = (cums[0] != cums[1]).any(1)
        assert not differs[:at].any()
        # In the next frames of the block only what has position 31 in its neighbourhood.
        rest = differs[at + 1 : 2 * size].reshape(-1, 32)
        columns, rows = np.arange(32) % 8, np.arange(32) // 8
        far = (columns < 5) | (rows < 2)
        assert not rest[:, far].any()
        assert differs[at] and rest.any()

    def test_counts_are_sums(self) -> None:
        """Symbols of one block in another order leave the same occurrences and totals."""
        tokens = noise((1, 128), 8)
        other = tokens[:, ::-1].copy()
        states = []
        for grid in (tokens, other):
            made = AdaptiveCoder(8, (), grid.size)
            made.observe(grid.ravel())
            states.append(made._learner.state)
        assert np.array_equal(states[0].shared.unigram, states[1].shared.unigram)
        assert states[0].shared.unigram.sum() == tokens.size
        for state in states:
            contexts = state.token_terms.bits.size
            assert state.token_lists.row[:, state_module.TOTAL].sum() == contexts * tokens.size

    def test_every_context_counts_every_symbol(self) -> None:
        tokens = drifting((60, 6, 8), 40)
        made = coder_for(tokens, 40)
        made.observe(tokens)
        state = made._learner.state
        for terms, lists in (
            (state.token_terms, state.token_lists),
            (state.mixed_terms, state.mixed_lists),
        ):
            row = lists.row.astype(np.int64)
            assert row[:, state_module.TOTAL].sum() == terms.bits.size * tokens.size
            for r in np.flatnonzero(row[:, state_module.LENGTH]):
                start = row[r, state_module.START]
                part = lists.pool[start : start + row[r, state_module.LENGTH]]
                assert (part & 0xFFFF).sum() == row[r, state_module.TOTAL]
                assert len(set((part >> 16).tolist())) == len(part)
            tables = row[:, state_module.TABLE]
            assert len(set(tables[tables > 0].tolist())) == (tables > 0).sum() > 0
            for r in np.flatnonzero(tables):
                assert lists.counts[tables[r]].sum() == row[r, state_module.TOTAL]
        counts = state.class_counts.table.astype(np.int64)
        assert counts[:, :-1].sum() == state.class_terms.bits.size * tokens.size
        assert np.array_equal(counts[:, :-1].sum(1), counts[:, -1])

    def test_gradients_are_spent(self) -> None:
        tokens = drifting((60, 6, 8), 40)
        made = coder_for(tokens, 40)
        made.observe(tokens)
        state = made._learner.state
        for experts in (state.token_experts, state.class_experts, state.mixed_experts):
            assert not experts.gradient.any()
            assert experts.energy.any()
            assert (np.abs(experts.weight) <= experts_module.MOST_WEIGHT).all()
            assert len(np.unique(experts.weight)) > 10
        shared = state.shared
        assert not state.sharpness.gradient.any()
        assert not shared.bonus_gradient.any()
        assert shared.bonus.any()
        assert (state.sharpness.weight >= state_module.LEAST_SHARPNESS).all()
        assert (state.sharpness.weight <= state_module.MOST_SHARPNESS).all()

    def test_every_frequency_is_possible(self) -> None:
        tokens = noise((60, 6, 8), 40)
        tokens[:30] = 7  # certainty, then surprises
        made = coder_for(tokens, 40)
        cum, freq = (np.zeros(tokens.size, np.uint32) for _ in range(2))
        made._learner.begin(tokens.reshape(-1, 48))
        made._learner.encode(cum, freq)
        assert freq.min() >= 1
        assert (cum.astype(np.int64) + freq).max() <= USABLE


class TestSize:
    @pytest.mark.parametrize("alphabet", [2, 40, 1024, 65536])
    @pytest.mark.parametrize("frame", [(8, 16), (8,), ()], ids=str)
    def test_constant_input_costs_next_to_nothing(
        self, frame: tuple[int, ...], alphabet: int
    ) -> None:
        tokens = np.full((12_800 // prod(frame), *frame), alphabet - 1, np.uint16)
        blob = tokenzip.encode(tokens, alphabet=alphabet, predictor="adaptive")
        # The first block costs what it costs: nothing was learned before it.
        layout = geometry(alphabet, frame, tokens.size)
        first = packed_size(layout.block_symbols, (layout.alphabet - 1).bit_length())
        assert len(blob) < first + 100
        assert np.array_equal(tokenzip.decode(blob), tokens)

    @pytest.mark.parametrize("alphabet", [2, 3, 16, 1000, 1024, 65536])
    @pytest.mark.parametrize("shape", [(30, 8, 16), (400, 8), (3000,), (1, 32, 32)], ids=str)
    def test_noise_is_stored_or_no_larger(self, shape: tuple[int, ...], alphabet: int) -> None:
        tokens = noise(shape, alphabet)
        tokens.ravel()[0] = alphabet - 1
        blob = tokenzip.encode(tokens, alphabet=alphabet)
        assert len(blob) <= packed_size(tokens.size, (alphabet - 1).bit_length()) + 64
        if alphabet & (alphabet - 1) == 0:
            assert tokenzip.inspect(blob).grids[0].chunks[0].kind == "stored"
        assert np.array_equal(tokenzip.decode(blob), tokens)

    def test_copies_of_the_frame_before_cost_little(self) -> None:
        """Frames of noise, each standing still for 20 frames."""
        tokens = np.repeat(noise((6, 8, 16), 1024), 20, axis=0)
        payload = coder_for(tokens, 1024).encode(tokens)
        fresh = 6 * 128 * 10 / 8
        assert len(payload) < 1.35 * fresh + 400

    def test_copies_from_the_left_cost_little(self) -> None:
        tokens = np.repeat(noise((120, 8, 1), 1024), 16, axis=2)
        payload = coder_for(tokens, 1024).encode(tokens)
        assert len(payload) < 1.35 * 120 * 8 * 10 / 8 + 400

    def test_a_skewed_source_costs_its_entropy(self) -> None:
        """Nothing to learn but frequencies: within 5 % of their entropy."""
        rng = np.random.default_rng(3)
        odds = 0.5 ** np.arange(1, 17)
        odds /= odds.sum()
        tokens = rng.choice(16, (200, 8, 16), p=odds).astype(np.uint16)
        entropy = -(odds * np.log2(odds)).sum() * tokens.size / 8
        assert len(coder_for(tokens, 16).encode(tokens)) < 1.05 * entropy

    def test_a_long_period_is_found(self) -> None:
        tokens = np.tile(noise((40,), 4), 100)
        assert len(coder_for(tokens, 4).encode(tokens)) < packed_size(tokens.size, 2) // 4

    def test_solid_is_smaller(self) -> None:
        grids = [drifting((40, 8, 8), 300, 1)] * 3
        alone = tokenzip.encode(grids, alphabet=300, predictor="adaptive")
        solid = tokenzip.encode(grids, alphabet=300, predictor="adaptive", solid=True)
        assert len(solid) < 0.8 * len(alone)
        for decoded in (tokenzip.decode(alone), tokenzip.decode(solid)):
            assert all(np.array_equal(a, b) for a, b in zip(decoded, grids, strict=True))


def synonyms(frames: int, seed: int = 0) -> np.ndarray:
    """Video over 640 symbols: 20 meanings with 32 words each, the word chosen at random.

    The meanings move through the frame; what comes next depends on meanings only. Words of a
    meaning are not neighbours in number.
    """
    rng = np.random.default_rng(seed)
    meaning = rng.integers(0, 20, (8, 16))
    words = rng.permutation(640).reshape(20, 32)
    grid = np.empty((frames, 8, 16), np.uint16)
    for t in range(frames):
        meaning = np.where(rng.random((8, 16)) < 0.05, rng.integers(0, 20, (8, 16)), meaning)
        grid[t] = words[meaning, rng.integers(0, 32, (8, 16))]
    return grid


class TestClasses:
    def test_they_are_learned(self) -> None:
        tokens = synonyms(40)
        made = coder_for(tokens, 640)
        first = made._learner.state.shared.classes.copy()
        made.observe(tokens)
        learned = made._learner.state.shared.classes
        assert not np.array_equal(learned, first)
        assert learned.min() >= 0
        assert learned.max() < CLASSES
        assert len(np.unique(learned)) > CLASSES // 2

    def test_words_of_one_meaning_come_together(self) -> None:
        tokens = synonyms(400)
        layout = geometry(640, (8, 16), tokens.size)
        (found,) = find_classes([tokens.reshape(-1, 128)], layout)
        words = np.random.default_rng(0)
        words.integers(0, 20, (8, 16))
        meaning = np.empty(640, np.int64)
        meaning[words.permutation(640)] = np.arange(640) // 32
        most = sum(np.bincount(meaning[found == k], minlength=1).max() for k in np.unique(found))
        assert most > 0.9 * 640

    def test_they_help(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Against the same coder that never learns any."""
        tokens = synonyms(300)
        with_classes = len(coder_for(tokens, 640).encode(tokens))
        monkeypatch.setattr(learner, "FIRST_CLASSES_AFTER", tokens.size + 1)
        without = len(coder_for(tokens, 640).encode(tokens))
        assert with_classes < 0.9 * without

    def test_small_alphabets_need_none(self) -> None:
        tokens = drifting((60, 8, 8), 16)
        made = coder_for(tokens, 16)
        made.observe(tokens)
        assert np.array_equal(made._learner.state.shared.classes, [np.arange(16)])
        assert made._learner._segments == []

    def test_of_segments_together(self) -> None:
        tokens = synonyms(60)
        layout = geometry(640, (8, 16), tokens.size)
        symbols = tokens.reshape(-1, 128)
        whole = find_classes([symbols], layout)
        assert whole.shape == (1, 640)
        assert np.array_equal(find_classes([symbols[:0], symbols], layout), whole)

    def test_nothing_to_learn_from(self) -> None:
        layout = geometry(640, (8, 16), 1000)
        one_frame = synonyms(1).reshape(1, 128)
        for segments in ([one_frame], [one_frame, one_frame], [np.zeros((3, 128), np.uint16)]):
            found = find_classes(segments, layout)
            assert found.min() >= 0
            assert found.max() < CLASSES


class TestNonsense:
    @pytest.mark.parametrize("alphabet", [2, 40, 5000, 65536])
    @pytest.mark.parametrize("shape", [(30, 8, 16), (150, 11, 10), (50,)], ids=str)
    def test_random_payloads(self, shape: tuple[int, ...], alphabet: int) -> None:
        rng = np.random.default_rng(4)
        made = AdaptiveCoder(alphabet, shape[1:], prod(shape))
        for size in (0, 1, 4, 27, 28, 400, 4000):
            self.decode(made, rng.bytes(size), shape)
        for byte in (b"\0", b"\xff"):
            self.decode(made, byte * 4000, shape)

    def test_damaged_payloads(self) -> None:
        tokens = drifting((150, 11, 10), 300)
        good = coder_for(tokens, 300).encode(tokens)
        made = coder_for(tokens, 300)
        rng = np.random.default_rng(5)
        for _ in range(12):
            bad = bytearray(good)
            bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
            self.decode(made, bytes(bad), tokens.shape)
        for length in (0, 4, 28, 32, len(good) // 8 * 4):
            self.decode(made, good[:length], tokens.shape)

    def decode(self, made: AdaptiveCoder, payload: bytes, shape: tuple[int, ...]) -> None:
        """Ends, with CorruptError or with tokens of the right shape; nothing else."""
        made.reset()
        try:
            decoded = made.decode(payload, shape[0])
        except CorruptError:
            return
        assert decoded.shape == shape

    @pytest.mark.parametrize("payload", [b"a", b"abc", b"abcde", b"\0" * 401])
    def test_no_whole_words(self, payload: bytes) -> None:
        with pytest.raises(CorruptError, match="whole number of words"):
            AdaptiveCoder(40, (), 100).decode(payload, 100)

    @pytest.mark.parametrize("payload", [b"", b"\0" * 24, b"\xff" * 400])
    def test_lanes_that_lie(self, payload: bytes) -> None:
        shape = (150, 11, 10)
        with pytest.raises(CorruptError):
            AdaptiveCoder(40, shape[1:], prod(shape)).decode(payload, shape[0])

    @pytest.mark.parametrize("parameters", [b"", b"\0", b"\1\1", b"\1\0\0"])
    def test_bad_parameters(self, parameters: bytes) -> None:
        with pytest.raises(CorruptError):
            AdaptiveCoder.from_parameters(parameters, 40, (), 100)

    def test_a_newer_version(self) -> None:
        with pytest.raises(UnsupportedVersionError, match="update tokenzip"):
            AdaptiveCoder.from_parameters(b"\2", 40, (), 100)


class TestMemory:
    def peak(self, tokens: np.ndarray, alphabet: int) -> int:
        coder_for(tokens[:1], alphabet).encode(tokens[:1])  # what is loaded once
        tracemalloc.start()
        try:
            coder_for(tokens, alphabet).encode(tokens)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_small_grids_need_little(self) -> None:
        assert self.peak(noise((4, 8, 16), 1024), 1024) < 20 << 20

    def test_many_different_tokens(self) -> None:
        """The worst for the lists: every context sees something new almost every time."""
        tokens = noise((300, 8, 16), 4096)
        assert self.peak(tokens, 4096) < 200 << 20

    def test_planes_of_a_large_alphabet(self) -> None:
        assert self.peak(noise((300, 32), 65536), 65536) < 200 << 20


class TestSurplus:
    def test_words_left_over(self) -> None:
        tokens = drifting((30, 6, 8), 40)
        payload = coder_for(tokens, 40).encode(tokens)
        with pytest.raises(CorruptError, match="left over"):
            coder_for(tokens, 40).decode(payload + b"\xde\xad\xbe\xef" * 3, len(tokens))
