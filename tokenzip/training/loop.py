"""The training loop: a budget, a schedule, validation, checkpoints.

Truncated backpropagation: gradients flow through one segment, the network's state is carried into
the next (streams.py). The learning rate is constant for a part of the budget and then falls
linearly. Where validation does not get better for a while (small data), it begins to fall early,
from the best weights so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, DivergedError, TrainingMemoryError
from ..models import Model, Spec
from . import checkpoint, validation
from .clips import Clips
from .distributed import World
from .export import export
from .optimizer import optimizer_of
from .options import DEFAULT_MINUTES, Options, batch_symbols, learning_rate
from .streams import Batch, Shape, Streams
from .twin import State, Taught, Twin

_WARM_UP = 100
#: The learning rate ends at this part of the full one.
_LOWEST = 0.02
_VALIDATIONS = 20
#: A validation takes at most about this part of the time.
_VALIDATION_SHARE = 0.06
#: On a GPU, the loss is looked at this often: looking waits for all that was queued.
_LOOK_STEPS = 10
_SMOOTH = 0.98


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        step: steps done.
        tokens: seen so far, by all processes.
        seconds: spent, with those before a resume.
        fraction: of the budget that is used up.
        rate: tokens a second, lately.
        loss: bits/token in training, smoothed.
        bits: bits/token of the last validation; None before the first.
        best: the lowest so far.
        ratio: compression that `best` stands for.
        left: seconds to the end of the budget, as it looks now.
        validated: whether `bits` is new.
    """

    step: int
    tokens: int
    seconds: float
    fraction: float
    rate: float
    loss: float
    bits: float | None
    best: float | None
    ratio: float | None
    left: float
    validated: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a run made.

    Attributes:
        twin: with the best weights of the run, or its last where nothing was validated.
        progress: at its end.
        stopped: "budget", "patience" or "request".
        history: (step, tokens, seconds, bits/token) of every validation.
    """

    twin: Twin
    progress: Progress
    stopped: str
    history: list[list[float]]


class Loop:
    """One run, in one process of possibly several."""

    def __init__(
        self,
        spec: Spec,
        options: Options,
        clips: Clips,
        held: Clips | None,
        world: World,
        *,
        checkpoint_path: Path | None = None,
        resume: bool = False,
        report: Callable[[Progress], None] = lambda progress: None,
        network: Callable[..., Twin] = Twin,
    ) -> None:
        self._spec, self._options, self._world = spec, options, world
        self._report, self._path = report, checkpoint_path
        self._device, self.dtype = world.device, _dtype(options.dtype, world.device)
        longest = max(clip.frames for clip in clips)
        self._lr = options.lr or learning_rate(spec.geometry)
        symbols = options.batch or batch_symbols(world.device.type)
        self.shape = Shape.of(spec.geometry, longest, symbols, options.segments, options.segment)
        share = options.teacher_share
        self._streams = Streams(clips, spec.geometry, self.shape, options.seed, world.rank, share)
        mine = held.clips[world.rank :: world.size] if held else ()
        most = max(1, options.validate_tokens // world.size)
        self._held = validation.sample(mine, most) if mine else []
        self._validates = held is not None
        self._setup = {
            "spec": spec.to_dict(),
            "options": options.computation(),
            "data": clips.fingerprint,
            "validation": held.fingerprint if held else "",
            "processes": world.size,
        }
        torch.manual_seed(options.seed)
        with _memory(symbols):
            dropout = options.dropout or 0.0
            self.twin = network(spec, dropout=dropout, token_dropout=options.token_dropout)
            self.twin.to(self._device).train()
            self._module = world.wrap(self.twin)
        self._optimizer = optimizer_of(
            self.twin, options.optimizer, self._lr, options.weight_decay, self.dtype
        )
        torch.manual_seed(options.seed + 1 + world.rank)  # of dropout
        self._state: State | None = None
        self.step, self.tokens, self._before = 0, 0, 0.0
        self._loss = float("nan")
        self._bits: float | None = None
        self._best: float | None = None
        self._best_weights: dict[str, Tensor] | None = None
        self._bad = 0
        self._falls_from, self._ends_at = options.constant, 1.0
        self.history: list[list[float]] = []
        if resume:
            assert checkpoint_path is not None
            self._restore(checkpoint.read(checkpoint_path))

    # The run

    def run(self, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Train until the budget is used up, patience ends, or `stop` says so.

        Raises:
            DivergedError: the loss is not finite any more.
            TrainingMemoryError: a step does not fit into memory.
            FileError: a checkpoint cannot be written; the one before it stays.
        """
        self._begin = time.perf_counter()
        # The same numbers in all processes: what depends on them must be.
        self._written = self._validated = self._before
        self._validation_seconds = 0.0
        self._recent = (self._seconds(), self.tokens)
        pending: list[Tensor] = []
        reason = ""
        while not reason:
            seconds, asked = self._agree(stop)
            fraction = self._fraction(seconds)
            if asked:
                reason = "request"
            elif fraction >= self._ends_at:
                reason = "budget"
            else:
                pending.append(self._train(fraction))
                if self._device.type == "cpu" or len(pending) >= _LOOK_STEPS:
                    self._look(pending)
                    if self._world.rank == 0:
                        self._report(self._progress())
            if reason != "request" and (reason or self._due(seconds)):
                self._look(pending)
                if self._validate(stop) is None and self._validates:
                    reason = "request"
                elif self._out_of_patience():
                    reason = reason or "patience"
            self._write_if(pending, seconds, bool(reason))
        if self._best_weights is not None:
            self.twin.load_state_dict(self._best_weights)
        return Outcome(self.twin.eval(), self._progress(), reason, self.history)

    def _agree(self, stop: Callable[[], bool]) -> tuple[float, bool]:
        """Seconds spent, and whether to stop: the same in all processes."""
        mine = self._seconds() if self._world.rank == 0 else 0.0
        seconds, asked = self._world.agree([mine, float(stop())])
        return seconds, bool(asked)

    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._begin

    def _fraction(self, seconds: float) -> float:
        if self._options.steps is not None:
            return self.step / self._options.steps
        return seconds / (60 * (self._options.minutes or DEFAULT_MINUTES))

    def _train(self, fraction: float) -> Tensor:
        """One step; its loss."""
        options = self._options
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr * self._schedule(fraction)
        batch = self._streams.next()
        with _memory(self.shape.symbols(self._spec.geometry)):
            symbols = torch.from_numpy(batch.symbols).to(self._device, torch.int64)
            bits, state = self._module(
                symbols, self._carried(batch), self.dtype, self._taught(batch)
            )
            if batch.there.all():
                loss = bits.mean()
            else:
                there = torch.from_numpy(batch.there).to(self._device)
                loss = bits[there].mean()
            penalty = self.twin.penalty()
            self.twin.zero_grad(set_to_none=True)
            (loss if penalty is None else loss + penalty).backward()
            nn.utils.clip_grad_norm_(self.twin.parameters(), options.clip)
            self._optimizer.step()
        self._state = state
        self.step += 1
        geometry = self._spec.geometry
        self.tokens += int(batch.there.sum()) * geometry.frame_tokens * self._world.size
        return loss.detach()

    def _taught(self, batch: Batch) -> Taught | None:
        """The batch's lessons, if a teacher gave any."""
        if batch.blind is None or batch.labels is None or batch.shares is None:
            return None
        labels = torch.from_numpy(batch.labels).to(self._device, torch.int64)
        return Taught(
            torch.from_numpy(batch.blind).to(self._device),
            labels,
            torch.from_numpy(batch.shares).to(self._device),
        )

    def _schedule(self, fraction: float) -> float:
        """The part of the full learning rate."""
        steps = self._options.steps
        warm = _WARM_UP if steps is None else max(1, min(_WARM_UP, steps // 10))
        falls = (self._ends_at - fraction) / (self._ends_at - self._falls_from)
        return min(1.0, (self.step + 1) / warm) * max(_LOWEST, min(1.0, falls))

    def _carried(self, batch: Batch) -> State | None:
        """The state that the last step left, without that of streams that begin anew."""
        if self._state is None:
            return None
        if not batch.fresh.any():
            return self._state
        keep = torch.from_numpy(~batch.fresh).to(self._device)
        carried = []
        for part in self._state:
            rows = keep.repeat_interleave(len(part) // len(keep))
            carried.append(part * rows.view(-1, *[1] * (part.ndim - 1)).to(part.dtype))
        return tuple(carried)

    def _look(self, pending: list[Tensor]) -> None:
        """Take the losses of the last steps to heart."""
        per_token = self._spec.geometry.planes / self._spec.geometry.codebooks
        for loss in torch.stack(pending).tolist() if pending else []:
            if not math.isfinite(loss):
                where = f"; the last checkpoint is {self._path}" if self._path else ""
                raise DivergedError(
                    f"the loss is {loss} at step {self.step}: try a lower learning rate than "
                    f"{self._lr:g} (--lr), or float32 (--dtype float32){where}"
                )
            now = loss * per_token
            smooth = min(_SMOOTH, 1 - 1 / max(self.step, 1))
            self._loss = now if math.isnan(self._loss) else smooth * self._loss + (1 - smooth) * now
        pending.clear()

    # Validation

    def _due(self, seconds: float) -> bool:
        """Whether it is time for a validation."""
        options = self._options
        if not self._validates:
            return False
        if options.validate_steps is not None:
            return self.step % options.validate_steps == 0
        if options.steps is not None:
            return self.step % max(1, -(-options.steps // _VALIDATIONS)) == 0
        budget = 60 * (options.minutes or DEFAULT_MINUTES)
        pause = max(budget / _VALIDATIONS, self._validation_seconds / _VALIDATION_SHARE)
        return seconds - self._validated >= pause

    def _validate(self, stop: Callable[[], bool]) -> float | None:
        """Bits/token of the clips held aside; None if there are none, or asked to stop."""
        if not self._validates or (self.history and self.history[-1][0] == self.step):
            return self._bits
        begin = time.perf_counter()
        found = validation.cost(self.twin, self._held, self.dtype, self._device, stop)
        mine = [0.0, 0.0, 1.0] if found is None else [found.bits, found.tokens, 0.0]
        bits, tokens, stopped = self._world.total(mine)
        if stopped:
            return None
        self._validation_seconds, self._validated = self._world.agree(
            [time.perf_counter() - begin, self._seconds()]
        )
        self._bits = bits / tokens + self._penalty()
        self.history.append([self.step, self.tokens, self._validated, self._bits])
        if not math.isfinite(self._bits):
            raise DivergedError(
                f"validation costs {self._bits} bits/token at step {self.step}: try a lower "
                f"learning rate than {self._lr:g} (--lr)"
            )
        if self._best is None or self._bits < self._best:
            self._best, self._bad = self._bits, 0
            self._best_weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in self.twin.state_dict().items()
            }
        else:
            self._bad += 1
        if self._world.rank == 0:
            self._report(self._progress(validated=True))
        return self._bits

    @torch.no_grad()
    def _penalty(self) -> float:
        """The twin's penalty, per token."""
        penalty, geometry = self.twin.penalty(), self._spec.geometry
        return 0.0 if penalty is None else float(penalty) * geometry.planes / geometry.codebooks

    def _out_of_patience(self) -> bool:
        """Whether to stop; before that, whether to let the learning rate fall from now on."""
        if not self._options.patience or self._bad < self._options.patience:
            return False
        fraction = self._fraction(self._validated)
        if fraction >= self._falls_from:
            return True
        assert self._best_weights is not None
        self.twin.load_state_dict(self._best_weights)
        self._bad = 0
        self._falls_from = fraction
        self._ends_at = min(1.0, 1.5 * fraction)
        return False

    # Reports and checkpoints

    def _progress(self, validated: bool = False) -> Progress:
        seconds = self._seconds()
        fraction = min(1.0, self._fraction(seconds) / self._ends_at)
        since, then = self._recent
        rate = (self.tokens - then) / max(seconds - since, 1e-9)
        if seconds - since > 30:
            self._recent = (seconds, self.tokens)
        if self._options.steps is None:
            left = self._ends_at * 60 * (self._options.minutes or DEFAULT_MINUTES) - seconds
        else:
            left = seconds * (1 - fraction) / max(fraction, 1e-9)
        width = math.ceil(math.log2(self._spec.geometry.alphabet))
        ratio = width / self._best if self._best else None
        return Progress(
            self.step,
            self.tokens,
            seconds,
            fraction,
            rate,
            self._loss,
            self._bits,
            self._best,
            ratio,
            max(0.0, left),
            validated,
        )

    def _write_if(self, pending: list[Tensor], seconds: float, end: bool) -> None:
        if self._path is None:
            return
        if end or seconds - self._written >= self._options.checkpoint_seconds:
            self._look(pending)
            self._save(self._path)
            (self._written,) = self._world.agree([self._seconds()])

    def _save(self, path: Path) -> None:
        mine = {
            "streams": self._streams.state(),
            "state": list(self._state or ()),
            "random": torch.get_rng_state(),
        }
        if self._device.type == "cuda":
            mine["random_cuda"] = torch.cuda.get_rng_state(self._device)
        ranks = self._world.gather(mine)
        if self._world.rank == 0:
            content = {
                "setup": self._setup,
                "ranks": ranks,
                "twin": self.twin.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "best_weights": self._best_weights,
                "history": self.history,
                **{name: getattr(self, f"_{name}") for name in _NUMBERS},
                "step": self.step,
                "tokens": self.tokens,
                "seconds": self._seconds(),
            }
            checkpoint.write(path, content)

    def _restore(self, content: dict[str, Any]) -> None:
        for name, value in self._setup.items():
            then = content["setup"].get(name)
            if then != value:
                raise CheckpointError(
                    f"{self._path}: made with other {_difference(name, then, value)}; use the "
                    "same, or begin anew without --resume"
                )
        try:
            self.twin.load_state_dict(content["twin"])
            self._optimizer.load_state_dict(content["optimizer"])
            mine = content["ranks"][self._world.rank]
            self._streams.restore(mine["streams"])
            self._state = tuple(part.to(self._device) for part in mine["state"]) or None
            torch.set_rng_state(mine["random"])
            if self._device.type == "cuda" and "random_cuda" in mine:
                torch.cuda.set_rng_state(mine["random_cuda"], self._device)
            self._best_weights = content["best_weights"]
            self.history = content["history"]
            for name in _NUMBERS:
                setattr(self, f"_{name}", content[name])
            self.step, self.tokens = content["step"], content["tokens"]
            self._before = content["seconds"]
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{self._path}: does not fit: {error}") from error

    def model(self, summary: dict[str, Any]) -> Model:
        """The integer model of the twin as it is."""
        return export(self.twin, summary)


#: Plain numbers of a checkpoint.
_NUMBERS = ("loss", "bits", "best", "bad", "falls_from", "ends_at")


def _difference(name: str, then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
        shown = [f"{key} ({then.get(key)!r}, now {now.get(key)!r})" for key in keys]
        return f"{name}: {', '.join(shown)}"
    if name in ("data", "validation"):
        return "training data" if name == "data" else "validation data"
    return f"{name} ({then!r}, now {now!r})"


def _dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported()
        else:
            fast = bool(_cpu_flags() & {"avx512_bf16", "amx_bf16"})
        wanted = "bfloat16" if fast else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return set(next(lines, "").partition(":")[2].split())


@contextmanager
def _memory(symbols: int) -> Iterator[None]:
    """Say what to do where a step does not fit into memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        known = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
        if not known and "can't allocate memory" not in text and "not enough memory" not in text:
            raise
        raise TrainingMemoryError(
            f"not enough memory for steps of {symbols:,} symbols: use a smaller batch "
            f"(--batch {max(1, symbols // 2)}), a shorter segment (--segment) or a smaller preset"
        ) from error
