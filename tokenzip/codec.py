"""encode, decode, inspect and Codec: the way of the data, from top to bottom.

    array -> TokenGrid (checked) -> chunks -> payloads of a predictor's coder, or bit-packed ->
    checksums -> blob

and back again. What happens to the chunks of one blob is in chunk_coding.py.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .blob import (
    BlobBytes,
    BlobInfo,
    BlobSource,
    CodedGrid,
    GridInfo,
    check_limit,
    note_size,
    read_header,
    write_blob,
)
from .choosing import Chosen, choose, fits, likely
from .chunk_coding import decode_chunks, encode_chunks, store_grid
from .errors import CorruptError, DTypeError, ModelMismatchError, OptionError
from .grid import TokenGrid, check_alphabet, share_alphabets, token_grids
from .integer import BACKENDS
from .limits import DEFAULT_MAX_TOKENS as DEFAULT_MAX_TOKENS
from .limits import DEFAULTS, Limits
from .predictors import CHOICES, HYBRID, BatchPredictor, CoderFactory, coder_factory, resolve
from .selection import Frames, Selection

if TYPE_CHECKING:
    from .models import Model
    from .models.search import Where
    from .predictors.network.predictor import NetworkPredictor

#: A model, the path of its file, its name or identity; a folder of models, or a list of these.
ModelLike: TypeAlias = "Where"

#: A blob is at most this many bytes per grid larger than the bit-packed tokens.
MAX_OVERHEAD = 64

#: A blob keeps its choice note if it is so many times as large.
NOTE_SHARE = 256

#: The part of it that one grid of a blob may use before it is stored as a single chunk instead.
_GRID_OVERHEAD = 48

Array = npt.NDArray[Any]


def encode(
    tokens: Any,
    *,
    alphabet: int | None = None,
    predictor: str = "auto",
    chunk_frames: int | None = None,
    solid: bool = False,
    threads: int | None = None,
    model: ModelLike | None = None,
    embed_model: bool = False,
    backend: str = "auto",
    device: str | None = None,
    batch: int | None = None,
) -> bytes:
    """Compress token grids without loss.

    Args:
        tokens: one grid: any integer or bool array (also torch tensors on any device, nested
            lists, scalars) of 0 to 32 dimensions, axis 0 being time; or a list or tuple of such
            arrays: several grids in one blob.
        alphabet: number of symbols, 2 to 65,536; None takes max(2, largest token + 1) of each
            grid.
        predictor: "adaptive" learns while it codes; "hybrid" does so on top of what a model's
            network knows; the family of the model, "lstm" or "conv3d", is the network alone:
            faster, and larger; "stored" packs bits. "auto" is "hybrid" if one model is given;
            otherwise the cheapest of "adaptive" and "hybrid" with each model that comes with
            tokenzip, or of a list, and fits the tokens: they are tried on a sample, for at most
            15 % of the time (a list of models for less than some 1,400 tokens, or 400 for each:
            half a millisecond for each). Less than 1,024 tokens are "adaptive" where no model is
            given. A chunk that cannot be made smaller is stored.
        chunk_frames: frames per chunk, which can be decoded without the other chunks. The last
            chunk has between half as many and one and a half times as many. None: at least 1200
            frames and at least 150,000 tokens. Where the chunks' own overhead would take more
            than prediction saves, a grid is stored as one chunk.
        solid: let what was learned flow from chunk to chunk and from grid to grid (of the same
            alphabet and frame shape; inferred alphabets of the same number of bits are made equal
            for this). Smaller, but a frame can only be decoded after all that came before it.
        threads: how many to use; None is 1. They take a chunk each, which takes the memory of a
            coder of its own; where there are more of them than chunks, or the blob is solid, up
            to eight code the symbols of a chunk together. A network alone spreads its arithmetic
            over them. The bytes are the same for any number.
        model: a Model, the path of a model file, the name of a model that comes with tokenzip
            ("commavq-1"), or the identity of one in the registry (8 hexadecimal digits or more).
            Decoding needs the same model; those that come with tokenzip are always there. A folder
            or a list of such: candidates for "auto", or for "hybrid", of which those that fit are
            tried. One choice holds for all grids of a call.
        embed_model: put the model into the blob (its weights entropy-coded), which then needs no
            other file to be decoded. Takes a single model.
        backend: where a network's integers are computed: "numba", "torch", or "auto" (torch on a
            CUDA device, else numba). The bytes are the same on all of them.
        device: a torch device, as "cuda"; None is the CPU.
        batch: how many chunks a network alone codes together; None chooses. The bytes are the same.

    Returns:
        The blob: at most 64 bytes per grid more than the bit-packed tokens.

    Raises:
        DTypeError: the tokens are not integers or bools.
        TokenRangeError: a token is negative or not below the alphabet; .index and .value.
        ShapeError: ragged, or more than 32 dimensions.
        OptionError: another argument is wrong.
        ModelMismatchError: the model is for other frames, or knows fewer symbols.
        ModelError: the model file cannot be used.
    """
    return Codec(
        alphabet=alphabet,
        predictor=predictor,
        chunk_frames=chunk_frames,
        solid=solid,
        threads=threads,
        model=model,
        embed_model=embed_model,
        backend=backend,
        device=device,
        batch=batch,
    ).encode(tokens)


def decode(
    blob: Any,
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    frames: Frames = None,
    threads: int | None = None,
    model: Where = None,
    backend: str = "auto",
    device: str | None = None,
    batch: int | None = None,
    limits: Limits | None = None,
) -> Array | list[Array]:
    """The tokens of a blob, in the dtype and shape that were encoded; all checksums are verified.

    Args:
        blob: bytes, bytearray, memoryview, mmap, a contiguous uint8 array, or a blob.BlobSource,
            of which only the header and the chunks that are needed are read.
        max_tokens: the most tokens that may be decoded, whole chunks counted (for a solid blob:
            all of its tokens). Protects against blobs that claim to hold terabytes.
        frames: None, or an index or slice of axis 0 as in numpy: the result equals
            decode(blob)[frames], but only the chunks that hold these frames are decoded. For a
            blob of several grids it applies to each of them.
        threads: how many to use; None is 1. As for encode, but a chunk is decoded by one thread if
            each of its symbols waits for the one before: with "adaptive", and with "hybrid" if
            frames are of one row or the chunk has less than 4,096 symbols.
        model: where the model of a network's blob is: a Model, a model file, a folder of model
            files, or a list of these, which are searched first; then folders in $TOKENZIP_MODELS,
            the registry (`tokenzip models`), and the models that come with tokenzip. A blob with an
            embedded model, or of one that comes with tokenzip, needs none.
        backend, device, batch: as for encode; they need not be those that encoded.
        limits: the most that the blob may ask for: tokens, bytes of the arrays, weights of a model
            in it. A max_tokens other than the default holds as well.

    Returns:
        An array, or a list of arrays if a list was encoded.

    Raises:
        NotABlobError, UnsupportedVersionError, TruncatedError, CorruptError, TrailingDataError:
            the blob cannot be decoded (all are BlobError).
        LimitError: it holds more than max_tokens, or asks for more than the limits.
        MissingModelError: the blob needs a model that is not there; .identity.
        ModelError: that model, or the installed package, is damaged.
        OptionError: another argument is wrong.
        DTypeError: blob is not a contiguous buffer of bytes.
    """
    codec = Codec(
        max_tokens=max_tokens,
        threads=threads,
        model=model,
        backend=backend,
        device=device,
        batch=batch,
        limits=limits,
    )
    return codec.decode(blob, frames=frames)


def inspect(blob: Any) -> BlobInfo:
    """What a blob's header says. Payloads are neither read nor checked; raises as decode does."""
    with _bytes_of(blob) as data:
        return read_header(data)


