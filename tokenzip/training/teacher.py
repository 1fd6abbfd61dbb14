"""Teachers: anything that says how likely the tokens of the next frame are, to learn from.

A network learns faster, and better from little data, where it is told a whole distribution and not
only which token came (Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015).
A large model that is far too slow to code with can tell it; and it can invent frames, so that there
is no end of contexts to tell it for. lessons.py keeps what a teacher said.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import OptionError


class Teacher(Protocol):
    """What a teacher must be: a callable with an attribute.

    Attributes:
        frames: how many frames it looks at.
    """

    frames: int

    def __call__(self, context: Tensor) -> Tensor:
        """Logits float (B, *frame, A) of the frame after context int64 (B, frames, *frame).

        Natural logarithms, not necessarily normalised. Places before the start of a clip hold
        token 0.
        """


def load_teacher(where: str) -> Teacher:
    """The teacher that FILE.py:FUNCTION or MODULE:FUNCTION returns, called without arguments.

    Raises:
        OptionError: there is no such function, it fails, or what it returns is no teacher.
    """
    source, _, name = where.rpartition(":")
    if not source or not name:
        raise OptionError(f"teacher {where!r}: not of the form FILE.py:FUNCTION or MODULE:FUNCTION")
    try:
        make: Callable[[], Any] = getattr(_module(source), name)
        teacher = make()
    except OptionError:
        raise
    except Exception as error:  # whatever a user's module raises
        raise OptionError(f"teacher {where!r}: {type(error).__name__}: {error}") from error
    return check_teacher(teacher)


def check_teacher(teacher: Any) -> Teacher:
    """The teacher itself. Raises OptionError if it is none."""
    frames = getattr(teacher, "frames", None)
    if not callable(teacher) or type(frames) is not int or frames < 1:
        raise OptionError(
            "a teacher is called with tokens (B, frames, *frame) and has the attribute `frames`, "
            f"an int of at least 1; {type(teacher).__name__} is not and has not"
        )
    return teacher  # type: ignore[no-any-return]


def log_probabilities(
    teacher: Teacher, context: Tensor, frame: tuple[int, ...], alphabet: int
) -> Tensor:
    """log2 of the next tokens' probabilities, float32 (B, *frame, A).

    Raises:
        OptionError: the teacher's answer has another shape, or is not finite.
    """
    with torch.no_grad():
        logits = teacher(context).float()
    wanted = (len(context), *frame, alphabet)
    if tuple(logits.shape) != wanted:
        raise OptionError(f"the teacher's logits are {tuple(logits.shape)}, not {wanted}")
    found = torch.log_softmax(logits, -1) / torch.log(torch.tensor(2.0))
    if torch.isnan(found).any():
        raise OptionError("the teacher's logits are not finite")
    return found


def _module(source: str) -> Any:
    if not source.endswith(".py"):
        return importlib.import_module(source)
    path = Path(source)
    if not path.is_file():
        raise OptionError(f"teacher: there is no file {source}")
    spec = importlib.util.spec_from_file_location(f"_tokenzip_teacher_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses and pickling in it want
    spec.loader.exec_module(module)
    return module
