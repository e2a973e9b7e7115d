"""News: what came since the last plan, whatever the order."""

import pytest

from didact.ledger import OpenGroup
from didact.method import Arrivals
from didact.outcomes import GroupOutcome
from didact.rounds.news import check_news, note, read


def arrive(news: dict[int, list[float]], *outcomes: GroupOutcome, truncated: str = "exclude") -> None:
    groups = [OpenGroup(each.group_id, 10 + each.group_id, 0, "train", 0.5, 4) for each in outcomes]
    note(news, Arrivals(groups, outcomes, truncated))  # type: ignore[arg-type]


def test_parts_join_their_group_in_any_order() -> None:
    parts = [GroupOutcome(1, "b", [1.0, 0.0]), GroupOutcome(0, "a", [0.5]), GroupOutcome(1, "b", [0.25])]
    said = []
    for order in (parts, parts[::-1]):
        news: dict[int, list[float]] = {}
        arrive(news, *order[:2])
        arrive(news, order[2])
        said.append([(position, rewards.tolist()) for position, rewards in read(news)])
    assert said[0] == said[1] == [(10, [0.5]), (11, [0.0, 0.25, 1.0])]


def test_what_informs_no_belief_is_no_news() -> None:
    marked = GroupOutcome(0, "a", [1.0, 0.0, 1.0], truncated=[True, False, False], errored=[False, False, True])
    news: dict[int, list[float]] = {}
    arrive(news, marked, GroupOutcome(1, "b", [1.0], errored=[True]))
    assert news == {0: [10.0, 0.0]}
    news = {}
    arrive(news, marked, truncated="observe")
    assert news == {0: [10.0, 1.0, 0.0]}


@pytest.mark.parametrize("held", [[5.0, 1.0], [-1.0, 1.0], [0.5, 1.0], [0.0]])
def test_news_of_no_prompt_is_refused(held: list[float]) -> None:
    check_news({3: [4.0, 1.0]}, 5)
    with pytest.raises(ValueError, match="news of group 3 must be a prompt among 5"):
        check_news({3: held}, 5)
