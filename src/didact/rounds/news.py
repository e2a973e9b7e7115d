"""News: the rewards that came since the last plan, for methods that move once a step by all of them.

A memory keeps them in a field `news: News = kept({})`: by group, the prompt's position and then the rewards. What comes
of a group after its news was taken is news of its own. Nothing depends on the order of arrival.
"""

import numpy as np

from didact.arrays import Floats
from didact.method import Arrivals

News = dict[int, list[float]]


def note(news: News, arrivals: Arrivals) -> None:
    """Add the rewards that may inform a belief: no errored ones, and truncated ones only if the run observes them."""
    for group, rewards in zip(arrivals.groups, arrivals.rewards, strict=True):
        if len(rewards):
            news[group.group_id] = [*news.get(group.group_id, [float(group.position)]), *map(float, rewards)]


def read(news: News) -> list[tuple[int, Floats]]:
    """Position and rewards, shape (n,) with n >= 1, of each group, by its id."""
    return [(int(held[0]), np.sort(held[1:])) for _, held in sorted(news.items())]


def check_news(news: News, pool_size: int) -> None:
    """Refuse news of no prompt here.

    Raises:
        ValueError: says which.
    """
    for group_id, held in news.items():
        if not (isinstance(held, list) and len(held) > 1 and 0 <= held[0] < pool_size and held[0] == int(held[0])):
            raise ValueError(f"news of group {group_id} must be a prompt among {pool_size} and its rewards, got {held}")
