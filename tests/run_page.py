"""Run the code blocks of a page from top to bottom: `python run_page.py PAGE`, in a folder.

Blocks marked `python` share one namespace; those marked `sh` run in a shell in between. `console`
and `text` are for what is only shown.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced block."""
    return _BLOCK.findall(text)


def main() -> None:
    page = Path(sys.argv[1])
    names: dict[str, object] = {"__name__": "__main__"}
    for language, code in blocks(page.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(code, page.name, "exec"), names)
        elif language == "sh":
            subprocess.run(["sh", "-e"], input=code, text=True, check=True)


if __name__ == "__main__":
    main()
