"""What a method compared for a round, for whoever asks why a prompt was planned and another was not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from didact.arrays import Floats, Positions


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a draft looked at; which of these prompts were planned, the plan says.

    Attributes:
        rule: one sentence, on how it chose among them.
        positions: distinct prompts, shape (n,), in any order.
        figures: by name what they were compared by, shape (n,) each; nan where a prompt has none.
        by: the figure whose greatest were taken, None where none decided. Its nan is a prompt that was not compared.
        overall: figures of the draft as a whole, by name; nan for one that is not known yet.

    Raises:
        ValueError: a figure of another shape, or a `by` that is no figure.
    """

    rule: str
    positions: Positions
    figures: Mapping[str, Floats] = field(default_factory=dict)
    by: str | None = None
    overall: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, figure in self.figures.items():
            if figure.shape != self.positions.shape:
                raise ValueError(f"{name} has shape {figure.shape} for positions of shape {self.positions.shape}")
        if self.by is not None and self.by not in self.figures:
            raise ValueError(f"prompts were compared by {self.by!r}, which is none of {sorted(self.figures)}")
