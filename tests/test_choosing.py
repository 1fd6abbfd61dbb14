"""The choice of predictor and model where the caller leaves it open."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundled_models import bring_along
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import calm_tokens, favouring_model, noise, tiny_model

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

from make_fixtures import lively

import tokenzip
from tokenzip import codec
from tokenzip.choosing import asking, familiar, likely, trying
from tokenzip.choosing.asking import LEAST_TOKENS, MOST_TOKENS
from tokenzip.choosing.candidates import (
    LEAST_FOR_MODEL,
    OF_ASKING,
    Chosen,
    weight,
    weight_of_question,
)
from tokenzip.choosing.noise import is_noise
from tokenzip.choosing.sample import PLACES, sample
from tokenzip.errors import ModelMismatchError, OptionError
from tokenzip.grid import TokenGrid
from tokenzip.models import Geometry, Model
from tokenzip.models.bundled import Bundled
from tokenzip.predictors.network.predictor import Backend, NetworkPredictor, predictor_for

FRAME, ALPHABET = (3, 4), 20
#: Frames of which a sample that tells predictors apart is no large part.
MANY = 1200


def restless(frames: int) -> np.ndarray:
    """Tokens that hardly ever stay: nothing for the tiny models, which expect copies."""
    return lively((frames, *FRAME), ALPHABET, "<i8", 2, calm=0)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model("lstm", FRAME, ALPHABET, coarse=True)


@pytest.fixture(scope="module")
def other() -> Model:
    return tiny_model("conv3d", FRAME, ALPHABET, coarse=True)


@pytest.fixture(autouse=True)
def all_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """These blobs are too small to keep their notes."""
    monkeypatch.setattr(codec, "NOTE_SHARE", 0)


@pytest.fixture
def bundled(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundled:
    return bring_along(monkeypatch, tmp_path / "bundled", {"stand-in-1": model})[0]


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Tokens that each candidate is tried on, or its network asked about."""
    found: list[int] = []
    cost, ask = trying._cost, NetworkPredictor.surprisals

    def counted(factory: Any, pieces: Any, *options: Any) -> int:
        found.append(sum(piece.tokens.size for piece in pieces))
        return cost(factory, pieces, *options)

    def asked(self: NetworkPredictor, tokens: np.ndarray, known: int, codebooks: int) -> Any:
        found.append(tokens[known:].size)
        return ask(self, tokens, known, codebooks)

    monkeypatch.setattr(trying, "_cost", counted)
    monkeypatch.setattr(NetworkPredictor, "surprisals", asked)
    yield found


