"""Shares by source: how floors and ceilings are written, and how many groups each source gets by them."""

from collections.abc import Mapping, Sequence

import numpy as np

from didact.allocation import largest_remainder
from didact.bounds import real, shortened
from didact.method import Floats, Positions

Shares = Mapping[str, float | Sequence[float | None]]  # by source the least, or [least, most]
_MOST = 0.5  # of a plan's new groups that a floor can take, if it is no more itself


def as_quotas(given: object) -> dict[str, list[float]]:
    """Floor and ceiling by source.

    Raises:
        ValueError: no such mapping, shares out of range or crossing, or floors of more than 1 in sum.
    """
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            'quotas are shares by source, such as {"math": 0.2, "code": [0, 0.5]} (on the command line '
            f"-o 'quotas={{math = 0.2}}'), got {shortened(given)}"
        )
    quotas = {}
    for name, bounds in given.items():
        pair = list(bounds) if isinstance(bounds, list | tuple) else [bounds, None]
        if len(pair) != 2:
            raise ValueError(f"quotas of source {name!r} are [least, most], got {shortened(bounds)}")
        least, most = (
            default if share is None else real(f"quotas of source {name!r}", share, 0, 1)
            for share, default in zip(pair, (0.0, 1.0), strict=True)
        )
        if least > most:
            raise ValueError(f"quotas of source {name!r} cross: at least {least:g} and at most {most:g}")
        quotas[str(name)] = [least, most]
    if (total := sum(least for least, _ in quotas.values())) > 1 + 1e-9:
        raise ValueError(f"quotas promise {total:g} of the groups: the least shares must add up to 1 or less")
    return quotas


def within_shares(
    have: Positions, planned: Floats, trained: Floats, floor: Floats, ceiling: Floats, sizes: Positions
) -> Positions:
    """New groups of each source in a plan, as many in all as the method has drafted; all by source, shape (n,).

    Args:
        have: new groups that the method has drafted.
        planned, trained: new groups of late, and those of them that came back fit to train.
        floor, ceiling: least and most share of all groups that train.
        sizes: prompts of the pool.
    """
    num = int(have.sum())
    fit = np.minimum((trained + 1) / (planned + 1), 1.0)  # chance that a new group trains
    total = trained.sum() + (have * fit).sum()
    least = np.ceil(np.clip((floor * total - trained) / fit, 0, np.maximum(floor, _MOST) * num) - 1e-9)
    least = least.astype(np.int64)
    if least.sum() > num:
        least = largest_remainder(least, num)
    most = np.clip(np.floor((ceiling * total - trained) / fit + 1e-9), least, num).astype(np.int64)
    wanted = np.clip(have, least, most)
    missing = num - int(wanted.sum())
    if missing < 0:
        return wanted - largest_remainder(wanted - least, -missing, maximum=wanted - least)
    room = np.minimum(most - wanted, sizes)
    missing = min(missing, int(room.sum()))  # where all are at their ceilings, these yield
    return wanted + largest_remainder(np.where(room > 0, sizes, 0), missing, maximum=room)
