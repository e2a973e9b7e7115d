"""Write the tables that follow from the methods themselves: options on each method's page, and the README's list.

python dev/tables.py            # write them
python dev/tables.py --check    # say which are out of date, and end with 1 if any is; a test does this
"""

import re
import sys
from pathlib import Path

from didact.methods import METHODS, about, described
from didact.curriculum import Curriculum
import inspect

ROOT = Path(__file__).parents[1]
_OPTIONS = re.compile(r"\| option \| default \| meaning \|\n(?:\|.*\n)+")
_METHODS = re.compile(r"\| name \| what it does \| source \|\n(?:\|.*\n)+")
_SHARED = set(inspect.signature(Curriculum.__init__).parameters)


def options_table(name: str) -> str:
    """The options of one method, those of all methods aside."""
    own = {option: row for option, row in described(name).items() if option not in _SHARED}
    rows = [f"| `{option}` | `{default}` | {words} |" for option, (default, words) in own.items()]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows]) + "\n"


def methods_table() -> str:
    """One line for each method."""
    rows = [f"| [`{name}`](docs/methods/{name}.md) | {about(name)[0]} | {about(name)[1]} |" for name in METHODS]
    return "\n".join(["| name | what it does | source |", "|---|---|---|", *rows]) + "\n"


def written() -> dict[Path, str]:
    """Each page as it should be."""
    readme = ROOT / "README.md"
    pages = {readme: _METHODS.sub(lambda _: methods_table(), readme.read_text(encoding="utf-8"))}
    for name in METHODS:
        page = ROOT / "docs" / "methods" / f"{name}.md"
        if name != "uniform":  # its page lists, by hand, what all methods share
            pages[page] = _OPTIONS.sub(lambda _, name=name: options_table(name), page.read_text(encoding="utf-8"))
    return pages


def main() -> None:
    stale = {page: text for page, text in written().items() if page.read_text(encoding="utf-8") != text}
    for page, text in stale.items():
        print(
            f"{page.relative_to(ROOT)} is out of date" if "--check" in sys.argv else f"wrote {page.relative_to(ROOT)}"
        )
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
    sys.exit(1 if stale and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
