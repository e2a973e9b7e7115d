"""Prompts as a table: their text, cut to the width of the terminal, and a few facts about each."""

from collections.abc import Callable
from typing import Any

Column = tuple[str, Callable[[dict[str, Any]], str]]


def table(
    title: str, about: str, prompts: list[dict[str, Any]], columns: list[Column], *, answers: bool = True
) -> None:
    """Nothing for an empty finding. Prompts go in as Text, which rich does not read as markup."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not prompts:
        return
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    drawn.add_column("prompt", ratio=1, no_wrap=True, overflow="ellipsis")
    if answers:
        drawn.add_column("answer", max_width=14, no_wrap=True, overflow="ellipsis")
    for name, _ in columns:
        drawn.add_column(name, justify="right", no_wrap=True)
    for prompt in prompts:
        text = prompt["prompt"] or prompt["prompt_id"]
        answer = [Text(prompt["answer"])] if answers else []
        drawn.add_row(Text(text), *answer, *(value(prompt) for _, value in columns))
    console = Console()
    console.print(Text.assemble("\n", (title, "bold"), (f"\n{about}", "dim")))
    console.print(drawn)