class TestBundled:
    def test_one_that_fits_the_tokens_is_taken(self, bundled: Bundled) -> None:
        tokens = calm_tokens((MANY, *FRAME), ALPHABET)
        blob = tokenzip.encode(tokens)
        info = tokenzip.inspect(blob)
        assert (info.predictor, info.bundled) == ("hybrid", 1)
        assert info.choice is not None and info.choice.tokens == 816
        first, second = info.choice.candidates
        assert (first.predictor, first.model, second.predictor) == ("hybrid", 1, "adaptive")
        assert first.millibits < second.millibits
        assert np.array_equal(tokenzip.decode(blob), tokens)
        assert len(blob) < len(tokenzip.encode(tokens, predictor="adaptive"))

    def test_one_that_does_not_is_not(self, bundled: Bundled) -> None:
        tokens = restless(MANY)
        blob = tokenzip.encode(tokens)
        info = tokenzip.inspect(blob)
        assert (info.version, info.predictor, info.bundled) == (2, "adaptive", None)
        assert info.choice is not None and info.choice.candidates[1].model == 1
        assert np.array_equal(tokenzip.decode(blob), tokens)
        alone = tokenzip.encode(tokens, predictor="adaptive")
        assert 0 < len(blob) - len(alone) <= 20  # the note
        assert blob.endswith(alone[-300:])

    def test_other_frames_alphabets_and_few_tokens_try_nothing(
        self, bundled: Bundled, trials: list[int]
    ) -> None:
        for tokens in (
            calm_tokens((200, 4, 3), ALPHABET),
            calm_tokens((200, 12), ALPHABET),
            calm_tokens((200, *FRAME), 21),
            calm_tokens((200, *FRAME), 5),  # of a tokenizer with fewer codes
            calm_tokens(((LEAST_FOR_MODEL - 1) // 12, *FRAME), ALPHABET),
            np.zeros((0, *FRAME), np.uint8),
        ):
            blob = tokenzip.encode(tokens)
            assert tokenzip.inspect(blob).version == 1
            assert blob == tokenzip.encode(tokens, predictor="adaptive")
        assert tokenzip.encode([]) == tokenzip.encode([], predictor="adaptive")
        assert trials == []

    def test_a_predictor_that_is_named_tries_nothing(
        self, bundled: Bundled, trials: list[int]
    ) -> None:
        tokens = calm_tokens((MANY, *FRAME), ALPHABET)
        for options in (
            {"predictor": "adaptive"},
            {"predictor": "stored"},
            {"model": "stand-in-1"},
            {"model": "stand-in-1", "predictor": "lstm"},
        ):
            assert tokenzip.inspect(tokenzip.encode(tokens, **options)).choice is None
        assert trials == []

    def test_noise_tries_nothing(self, bundled: Bundled, trials: list[int]) -> None:
        tokens = noise((300, *FRAME), ALPHABET)
        blob = tokenzip.encode(tokens)
        assert blob == tokenzip.encode(tokens, predictor="adaptive")
        assert trials == []

    def test_bytes_depend_on_no_setting(self, bundled: Bundled) -> None:
        grids = [calm_tokens((MANY, *FRAME), ALPHABET, seed) for seed in range(3)]
        for solid in (False, True):
            blob = tokenzip.encode(grids, solid=solid)
            assert tokenzip.inspect(blob).bundled == 1
            for options in ({"threads": 3}, {"backend": "torch"}, {"batch": 1}):
                if options.get("backend") == "torch":
                    pytest.importorskip("torch")
                assert tokenzip.encode(grids, solid=solid, **options) == blob
            for a, b in zip(tokenzip.decode(blob), grids, strict=True):
                assert np.array_equal(a, b)

    def test_one_choice_for_all_grids(self, bundled: Bundled) -> None:
        calm = [calm_tokens((400, *FRAME), ALPHABET, seed) for seed in range(3)]
        empty = np.zeros((0, 5), np.int8)
        assert tokenzip.inspect(tokenzip.encode([*calm, empty])).bundled == 1
        other_frames = calm_tokens((100, 5), 9)
        assert tokenzip.inspect(tokenzip.encode([*calm, other_frames])).predictor == "adaptive"

    def test_chunks_are_tried_as_they_are_coded(self, bundled: Bundled, trials: list[int]) -> None:
        tokens = calm_tokens((MANY, *FRAME), ALPHABET)
        tokenzip.encode(tokens, chunk_frames=5)
        assert trials == [15 * 48] * 2  # four of the five frames of fifteen chunks

    def test_archives_choose_clip_by_clip(self, bundled: Bundled, tmp_path: Path) -> None:
        clips = {"calm": calm_tokens((MANY, *FRAME), ALPHABET), "restless": restless(MANY)}
        with tokenzip.open(tmp_path / "a.tkz.h5", "w") as archive:
            archive.append(clips)
            assert [clip.predictor for clip in archive.values()] == ["hybrid", "adaptive"]
            for name, tokens in clips.items():
                assert archive.read_blob(name) == tokenzip.encode(tokens)
                assert np.array_equal(archive[name][10:20], tokens[10:20])

    def test_a_note_is_next_to_nothing(
        self, bundled: Bundled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(codec, "NOTE_SHARE", 256)
        for calm, kept in ((0.95, False), (0.5, True)):
            blob = tokenzip.encode(calm_tokens((MANY, *FRAME), ALPHABET, calm=calm))
            info = tokenzip.inspect(blob)
            assert info.bundled == 1 and (info.choice is not None) == kept == (len(blob) > 3000)

    def test_never_more_than_raw_and_64_bytes(self, bundled: Bundled) -> None:
        """Tokens that compress by very little: where a note would not fit, it is left out."""
        rng = np.random.default_rng(4)
        for frames in (90, 120, 200):
            for part in (0.0, 0.02, 0.05, 0.1, 0.2):
                tokens = noise((frames, *FRAME), ALPHABET, 3)
                again = rng.random(tokens.shape) < part
                tokens[1:][again[1:]] = tokens[:-1][again[1:]]
                blob = tokenzip.encode(tokens, chunk_frames=1)
                assert len(blob) <= tokenzip.inspect(blob).raw_bytes + codec.MAX_OVERHEAD
                assert np.array_equal(tokenzip.decode(blob), tokens)


class TestSeveralModels:
    def test_the_cheapest_of_a_list_or_folder(
        self, model: Model, other: Model, tmp_path: Path
    ) -> None:
        tokens = calm_tokens((MANY, *FRAME), ALPHABET)
        sizes = {one.identity: len(tokenzip.encode(tokens, model=one)) for one in (model, other)}
        for one in (model, other):
            one.save(tmp_path / f"{one.spec.family}.safetensors")
        blob = tokenzip.encode(tokens, model=[model, other])
        info = tokenzip.inspect(blob)
        assert info.model == min(sizes, key=lambda identity: sizes[identity])
        assert info.choice is not None and len(info.choice.candidates) == 3
        assert [one.model for one in info.choice.candidates[:2]] == ["given", "given"]
        assert np.array_equal(tokenzip.decode(blob, model=tmp_path), tokens)
        # conv3d comes first in the folder, which is of no importance unless they are equal.
        assert tokenzip.inspect(tokenzip.encode(tokens, model=tmp_path)).model == info.model
        assert tokenzip.inspect(tokenzip.encode(restless(MANY), model=[model])).model is None

    def test_as_hybrid_only(self, model: Model, trials: list[int]) -> None:
        info = tokenzip.inspect(tokenzip.encode(restless(MANY), model=[model], predictor="hybrid"))
        assert info.model == model.identity and trials == []

    def test_those_that_do_not_fit_are_left_out(self, model: Model) -> None:
        wrong = tiny_model("lstm", (2, 2), 5, coarse=True)
        tokens = calm_tokens((MANY, *FRAME), ALPHABET)
        info = tokenzip.inspect(tokenzip.encode(tokens, model=[wrong, model]))
        assert info.model == model.identity
        assert info.choice is not None and len(info.choice.candidates) == 2
        assert tokenzip.inspect(tokenzip.encode(tokens, model=[wrong])).predictor == "adaptive"
        with pytest.raises(ModelMismatchError, match="none of the models"):
            tokenzip.encode(tokens, model=[wrong], predictor="hybrid")

    def test_what_makes_no_sense(self, model: Model, tmp_path: Path) -> None:
        tokens = calm_tokens((MANY, *FRAME), ALPHABET)
        with pytest.raises(OptionError, match="single model"):
            tokenzip.encode(tokens, model=[model], embed_model=True)
        with pytest.raises(OptionError, match="single model"):
            tokenzip.encode(tokens, model=[model, model], predictor="lstm")
        with pytest.raises(OptionError, match="no models"):
            tokenzip.encode(tokens, model=tmp_path)
        with pytest.raises(OptionError, match="no models"):
            tokenzip.encode(tokens, model=[])

    def test_archives_keep_the_models_that_were_chosen(
        self, model: Model, other: Model, tmp_path: Path
    ) -> None:
        tokens = calm_tokens((MANY, *FRAME), ALPHABET)
        with tokenzip.open(tmp_path / "a.tkz.h5", "w", model=[model, other]) as archive:
            archive["a"] = tokens
            archive["b"] = restless(MANY)
            assert len(archive.models) == 1
        archive = tokenzip.open(tmp_path / "a.tkz.h5")
        assert np.array_equal(archive["a"][:], tokens)
        assert archive["b"].predictor == "adaptive"


#: Of tokens of which a few tell much.
MORE = 200
KNOWN = 40


def knowing(symbols: int = KNOWN) -> Model:
    """A model of the first symbols."""
    return favouring_model(FRAME, MORE, symbols)


@pytest.fixture(scope="module")
def unknowing() -> Model:
    return tiny_model("lstm", FRAME, MORE, coarse=True)


def favourites(frames: int) -> np.ndarray:
    """Tokens of the first symbols, which do not stay."""
    return np.random.default_rng(frames).integers(0, KNOWN, (frames, *FRAME))


class TestFewTokens:
    FRAMES = 100

    def test_networks_alone_are_asked(self, unknowing: Model, trials: list[int]) -> None:
        knows = knowing()
        tokens = favourites(self.FRAMES)
        blob = tokenzip.encode(tokens, model=[unknowing, knows], alphabet=MORE)
        info = tokenzip.inspect(blob)
        assert (info.model, info.choice) == (knows.identity, None)
        assert blob == tokenzip.encode(tokens, model=knows, alphabet=MORE)
        assert len(blob) < len(tokenzip.encode(tokens, predictor="adaptive", alphabet=MORE))
        assert np.array_equal(tokenzip.decode(blob, model=knows), tokens)
        assert trials == [60, 60]  # five frames

    def test_where_none_knows_the_tokens(self, unknowing: Model, trials: list[int]) -> None:
        knows = knowing()
        others = favourites(self.FRAMES) + 2 * KNOWN
        calm = calm_tokens((self.FRAMES, *FRAME), MORE)
        for tokens, one in ((others, knows), (calm, knows), (calm, unknowing)):
            blob = tokenzip.encode(tokens, model=[one], alphabet=MORE)
            assert blob == tokenzip.encode(tokens, predictor="adaptive", alphabet=MORE)
        # If it has to be one of them, it is the cheapest.
        blob = tokenzip.encode(others, model=[knows, unknowing], predictor="hybrid", alphabet=MORE)
        assert tokenzip.inspect(blob).model == unknowing.identity
        assert len(trials) == 5

    def test_few_different_symbols_need_no_model(self, unknowing: Model) -> None:
        """However much a model likes them by chance."""
        for symbols in (1, 2, 3):
            for seed in range(4):
                chance = np.random.default_rng(seed)
                some = chance.choice(MORE, symbols, replace=False)
                likes = knowing(int(some.min()) + 1)
                tokens = chance.choice(some, (self.FRAMES, *FRAME))
                blob = tokenzip.encode(tokens, model=[likes, unknowing], alphabet=MORE)
                assert blob == tokenzip.encode(tokens, predictor="adaptive", alphabet=MORE)

    def test_of_equals_the_order_does_not_matter(self, unknowing: Model) -> None:
        one = knowing()
        models = [
            Model(one.spec, {**one.tensors, "position": one.tensors["position"] + np.int8(number)})
            for number in range(3)  # which no output depends on
        ]
        first = min(models, key=lambda one: one.identity)
        # Nor where nothing is tried.
        for tokens in (favourites(self.FRAMES), noise((300, *FRAME), MORE)):
            for order in (models, models[::-1]):
                blob = tokenzip.encode(tokens, model=order, predictor="hybrid", alphabet=MORE)
                assert tokenzip.inspect(blob).predictor in ("hybrid", "stored")
                assert blob == tokenzip.encode(tokens, model=first, alphabet=MORE)

    def test_bytes_depend_on_no_setting(self, unknowing: Model) -> None:
        pytest.importorskip("torch")
        models = [unknowing, knowing()]
        tokens = [favourites(30), favourites(70)]
        blob = tokenzip.encode(tokens, model=models, alphabet=MORE)
        assert tokenzip.inspect(blob).model == models[1].identity
        for options in ({"threads": 2}, {"batch": 1}, {"backend": "torch"}, {"solid": True}):
            other = tokenzip.encode(tokens, model=models[::-1], alphabet=MORE, **options)
            assert tokenzip.inspect(other).model == models[1].identity
            assert "solid" in options or other == blob

    def test_chunks_are_asked_about_as_they_are(self, trials: list[int]) -> None:
        """Of one frame each, nothing is known before."""
        tokens = favourites(self.FRAMES)
        tokenzip.encode(tokens, model=[knowing()], alphabet=MORE, chunk_frames=1)
        assert set(trials) == {12}

    def test_what_it_may_take(self, unknowing: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        models = sorted([unknowing, knowing()], key=lambda one: one.identity)
        geometry = Geometry.of(FRAME, MORE)
        given: list[tuple[Any, ...]] = []

        def kept(*arguments: Any, fastest: int | None, chunk_frames: int | None) -> Model:
            given.append((*arguments[1:], fastest))
            return models[0]

        monkeypatch.setattr(trying, "most_familiar", kept)
        weights = [weight(Chosen("hybrid", model), geometry) for model in models]
        for predictor, fastest in (
            ("auto", weight(Chosen("adaptive"), geometry)),
            ("hybrid", None),
        ):
            tokenzip.encode(favourites(50), model=models[::-1], alphabet=MORE, predictor=predictor)
            asked, _, own, least = given.pop()
            assert (asked, own, least) == (models, weights, fastest)
            assert fastest is None or fastest < min(weights)

    def test_as_many_networks_are_kept_as_there_are_to_choose_from(self) -> None:
        models = [knowing(number) for number in range(20, 29)]
        tokenzip.encode(favourites(50), model=models, alphabet=MORE)
        first = [predictor_for(model, Backend()) for model in models]
        tokenzip.encode(favourites(50), model=models, alphabet=MORE)
        assert all(
            predictor_for(model, Backend()) is one for model, one in zip(models, first, strict=True)
        )

    def test_large_frames_are_asked_about_their_middle(self, trials: list[int]) -> None:
        large = tiny_model("lstm", (40, 40), 6, coarse=True)
        for frames in (1, 2, 12):
            tokens = calm_tokens((frames, 40, 40), 6)
            assert tokenzip.inspect(tokenzip.encode(tokens, model=[large])).predictor != "hybrid"
        assert trials and set(trials) <= {100, 50}  # of 10 x 10 sites or 5 x 10


class TestSizeOfTheSample:
    def test_weights_are_in_proportion(self, model: Model) -> None:
        few, many = Geometry.of(FRAME, 2), Geometry.of(FRAME, 1024)
        adaptive, hybrid = Chosen("adaptive"), Chosen("hybrid", model)
        assert 4 * weight(adaptive, few) < weight(adaptive, many)
        # A model has its own alphabet, however few of its symbols occur.
        assert weight(hybrid, few) == weight(hybrid, many) > weight(adaptive, model.spec.geometry)
        halves = weight(adaptive, Geometry.of(FRAME, 65536))
        assert halves == 2 * weight(adaptive, Geometry.of(FRAME, 256))

    def test_the_margin_shrinks(self) -> None:
        assert [trying.margin(tokens) for tokens in (512, 10_240, 32_768)] == [50, 11, 6]

    @given(
        total=st.integers(0, 10**9),
        weights=st.lists(st.integers(1000, 10**5), min_size=1, max_size=9),
    )
    def test_trying_is_bounded(self, total: int, weights: list[int]) -> None:
        tokens = trying.share(total, weights, min(weights))
        assert 0 <= tokens <= total
        assert 100 * tokens * sum(weights) <= 15 * total * min(weights)

    def test_questions_of_larger_networks_take_longer(self) -> None:
        def takes(*arguments: Any, **sizes: int) -> tuple[int, int]:
            return weight_of_question(tiny_model("lstm", *arguments, **sizes), 4)

        fixed, each = takes(FRAME, ALPHABET)
        assert takes(FRAME, ALPHABET, state=400)[1] > 2 * each
        assert takes(FRAME, 4000, hidden=100)[1] > 2 * each
        # Of more than four codebooks the body is for all of them.
        assert takes((4,), ALPHABET)[0] == takes((32,), ALPHABET)[0] > fixed
        assert takes((4,), ALPHABET)[1] < takes((32,), ALPHABET)[1]
        # Halves of tokens are two symbols.
        assert takes(FRAME, 5000)[0] > takes(FRAME, 4000)[0]

    @given(total=st.integers(1, 10**6), models=st.integers(1, 9), fastest=st.integers(1000, 10**5))
    def test_asking_is_bounded(self, total: int, models: int, fastest: int) -> None:
        asked = [tiny_model("lstm", FRAME, ALPHABET, coarse=True)] * models
        time = total * asking.PERCENT * fastest // 100 - OF_ASKING
        places, symbols = asking.how_much_to_ask(asked, time)
        assert 1 <= places <= PLACES and LEAST_TOKENS <= symbols <= MOST_TOKENS
        if (places, symbols) > (1, LEAST_TOKENS):
            fixed, each = weight_of_question(asked[0], familiar.CODEBOOKS)
            assert OF_ASKING + models * places * (fixed + symbols * each) <= time + OF_ASKING
            assert 100 * (time + OF_ASKING) <= 15 * total * fastest

    @given(
        shapes=st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1, 8, 128])), max_size=5),
        wanted=st.integers(1, 9000),
        chunk_frames=st.none() | st.integers(1, 40),
    )
    def test_samples_are_parts_of_chunks(
        self, shapes: list[tuple[int, int]], wanted: int, chunk_frames: int | None
    ) -> None:
        grids = [TokenGrid.of(np.zeros(shape, np.uint8)) for shape in shapes]
        pieces = sample(grids, wanted, chunk_frames)
        largest = max((grid.frame_tokens for grid in grids), default=1)
        found = sum(piece.tokens.size for piece in pieces)
        assert found <= max(wanted, 2 * len(pieces) * largest)
        assert bool(pieces) == any(grid.tokens.size for grid in grids)
        for piece in pieces:
            assert 1 <= len(piece.tokens) <= (chunk_frames or 10**9) * 3 // 2 + 1

    def test_they_are_spread(self) -> None:
        grids = [TokenGrid.of(np.full((1200, 8, 16), number)) for number in range(8)]
        pieces = sample(grids, 30_000, None)
        assert [int(piece.tokens[0, 0, 0]) for piece in pieces] == [1, 3, 5, 7]
        assert [piece.tokens.size for piece in pieces] == [7424] * 4