@dataclass(frozen=True)
class Codec:
    """Settings for many calls of encode and decode; see these functions for their meaning.

    Raises:
        OptionError: a setting is wrong.
    """

    alphabet: int | None = None
    predictor: str = "auto"
    chunk_frames: int | None = None
    solid: bool = False
    threads: int | None = None
    max_tokens: int = DEFAULT_MAX_TOKENS
    model: Where = None
    embed_model: bool = False
    backend: str = "auto"
    device: str | None = None
    batch: int | None = None
    limits: Limits | None = None

    def __post_init__(self) -> None:
        # Kept as plain ints: numpy's integers lack methods of int, and overflow.
        if self.alphabet is not None:
            object.__setattr__(self, "alphabet", check_alphabet(self.alphabet))
        if not isinstance(self.predictor, str) or self.predictor not in CHOICES:
            raise OptionError(
                f"predictor must be one of {', '.join(CHOICES)}, not {self.predictor!r}"
            )
        if self.chunk_frames is not None:
            frames = _checked_integer("chunk_frames", self.chunk_frames, 1)
            object.__setattr__(self, "chunk_frames", frames)
        if self.threads is not None:
            object.__setattr__(self, "threads", _checked_integer("threads", self.threads, 1))
        most = _checked_integer("max_tokens", self.max_tokens, 0)
        if self.limits is not None:
            if not isinstance(self.limits, Limits):
                raise OptionError(f"limits must be a tokenzip.Limits, not {self.limits!r}")
            allowed = self.limits.tokens
            most = allowed if most == DEFAULT_MAX_TOKENS else min(most, allowed)
        object.__setattr__(self, "max_tokens", most)
        if self.batch is not None:
            object.__setattr__(self, "batch", _checked_integer("batch", self.batch, 1))
        if self.backend not in BACKENDS:
            raise OptionError(f"backend must be one of {', '.join(BACKENDS)}, not {self.backend!r}")
        if self.embed_model and self.model is None:
            raise OptionError("embed_model needs a model")

    @property
    def allowed(self) -> Limits:
        """The limits that hold: `limits` or the defaults, with `max_tokens` in them."""
        return replace(self.limits or DEFAULTS, tokens=self.max_tokens)

    def encode(self, tokens: Any) -> bytes:
        """Compress one grid or a list of grids; see tokenzip.encode."""
        grids, is_list = token_grids(tokens, self.alphabet)
        solid = self.solid and self.predictor != "stored"
        shared = share_alphabets(grids) if solid else grids
        chosen = self._chosen(shared)
        predictor, model = chosen.predictor, chosen.model
        if model and self.solid and predictor != HYBRID:
            raise OptionError(f"a network alone learns nothing: a solid blob takes {HYBRID}")
        if model:
            for grid in grids:
                if grid.tokens.size:
                    _check_match(model, grid)
        coded, parameters = encode_chunks(
            shared,
            predictor=self._coding(predictor, model),
            chunk_frames=self.chunk_frames,
            solid=solid,
            threads=self.threads or 1,
        )
        if not solid:
            coded = [
                _frugal(grid, coded_grid) for grid, coded_grid in zip(grids, coded, strict=True)
            ]
        number = _number(model) if model and not self.embed_model else None
        most = sum(grid.raw_bytes + MAX_OVERHEAD for grid in grids)
        choices = (chosen.choice, None) if chosen.choice else (None,)
        for choice in choices:
            blob = write_blob(
                coded,
                is_list=is_list,
                predictor=predictor,
                parameters=parameters,
                model=model.identity if model and number is None else None,
                embedded=_packed(model) if model and self.embed_model else None,
                solid=solid,
                bundled=number,
                choice=choice,
            )
            # A note must be next to nothing.
            if len(blob) <= most and not (choice and len(blob) < NOTE_SHARE * note_size(choice)):
                return blob
        return write_blob([store_grid(grid) for grid in grids], is_list=is_list)

    def decode(self, blob: Any, *, frames: Frames = None) -> Array | list[Array]:
        """The tokens of a blob; see tokenzip.decode."""
        with _bytes_of(blob) as data:
            info = read_header(data, max_tokens=self.max_tokens, some_frames=frames is not None)
            selections = [Selection.of(frames, grid) for grid in info.grids]
            if frames is not None and not info.solid:
                check_limit(_tokens_of_needed_chunks(info, selections), self.max_tokens)
            returned = _bytes_of_needed_chunks(info, selections)
            self.allowed.check("array_bytes", returned, "bytes of the blob's arrays")
            model = self.model_of(data, info)
            if model is not None:
                if info.predictor not in (HYBRID, model.spec.family):
                    raise CorruptError(
                        f"the blob's model is for the predictor {model.spec.family}, not "
                        f"{info.predictor}",
                        where="header",
                    )
                for grid in info.grids:
                    _check_belongs(model, grid)
            outputs = decode_chunks(
                *(data, info, selections),
                threads=self.threads or 1,
                predictor=self._coding(info.predictor, model, info.parameters),
            )
        arrays = [
            output[0] if selection.drop_axis else output if grid.shape else output.reshape(())
            for output, selection, grid in zip(outputs, selections, info.grids, strict=True)
        ]
        return arrays if info.is_list else arrays[0]

    def _chosen(self, grids: list[TokenGrid]) -> Chosen:
        """The predictor and model to encode with; tries some where the choice is open."""
        if self.model is None:
            if self.predictor != "auto":
                return Chosen(resolve(self.predictor, None))
            from .models.bundled import newest

            return self._cheapest(grids, [entry.load() for entry in likely(newest(), grids)])
        from .models.search import as_models, is_single

        models = as_models(self.model)
        if is_single(self.model):
            return Chosen(resolve(self.predictor, models[0].spec.family), models[0])
        if self.embed_model:
            raise OptionError("embed_model takes a single model, not a list or folder of them")
        if self.predictor not in ("auto", HYBRID):
            raise OptionError(
                f"with several models the predictor is auto or {HYBRID}, not {self.predictor}; "
                "give a single model"
            )
        fitting = [model for model in models if fits(model.spec.geometry, grids)]
        if not fitting and self.predictor == HYBRID:
            raise ModelMismatchError("none of the models is for these frames and this alphabet")
        return self._cheapest(grids, fitting, adaptive=self.predictor == "auto")

    def _cheapest(
        self, grids: list[TokenGrid], models: list[Model], *, adaptive: bool = True
    ) -> Chosen:
        def coding(predictor: str, model: Model | None) -> CoderFactory:
            made = self._coding(predictor, model)
            assert callable(made)  # neither stored nor a network alone
            return made

        if models:
            from .predictors.network.predictor import make_room

            make_room(len(models))
        return choose(
            *(grids, models, coding, self._network),
            numbers=_number,
            adaptive=adaptive,
            chunk_frames=self.chunk_frames,
            solid=self.solid,
            threads=self.threads or 1,
        )

    def model_of(self, data: BlobBytes, info: BlobInfo) -> Model | None:
        """The model that a blob needs: its own, a bundled one, or one that is found."""
        if info.bundled is not None:
            from .models.bundled import by_number

            return by_number(info.bundled).load()
        if info.model is None:
            return None
        from .models import packed, search

        if not info.embedded_bytes:
            return search.find(info.model, self.model)
        start = info.header_bytes
        model = packed.unpack(bytes(data[start : start + info.embedded_bytes]), self.allowed)
        if model.identity != info.model:
            raise CorruptError("the embedded model is not the one that was used", where="model")
        return model

    def _coding(
        self, predictor: str, model: Model | None, parameters: bytes | None = None
    ) -> BatchPredictor | CoderFactory | None:
        """What codes chunks; parameters: those of a blob to decode."""
        if predictor == "stored":
            return None
        if model is None:
            return coder_factory(predictor, parameters)
        from .predictors import hybrid
        from .predictors.network import predictor as network

        version = hybrid.VERSION
        if parameters is not None:
            if predictor == HYBRID:
                version = hybrid.version_of(parameters)
            else:
                network.check_parameters(parameters)
        # The hybrid spreads chunks over threads, a network alone its arithmetic.
        if predictor == HYBRID:
            return hybrid.coders(self._network(model), version)
        return self._network(model, self.threads or 1)

    def _network(self, model: Model, threads: int = 1) -> NetworkPredictor:
        from .predictors.network.predictor import Backend, predictor_for

        return predictor_for(model, Backend(self.backend, self.device, threads, self.batch))


