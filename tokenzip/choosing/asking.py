"""The best model for few tokens, by asking networks whether they know them, and which best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..grid import TokenGrid
from ..models import HISTORY, Model
from .candidates import OF_ASKING, weight_of_question
from .familiar import CODEBOOKS, Tokens, knows, latest, liveliest, surprise
from .sample import PLACES, sample

if TYPE_CHECKING:
    from ..predictors.network.predictor import NetworkPredictor
    from ..predictors.network.surprisal import Surprisals

#: Asking whether any model knows the tokens takes about so many hundredths of the time that the
#: fastest candidate takes: few, for predictors take less for few tokens than their weights say.
#: Asking those that do for which it is best is worth it if all together takes so many of what the
#: hybrid with one takes.
PERCENT, PERCENT_IN_ALL = 8, 15
#: Tokens that networks are asked about in one place: fewer mislead, more are not needed.
LEAST_TOKENS, MOST_TOKENS = 64, 128
#: Tokens of a place that these are chosen from.
LOOK = 2048


def most_familiar(
    grids: Sequence[TokenGrid],
    models: Sequence[Model],
    networks: Callable[[Model], NetworkPredictor],
    weights: Sequence[int],
    *,
    fastest: int | None,
    chunk_frames: int | None,
) -> Model | None:
    """The model that knows the tokens of the grids best.

    Args:
        weights: how long a token takes with each model; fastest: with the fastest candidate. If
            that is None it has to be one of the models, whether it knows the tokens or not.
        networks: whom to ask.
    """
    total = sum(grid.tokens.size for grid in grids)
    known, spent = list(models), OF_ASKING
    if fastest is not None:
        places, count = how_much_to_ask(models, total * PERCENT * fastest // 100 - spent)
        pieces = sample(grids, min(places * LOOK, total), chunk_frames, places)
        answers = _ask(models, networks, [liveliest(piece, count) for piece in pieces])
        known = [one for one in models if knows(answers[one], one.spec.geometry.symbols)]
        if len(known) < 2:
            return known[0] if known else None
        spent += asking_takes(models, places, count)
    of_known = [own for model, own in zip(models, weights, strict=True) if model in known]
    time = total * PERCENT_IN_ALL * min(of_known) // 100 - spent
    if fastest is None or time >= asking_takes(known, 1, MOST_TOKENS):
        places = _places(known, time)
        geometry = known[0].spec.geometry
        frames = HISTORY + 1 + MOST_TOKENS // (geometry.sites * min(geometry.codebooks, CODEBOOKS))
        pieces = sample(grids, places * frames * geometry.frame_tokens, chunk_frames, places)
        answers = _ask(known, networks, [latest(piece, MOST_TOKENS) for piece in pieces])
    # Of equals the order must not depend on names of files.
    return min(known, key=lambda one: (surprise(answers[one]), one.identity))


def _ask(
    models: Sequence[Model],
    networks: Callable[[Model], NetworkPredictor],
    parts: Sequence[tuple[Tokens, int]],
) -> dict[Model, list[list[Surprisals]]]:
    return {
        model: [networks(model).surprisals(*part, CODEBOOKS) for part in parts] for model in models
    }


def how_much_to_ask(models: Sequence[Model], time: int) -> tuple[int, int]:
    """In how many places to ask models, and about how many tokens in each, within some time; at
    least in one about a few."""
    places = _places(models, time)
    fixed = asking_takes(models, 1, 0)
    each = asking_takes(models, 1, 1) - fixed
    return places, min(max(LEAST_TOKENS, (time // places - fixed) // each), MOST_TOKENS)


def _places(models: Sequence[Model], time: int) -> int:
    return min(max(1, time // asking_takes(models, 1, MOST_TOKENS)), PLACES)


def asking_takes(models: Sequence[Model], places: int, tokens: int) -> int:
    """How long it takes to ask all of them about so many tokens in each of the places."""
    weights = [weight_of_question(model, CODEBOOKS) for model in models]
    return places * sum(fixed + tokens * each for fixed, each in weights)
