"""The page: one HTML file without anything from elsewhere."""

from __future__ import annotations

import html
import json
from importlib.resources import files

from .statistics import Report


def page(report: Report) -> str:
    """The report as HTML: style, script and numbers are inside, nothing is fetched."""
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    before, middle, after = template.replace("__DATA__", "__TITLE__").split("__TITLE__")
    return before + html.escape(_plain(report.source)) + middle + _json(report) + after


def _json(report: Report) -> str:
    """JSON for inside of a script element, which no name can end."""
    text = json.dumps(report.to_dict(), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(text: str) -> str:
    """Without the halves of characters that names of files may have."""
    return text.encode("utf-8", "replace").decode("utf-8")