def _check_match(model: Model, grid: TokenGrid | GridInfo) -> None:
    from .predictors.network.predictor import check_match

    check_match(model, grid.frame, grid.alphabet)


def _check_belongs(model: Model, grid: GridInfo) -> None:
    """CorruptError if a network's chunk is one that its model cannot have coded."""
    if any(chunk.kind == "predicted" for chunk in grid.chunks):
        try:
            _check_match(model, grid)
        except ModelMismatchError as error:
            raise CorruptError(f"the blob's own model cannot code it: {error}") from error


def _number(model: Model) -> int | None:
    """The number of a model that comes with tokenzip; None for others."""
    from .models.bundled import by_identity

    entry = by_identity(model.identity.hex())
    return None if entry is None else entry.number


def _packed(model: Model) -> bytes:
    from .models.packed import pack

    return pack(model)


def _frugal(grid: TokenGrid, coded: CodedGrid) -> CodedGrid:
    """The coded grid, or a single stored chunk where the chunks' own overhead ate the gain."""
    if coded.size <= grid.raw_bytes + _GRID_OVERHEAD:
        return coded
    return min(coded, store_grid(grid), key=lambda candidate: candidate.size)


def _tokens_of_needed_chunks(info: BlobInfo, selections: list[Selection]) -> int:
    return sum(
        chunk.frames * grid.frame_tokens
        for grid, selection in zip(info.grids, selections, strict=True)
        for chunk in grid.chunks
        if selection.needs(chunk)
    )