class TestNoise:
    @settings(max_examples=20)
    @given(alphabet=st.sampled_from([2, 3, 100, 1024, 65536]), seed=st.integers(0, 10**6))
    def test_random_tokens_are_told(self, alphabet: int, seed: int) -> None:
        grid = TokenGrid.of(noise((70, 8, 16), alphabet, seed), alphabet)
        assert is_noise([grid])

    def test_what_can_be_predicted_is_not(self) -> None:
        for tokens in (
            calm_tokens((70, 8, 16), 1024, calm=0.05),
            np.zeros((70, 8, 16), int),
            noise((70, 8, 16), 1024) // 2 * 2,
            np.repeat(noise((70, 8, 8), 1024), 2, axis=2),
        ):
            assert not is_noise([TokenGrid.of(tokens, 1024)])
            random = TokenGrid.of(noise((70, 8, 16), 1024), 1024)
            assert not is_noise([random, TokenGrid.of(tokens, 1024)])


def test_nothing_is_loaded_to_know_the_candidates(
    bundled: Bundled, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled.path.unlink()
    assert likely([bundled], [TokenGrid.of(calm_tokens((MANY, *FRAME), ALPHABET))]) == [bundled]
    assert likely([bundled], [TokenGrid.of(calm_tokens((200, 3), ALPHABET))]) == []
    assert likely([bundled], []) == []
