"""What a training run is told, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import OptionError
from ..models import FAMILIES, PRESETS, Geometry

#: Budget if none is named.
DEFAULT_MINUTES = 20.0
#: Data of fewer tokens than this are soon learnt by heart, and get dropout.
SMALL_TOKENS = 3_000_000
SMALL_DROPOUT = 0.2
#: Frames that a teacher invents, if no other number is named.
TEACHER_FRAMES = 20_000


def batch_symbols(device: str) -> int:
    """Symbols a step, if none are named.

    Many small steps: of drive/train.h5 (frames of 8 x 16), lstm base came to 4.04 bits/token on
    clips held aside after two million tokens in steps of 2,048 symbols, and to 5.13 in steps of
    8,192 at half the learning rate; of EnCodec's frames of 8 to 6.96 and 7.85 (one seed each).
    """
    return 2048 * (8 if device == "cuda" else 1)


def learning_rate(geometry: Geometry) -> float:
    """The learning rate, if none is named.

    0.004 for large frames: there 0.002 was slower (5.95 against 5.57 bits/token in training after
    1.75 million tokens, distilling a commaVQ teacher), 0.008 no faster.
    """
    return 4e-3 if geometry.sites * geometry.planes >= 64 else 2e-3


@dataclass(frozen=True)
class Options:
    """How to train.

    Attributes:
        predictor: "lstm" or "conv3d".
        preset: "small", "base" or "large".
        sizes: embedding, state, squeeze or hidden, where they differ from the preset's.
        neighbours: how many symbols of the frame being coded the head sees the embeddings of; None:
            all that it can. Their equality with others, and copies of them, it always sees.
        minutes, steps: the budget, one of them; neither means 20 minutes.
        batch: symbols a step, about; None: by the device (batch_symbols).
        segment: frames through which gradients flow back; None: by the size of a frame.
        segments: that follow one another with the state carried.
        optimizer: "muon" for matrices of hidden layers, or "adamw" for all.
        lr: learning rate, constant at first, then linear to nearly 0; None: by the size of a frame
            (learning_rate).
        constant: part of the budget during which it is constant.
        weight_decay: of matrices.
        clip: largest norm of the gradient.
        dropout: on the inputs of body and heads and on the heads' hidden numbers; None: by the size
            of the data (with_dropout).
        token_dropout: probability with which a symbol of the context is hidden.
        teacher_share: part of the target that is the teacher's word, where there is a teacher and
            the network sees more than it; the rest is the token that came.
        patience: validations without gain after which the learning rate begins to fall early, or,
            if it falls already, training stops; 0: never.
        validate_steps: steps between validations; None: about 20 validations in all.
        validate_tokens: tokens of a validation, at most, as training goes on.
        checkpoint_seconds: between two checkpoints.
        seed: of initial weights, samples and dropout.
        dtype: "auto", "float32" or "bfloat16": of activations and products.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        threads: of the CPU; None: torch's choice.
    """

    predictor: str = "lstm"
    preset: str = "base"
    sizes: dict[str, int] = field(default_factory=dict)
    neighbours: int | None = None
    minutes: float | None = None
    steps: int | None = None
    batch: int | None = None
    segment: int | None = None
    segments: int = 6
    optimizer: str = "muon"
    lr: float | None = None
    constant: float = 0.5
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: float | None = None
    token_dropout: float = 0.0
    teacher_share: float = 0.3
    patience: int = 5
    validate_steps: int | None = None
    validate_tokens: int = 200_000
    checkpoint_seconds: float = 300.0
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        _one_of("predictor", self.predictor, FAMILIES)
        _one_of("preset", self.preset, tuple(PRESETS[self.predictor]))
        _one_of("optimizer", self.optimizer, ("muon", "adamw"))
        _one_of("dtype", self.dtype, ("auto", "float32", "bfloat16"))
        unknown = set(self.sizes) - {"embedding", "state", "squeeze", "hidden"}
        if unknown or ("squeeze" in self.sizes and self.predictor == "lstm"):
            raise OptionError(f"{self.predictor} has no size {', '.join(unknown) or 'squeeze'}")
        if self.minutes is not None and self.steps is not None:
            raise OptionError("a budget is minutes or steps, not both")
        for name, value in {**asdict(self), **self.sizes}.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self._check_number(name, value)

    def _check_number(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise OptionError(f"{name} must be a finite number, not {value}")
        if name in ("dropout", "token_dropout", "constant"):
            if not 0 <= value < 1:
                raise OptionError(f"{name} must be from 0 to below 1, not {value}")
        elif name == "teacher_share":
            if not 0 <= value <= 1:
                raise OptionError(f"{name} must be from 0 to 1, not {value}")
        elif name in ("seed", "patience", "weight_decay", "checkpoint_seconds", "neighbours"):
            if value < 0:
                raise OptionError(f"{name} must not be negative, not {value}")
        elif value <= 0:
            raise OptionError(f"{name} must be above 0, not {value}")

    def with_dropout(self, tokens: int) -> Options:
        """These options with a dropout for so many tokens, if it is not chosen yet.

        On clips held aside of EnCodec's 0.86 M training tokens, lstm base came to 6.900 bits/token
        with 0.2 and to 6.926 without, after the same 1,400 steps (2.9 M tokens seen, one seed).
        """
        if self.dropout is not None:
            return self
        return replace(self, dropout=SMALL_DROPOUT if tokens < SMALL_TOKENS else 0.0)

    def computation(self) -> dict[str, Any]:
        """The options that decide what a run computes, except for its budget."""
        kept = asdict(self)
        for name in ("minutes", "steps", "checkpoint_seconds", "device", "threads", "patience"):
            del kept[name]
        return kept


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{name} must be {', '.join(choices)}, not {value!r}")
