"""Where the bits go: tokenzip.report, what `tokenzip report` prints as a page or as JSON.

    found = tokenzip.report.of_blob(blob)          # or of_arrays([...]), of_archive(...)
    tokenzip.report.heatmap(found).savefig("heat.png")
    html = tokenzip.report.page(found)

tracing.py and kernel.py look at the coders' tables, measure.py decides what is looked at,
statistics.py sums it up, page.py and figures.py show it. Importing this imports no matplotlib.
"""

from __future__ import annotations

from .figures import calibration, codes, film, heatmap, ranks, timeline
from .measure import Sample, of_archive, of_arrays, of_blob
from .page import page
from .statistics import Report

__all__ = [
    "Report",
    "Sample",
    "calibration",
    "codes",
    "film",
    "heatmap",
    "of_archive",
    "of_arrays",
    "of_blob",
    "page",
    "ranks",
    "timeline",
]
