"""Predictors: what stands between tokens and a chunk's payload, behind one small interface.

A predictor gives coders; a coder holds the state that encoder and decoder build up alike. Bit
packing ("stored") has no state and is not among them: the codec uses it whenever a coder's
payload is not smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import CorruptError, OptionError, UnsupportedVersionError
from ..models import FAMILIES

#: A network's probabilities as the prior of the adaptive mixer.
HYBRID = "hybrid"

#: What `encode(predictor=...)` accepts. "auto" is HYBRID if a model is given, otherwise the best
#: predictor that needs none.
CHOICES = ("auto", "adaptive", "stored", HYBRID, *FAMILIES)


class Coder(Protocol):
    """Codes runs of frames, one after another, learning from all that it has seen.

    tokens are C-contiguous uint16 (T, *frame), T >= 1, all below the alphabet; writable, but not
    the coder's to change. After encode, decode and observe of the same tokens the state is the
    same.
    """

    def reset(self) -> None:
        """Forget everything: the state of a coder just made."""

    def encode(self, tokens: npt.NDArray[np.uint16]) -> bytes:
        """The payload of these tokens."""

    def decode(self, payload: bytes, frames: int) -> npt.NDArray[np.uint16]:
        """The `frames` frames of a payload; CorruptError if it cannot be one."""

    def observe(self, tokens: npt.NDArray[np.uint16]) -> None:
        """Learn from tokens that reached the decoder in another way."""

    def parameters(self) -> bytes:
        """What a decoder needs to make such a coder; the same for every alphabet and frame."""


class BatchPredictor(Protocol):
    """Codes chunks independently of each other, many at a time: a network with its model.

    Chunks are tokens uint16 (T, *frame), T >= 1, of frames that the model is for, all below its
    alphabet.
    """

    def encode(self, chunks: Sequence[npt.NDArray[np.uint16]]) -> list[bytes]:
        """The payloads of chunks."""

    def decode(
        self, payloads: Sequence[bytes], frames: Sequence[int]
    ) -> list[npt.NDArray[np.uint16]]:
        """The tokens (frames, tokens of a frame) of payloads; CorruptError if one cannot be one."""

    def parameters(self) -> bytes:
        """The parameter bytes of its blobs."""


class CoderFactory(Protocol):
    """What makes the coders of a predictor."""

    def __call__(
        self, alphabet: int, frame: tuple[int, ...], chunk_tokens: int, threads: int = 1
    ) -> Coder:
        """A new coder.

        Args:
            alphabet, frame: of what it will code.
            chunk_tokens: tokens that will be coded between two resets.
            threads: how many it may use; no result depends on it.
        """


def resolve(choice: str, family: str | None) -> str:
    """The name, as blobs have it, of the predictor that a member of CHOICES stands for.

    family: of the model that was given, if one was.

    Raises:
        OptionError: the choice and the model do not go together.
    """
    if family is None:
        if choice in (HYBRID, *FAMILIES):
            raise OptionError(f"the predictor {choice} needs a model: give model=... (--model)")
        return "adaptive" if choice == "auto" else choice
    if choice not in ("auto", HYBRID, family):
        raise OptionError(f"the model is for the predictors {HYBRID} and {family}, not {choice}")
    return HYBRID if choice == "auto" else choice


def coder_factory(name: str, parameters: bytes | None = None) -> CoderFactory:
    """What makes the coders of a predictor without a model; imports its code (and numba) only now.

    Args:
        name: the predictor's name in blobs, not "stored", which has no coders.
        parameters: the parameter bytes of a blob to decode; None gives the current defaults.

    Raises:
        UnsupportedVersionError: parameters of a newer tokenzip (when the coder is made).
        CorruptError: parameters that make no sense (when the coder is made).
    """
    if name != "adaptive":
        raise ValueError(f"the predictor {name!r} has no coders")
    from .adaptive import AdaptiveCoder

    if parameters is None:
        return AdaptiveCoder
    return partial(AdaptiveCoder.from_parameters, parameters)


def check_version(predictor: str, parameters: bytes, newest: int) -> None:
    """Whether a blob's parameters are one byte, a version that this tokenzip knows: 1 to newest.

    Raises:
        UnsupportedVersionError: a newer one.
        CorruptError: no version at all.
    """
    version = parameters[0] if parameters else 0
    if version > newest:  # which may well have more parameters
        raise UnsupportedVersionError(
            f"the blob needs version {version} of the {predictor} predictor, this tokenzip knows "
            f"up to {newest}: update tokenzip"
        )
    if version == 0 or len(parameters) != 1:
        raise CorruptError(f"the {predictor} predictor's parameters make no sense", where="header")
