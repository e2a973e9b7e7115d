import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.tasks.boxed import last_boxed, last_boxes

PIECES = st.sampled_from(["\\boxed{", "\\fbox{", "{", "}", "\\{", "\\}", "\\", "a", "\\\\", " ", "boxed{"])


def as_defined(text: str) -> str | None:
    """The opening furthest right whose brace is closed, and what stands between."""
    for start in range(len(text), -1, -1):
        for opening in ("\\boxed{", "\\fbox{"):
            if text.startswith(opening, start):
                depth, position = 1, start + len(opening)
                while position < len(text):
                    if text[position] == "\\":
                        position += 1
                    elif text[position] in "{}":
                        depth += 1 if text[position] == "{" else -1
                    if depth == 0:
                        return text[start + len(opening) : position].strip()
                    position += 1
    return None


@given(st.lists(PIECES, max_size=25).map("".join))
def test_the_last_complete_box_is_found(text: str) -> None:
    assert last_boxed(text) == as_defined(text)


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("no \\boxed{1}: $x=\\boxed{2}$ or $x=\\boxed{3}$", ["2", "3"]),
        ("\\[\\boxed{1}\\]\nand\n\\[\\boxed{2}\\]", ["1", "2"]),
        ("\\boxed{1} no, \\boxed{2}", ["2"]),
        ("\\boxed{1} = \\boxed{2}", ["2"]),
        ("none", []),
    ],
)
def test_boxes_that_are_one_answer(text: str, contents: list[str]) -> None:
    assert [box.content for box in last_boxes(text)[0]] == contents


def test_three_hundred_thousand_openings_are_read_once() -> None:
    opened = "\\boxed{" * 300_000  # in time that grows with the square of this, minutes
    assert last_boxed(opened) is None
    assert last_boxed("\\boxed{7}" + opened) == "7"
    assert last_boxed(opened + "7" + "}" * 300_000) == "7"
