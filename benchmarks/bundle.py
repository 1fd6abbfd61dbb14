"""Put a trained model among those that come with tokenzip.

    python benchmarks/bundle.py model.safetensors commavq-1 --number 1 --licence MIT

writes the packed model, its card and its entry into tokenzip/models/bundled/, where README.md says
what holds for them. Nothing that is there is ever changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tokenzip.errors import TokenzipError
from tokenzip.models import Model
from tokenzip.models.bundled import entries
from tokenzip.models.bundled.adding import BLANK, add


def main(arguments: list[str] | None = None) -> int:
    """Add one model; returns the exit status."""
    options = _parser().parse_args(arguments)
    number = options.number or max((entry.number for entry in entries()), default=0) + 1
    try:
        card = Path(options.card).read_text("utf-8") if options.card else ""
        entry = add(
            Model.load(options.model), options.name, number, card=card, licence=options.licence
        )
    except (TokenzipError, OSError) as error:
        print(f"bundle.py: {error}", file=sys.stderr)
        return 1
    print(f"{entry.path}: number {entry.number}, {entry.packed_bytes:,} bytes, {entry.identity}")
    if BLANK in entry.card.read_text("utf-8"):
        print(f"{entry.card}: complete what is {BLANK}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="model file of tokenzip train")
    parser.add_argument("name", metavar="NAME-VERSION", help="as commavq-1")
    parser.add_argument("--number", type=int, help="in blobs, for ever (default: the next one)")
    parser.add_argument("--licence", default="", help="of the weights, for the card")
    parser.add_argument("--card", help="text of the card (default: made from the summary)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
