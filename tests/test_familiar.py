"""Whether models know tokens: what networks are asked about, what they say, and what it means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from backends import cuda
from hypothesis import given
from hypothesis import strategies as st
from network_cases import FAMILIES, calm_tokens, favouring_model, noise, tiny_model

from tokenzip.choosing import asking, familiar
from tokenzip.choosing.candidates import OF_ASKING
from tokenzip.choosing.sample import Piece
from tokenzip.coding.constants import SCORE_ONE
from tokenzip.grid import TokenGrid
from tokenzip.models import HISTORY, Geometry, Model
from tokenzip.predictors.network.predictor import Backend, NetworkPredictor, predictor_for
from tokenzip.predictors.network.surprisal import Surprisals

#: Frames of several planes, of halves of tokens, of a long row, of a stream.
SHAPES = [((3, 4), 20), ((2, 5, 3), 9), ((4,), 30), ((2, 3), 5000), ((40,), 11), ((), 50)]


BACKENDS = ["numba", "torch-cpu", pytest.param("torch-cuda", marks=pytest.mark.gpu)]


def backend(name: str) -> Backend:
    if name != "numba":
        pytest.importorskip("torch")
    if name == "torch-cuda" and not cuda():
        pytest.skip("there is no CUDA device")
    return Backend(name.split("-")[0], name.partition("-")[2] or None)


def as_sites(tokens: np.ndarray, alphabet: int) -> np.ndarray:
    geometry = Geometry.of(tokens.shape[1:], alphabet)
    shape = -1, geometry.height, geometry.width, geometry.codebooks
    return tokens.reshape(shape).astype(np.uint16)


class TestMiddle:
    @given(sides=st.tuples(st.integers(1, 9), st.integers(1, 9)), data=st.data())
    def test_is_in_the_middle(self, sides: tuple[int, int], data: st.DataObject) -> None:
        part = [data.draw(st.integers(1, side)) for side in sides]
        places = Geometry(*sides, 1, 2).middle(*part)
        for place, side, size in zip(places, sides, part, strict=True):
            assert place.stop - place.start == size and 0 <= place.start <= place.stop <= side
            assert abs((place.start + place.stop) - side) <= 1

    @pytest.mark.parametrize("name", BACKENDS)
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("sides", [(3, 2), (1, 1), (5, 6), (2, 6)])
    def test_networks_are_as_if_there_were_no_more(
        self, family: str, sides: tuple[int, int], name: str
    ) -> None:
        model = tiny_model(family, (5, 6, 2), 9)
        height, width = sides
        rows, columns = model.spec.geometry.middle(height, width)
        tensors = {
            name: tensor.reshape(5, 6, -1)[rows, columns].reshape(height * width, -1)
            if name == "position" or name.endswith("site_bias")
            else tensor
            for name, tensor in model.tensors.items()
        }
        geometry = replace(model.spec.geometry, height=height, width=width)
        alone = Model(replace(model.spec, geometry=geometry), tensors)
        whole = NetworkPredictor(model, backend(name))
        before = whole.encode([calm_tokens((4, 5, 6, 2), 9).astype(np.uint16)])
        for frames in (5, 7):
            tokens = as_sites(calm_tokens((frames, height, width, 2), 9, calm=0.5), 9)
            found = whole.surprisals(tokens, 1, 2)
            expected = NetworkPredictor(alone, Backend("numba")).surprisals(tokens, 1, 2)
            for a, b in zip(found, expected, strict=True):
                assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        # And the whole is what it was.
        assert whole.encode([calm_tokens((4, 5, 6, 2), 9).astype(np.uint16)]) == before


class TestSurprisals:
    """What networks say."""

    @pytest.mark.parametrize("name", BACKENDS)
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("frame, alphabet", SHAPES)
    def test_own_is_what_encoding_takes(
        self, family: str, frame: tuple[int, ...], alphabet: int, name: str
    ) -> None:
        predictor = NetworkPredictor(tiny_model(family, frame, alphabet), backend(name))
        tokens = calm_tokens((9, *frame), alphabet, calm=0.5).astype(np.uint16)
        seen = predictor.surprisals(as_sites(tokens, alphabet), 0, 99)
        own = sum(int(of_plane.own.sum()) for of_plane in seen) / SCORE_ONE
        (payload,) = predictor.encode([tokens])
        # Lengths of lanes, and 32 bits and a word of each, are not in the sum.
        assert -0.02 * own <= 8 * len(payload) - own <= 0.02 * own + 32 * 8 * 4

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("frame, alphabet", SHAPES)
    def test_frames_that_are_known_are_looked_at(
        self, family: str, frame: tuple[int, ...], alphabet: int
    ) -> None:
        predictor = NetworkPredictor(tiny_model(family, frame, alphabet), Backend("numba"))
        tokens = as_sites(calm_tokens((6, *frame), alphabet, calm=0.9), alphabet)
        of_frame = tokens[0].size * (2 if predictor.network.geometry.split else 1)
        for known in range(HISTORY + 1):
            seen = predictor.surprisals(tokens, known, 99)
            assert sum(len(of_plane.own) for of_plane in seen) == of_frame * (6 - known)
        # These models like copies.
        last = tokens[[0, 0]]
        alone, after = (
            sum(int(one.own.sum()) for one in predictor.surprisals(frames, known, 99))
            for frames, known in ((last[:1], 0), (last, 1))
        )
        assert after < alone

    def test_of_the_first_codebooks(self) -> None:
        for frame, alphabet, codebooks, planes in (((2, 3, 6), 9, 4, 4), ((8,), 5000, 3, 6)):
            predictor = NetworkPredictor(tiny_model("lstm", frame, alphabet), Backend("numba"))
            tokens = as_sites(calm_tokens((4, *frame), alphabet), alphabet)
            every = predictor.surprisals(tokens, 1, 99)
            some = predictor.surprisals(tokens, 1, codebooks)
            assert len(some) == planes < len(every) == predictor.network.geometry.planes
            for a, b in zip(some, every[:planes], strict=True):
                assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    def test_others_and_what_is_new(self) -> None:
        alphabet = 300
        model = tiny_model("lstm", (3, 4, 2), alphabet)
        predictor = NetworkPredictor(model, Backend("numba"))
        tokens = as_sites(calm_tokens((7, 3, 4, 2), alphabet, calm=0.3), alphabet)
        symbols = predictor.network.geometry.to_symbols(tokens)
        seen = predictor.surprisals(tokens, 2, 2)
        assert len(seen) == 2 and len(predictor.surprisals(tokens, 2, 1)) == 1
        # As often as all others would have come there instead, in steps of four.
        others = []
        for symbol in range(0, alphabet, 4):
            changed = tokens.copy()
            changed[-1, 2, 3, 0] = symbol
            others.append(int(predictor.surprisals(changed, 2, 2)[0].own[-1]))
        assert int(seen[0].others[-1]) == sum(others) // len(others)
        for plane, of_plane in enumerate(seen):
            assert np.array_equal(of_plane.symbols, symbols[2:, :, plane].reshape(-1))
            at = -1
            for frame in range(2, 7):
                for row in range(3):
                    for column in range(4):
                        at += 1
                        around = []
                        for back, down, right in model.spec.features.candidates:
                            y, x = row + down, column + right
                            if 0 <= y < 3 and 0 <= x < 4:
                                around.append(symbols[frame - back, 4 * y + x, plane])
                        own = symbols[frame, 4 * row + column, plane]
                        assert bool(of_plane.new[at]) == (own not in around)


def surprisals(symbols: list[int], bits: float, *, new: bool = True) -> Surprisals:
    """Symbols that all surprise by so many bits less than others."""
    size = len(symbols)
    others = np.full(size, 20 * SCORE_ONE)
    own = others - round(bits * SCORE_ONE)
    return Surprisals(np.array(symbols, np.int64), own, others, np.full(size, new))


class TestKnows:
    """What that means."""

    @given(count=st.integers(1, 500), twice=st.booleans())
    def test_the_more_symbols_the_less_is_needed(self, count: int, twice: bool) -> None:
        need = max(1.2 * 10 / count**0.5, 1.5)
        symbols = list(range(count)) * (1 + twice)
        for bits, known in ((need + 0.06, True), (need - 0.06, False), (-3, False), (0, False)):
            assert familiar.knows([[surprisals(symbols, bits)]], 1024) == known

    def test_each_symbol_counts_once(self) -> None:
        often = surprisals([1, 2, 3] * 300, 6)
        assert not familiar.knows([[often]], 1024)
        # Also of several planes and pieces.
        assert not familiar.knows([[often]] * 30, 1024)
        assert not familiar.knows([[often] * 30], 1024)
        # What one is liked, and another is not, is evened out.
        both = [surprisals([1], 100), surprisals(list(range(2, 40)), -1)]
        assert not familiar.knows([[one] for one in both], 1024)

    def test_what_is_around_does_not_count(self) -> None:
        copied = surprisals(list(range(200)), 15, new=False)
        assert not familiar.knows([[copied]], 1024)
        assert not familiar.knows([[copied, surprisals([], 0)]], 1024)
        assert familiar.knows([[copied, surprisals(list(range(50)), 3)]], 1024)

    def test_all_planes_and_pieces_surprise(self) -> None:
        one, other = surprisals([1, 1, 2], 3), surprisals([5], 7, new=False)
        steps = 3 * 17 * SCORE_ONE + 13 * SCORE_ONE
        assert familiar.surprise([[one, other], [other]]) == steps + 13 * SCORE_ONE

    def test_smaller_alphabets_need_fewer_bits(self) -> None:
        some = surprisals(list(range(16)), 2)
        assert familiar.knows([[some]], 16) and not familiar.knows([[some]], 1024)


def piece(tokens: np.ndarray, alphabet: int = 1024) -> Piece:
    grid = TokenGrid.of(tokens, alphabet)
    return Piece(grid, grid.tokens, grid.tokens.size)


class TestLiveliest:
    """What networks are asked about."""

    def test_where_the_most_changes(self) -> None:
        tokens = np.repeat(noise((1, 8, 16), 1024), 20, axis=0)
        tokens[7:, :4] = noise((1, 4, 16), 1024, 2)
        tokens[13:] = noise((1, 8, 16), 1024, 3)
        frames, known = familiar.liveliest(piece(tokens), 128)
        assert known == 1 and np.array_equal(frames[..., 0], tokens[12:14])
        # Of the middle, where that is all there is to ask about.
        frames, known = familiar.liveliest(piece(tokens[:13]), 70)
        assert known == 1 and np.array_equal(frames[..., 0], tokens[6:8, :, 4:12])

    def test_as_many_frames_as_have_these_symbols(self) -> None:
        tokens = noise((200, 8), 1024)
        tokens[:150] = tokens[0]
        frames, known = familiar.liveliest(piece(tokens), 128)
        assert known == 1 and frames.shape == (33, 1, 1, 8)  # of four planes
        frames, known = familiar.liveliest(piece(tokens[190:]), 128)
        assert known == 1 and np.array_equal(frames[:, 0, 0], tokens[190:])
        # What changes in other codebooks is of no interest.
        tokens[:, :4] = 7
        tokens[20:40, :3] = noise((20, 3), 1024)
        frames, known = familiar.liveliest(piece(tokens), 64)
        assert known == 1 and len(np.unique(frames[:, 0, 0, 0])) >= 15

    def test_frames_that_stand_still_are_as_if_they_were_the_first(self) -> None:
        tokens = np.repeat(noise((1, 8, 16), 1024), 20, axis=0)
        tokens[5, 0, :7] ^= 1
        tokens[-1, 0, :2] ^= 1
        for some in (tokens, tokens[:1]):
            frames, known = familiar.liveliest(piece(some), 128)
            assert known == 0 and np.array_equal(frames[..., 0], tokens[:1])

    @given(
        frame=st.lists(st.integers(1, 70), min_size=0, max_size=3).filter(
            lambda frame: np.prod(frame[:-1], dtype=int) * (frame or [1])[-1] <= 4096
        ),
        frames=st.integers(1, 5),
        symbols=st.integers(asking.LEAST_TOKENS, asking.MOST_TOKENS),
    )
    def test_no_more_than_asked_for(self, frame: list[int], frames: int, symbols: int) -> None:
        found, known = familiar.liveliest(piece(noise((frames, *frame), 1024)), symbols)
        count, height, width, codebooks = found.shape
        assert known < count <= frames
        of_frame = height * width * min(codebooks, familiar.CODEBOOKS)
        assert (count - known) * of_frame <= symbols


class TestLatest:
    def test_after_as_many_frames_as_can_be_known(self) -> None:
        tokens = noise((20, 8, 16), 1024)
        frames, known = familiar.latest(piece(tokens), 128)
        assert known == HISTORY and np.array_equal(frames[..., 0], tokens[-HISTORY - 1 :])
        frames, known = familiar.latest(piece(tokens[:3]), 128)
        assert known == 2 and np.array_equal(frames[..., 0], tokens[:3])
        frames, known = familiar.latest(piece(tokens[:1]), 64)
        assert known == 0 and np.array_equal(frames[..., 0], tokens[:1, :, 4:12])
        tokens = noise((90, 8), 1024)
        frames, known = familiar.latest(piece(tokens), 128)
        assert known == HISTORY and np.array_equal(frames[:, 0, 0], tokens[-HISTORY - 32 :])


class TestMostFamiliar:
    """Of several models."""

    FRAME, ALPHABET = (8, 16), 300

    @pytest.fixture
    def models(self) -> list[Model]:
        return [favouring_model(self.FRAME, self.ALPHABET, 60 * number) for number in range(1, 5)]

    def ask(
        self,
        tokens: np.ndarray,
        models: list[Model],
        fastest: int | None,
        weight: int = 20_000,
        weights: list[int] | None = None,
    ) -> Model | None:
        grid = TokenGrid.of(tokens, self.ALPHABET)
        return asking.most_familiar(
            *([grid], models, lambda one: predictor_for(one, Backend("numba"))),
            weights or [weight] * len(models),
            fastest=fastest,
            chunk_frames=None,
        )

    @pytest.mark.parametrize("frames", [2, 8, 30])
    def test_is_the_one_of_those_that_know_that_expects_most(
        self, models: list[Model], frames: int
    ) -> None:
        for symbols, best in ((55, 0), (115, 1), (175, 2), (300, None)):
            tokens = noise((frames, *self.FRAME), symbols, frames)
            for order in (models, models[::-1]):
                found = self.ask(tokens, order, 10_000)
                assert found is (None if best is None else models[best])
                # If it has to be one of them, it is the same, and one is found anyhow.
                assert self.ask(tokens, order, None) is models[3 if best is None else best]

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, np.ndarray]]:
        """Whose networks are asked about which tokens."""
        found: list[tuple[bytes, np.ndarray]] = []
        ask = NetworkPredictor.surprisals

        def counted(self: NetworkPredictor, tokens: np.ndarray, *more: int) -> object:
            found.append((self.network.model.identity, tokens))
            return ask(self, tokens, *more)

        monkeypatch.setattr(NetworkPredictor, "surprisals", counted)
        return found

    def test_nobody_is_asked_twice_where_that_takes_too_long(
        self, models: list[Model], asked: list[tuple[bytes, np.ndarray]]
    ) -> None:
        def shapes() -> list[tuple[int, ...]]:
            found = [tokens.shape for _, tokens in asked]
            asked.clear()
            return found

        models = models[:3]
        tokens = noise((8, *self.FRAME), 55)
        assert self.ask(tokens, models, 1000, weight=2000) is models[0]
        assert shapes() == [(2, 8, 8, 1)] * 3
        # What has been spent counts: it is enough for the second question alone.
        spent = OF_ASKING + asking.asking_takes(models, 1, asking.LEAST_TOKENS)
        second = asking.asking_takes(models, 1, asking.MOST_TOKENS)
        weight = 100 * (second + spent // 2) // (asking.PERCENT_IN_ALL * tokens.size)
        assert self.ask(tokens, models, 1000, weight=weight) is models[0]
        assert shapes() == [(2, 8, 8, 1)] * 3
        weight = 100 * (second + spent + spent // 4) // (asking.PERCENT_IN_ALL * tokens.size)
        assert self.ask(tokens, models, 1000, weight=weight) is models[0]
        assert shapes() == [(2, 8, 8, 1)] * 3 + [(HISTORY + 1, 8, 16, 1)] * 3

    def test_places_differ(
        self, models: list[Model], asked: list[tuple[bytes, np.ndarray]]
    ) -> None:
        for fastest in (10_000, None):
            self.ask(noise((24, *self.FRAME), 55), models[:1] * 2, fastest)
            different = {tokens.tobytes() for _, tokens in asked}
            assert len(different) * 2 == len(asked) and len(asked) > 2
            asked.clear()

    def test_only_those_that_know_are_asked_again(
        self, models: list[Model], asked: list[tuple[bytes, np.ndarray]]
    ) -> None:
        tokens = noise((8, *self.FRAME), 175)
        # Nor does it matter how long the other takes.
        assert self.ask(tokens, models[:3], 1000, weights=[1, 20_000, 20_000]) is models[2]
        identities = [identity for identity, _ in asked]
        times = [identities.count(model.identity) for model in models[:3]]
        assert times[0] == 1 < times[1] == times[2]