def _bytes_of_needed_chunks(info: BlobInfo, selections: list[Selection]) -> int:
    """At least as many bytes as the arrays have that decoding returns."""
    return sum(
        chunk.frames * grid.frame_tokens * grid.dtype.itemsize
        for grid, selection in zip(info.grids, selections, strict=True)
        for chunk in grid.chunks
        if selection.needs(chunk)
    )


def _checked_integer(name: str, value: Any, smallest: int) -> int:
    try:
        if not isinstance(value, (bool, np.bool_)):
            number = operator.index(value)
            if number >= smallest:
                return number
    except TypeError:
        pass
    raise OptionError(f"{name} must be an integer of at least {smallest}, not {value!r}")


@contextmanager
def _bytes_of(blob: Any) -> Iterator[BlobBytes]:
    """A flat view of the blob's bytes, given back at the end so that a mmap can be closed."""
    if isinstance(blob, BlobSource):
        yield blob
        return
    try:
        view = memoryview(blob)
    except (TypeError, ValueError, BufferError):
        raise DTypeError(
            f"a blob is bytes or a buffer of bytes, not {type(blob).__name__}"
        ) from None
    with view:
        if view.nbytes == 0:
            yield memoryview(b"")
            return
        if not view.c_contiguous:
            raise DTypeError("the blob's buffer is not contiguous; pass bytes(blob)")
        with view.cast("B") as data:
            yield data
