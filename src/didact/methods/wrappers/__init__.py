"""Wrappers: methods around a method, for what any run may need whatever its method is. `make` puts them on.

    uniform_share   a share of the prompts comes in shuffled passes, so that each comes now and then
    quotas          floors and ceilings, by source, on the share of the groups that train
    token_price     rollouts go where responses are short, for the same sum of rollouts

A wrapper edits the drafts of its method: it moves *new groups that can train*. Those are planned with the reason
"train", or, by a method that `continues` its groups, with any reason. Continuations stay, and so do pilots that never
train (CurES, GVM). A prompt that is replaced has lost its turn: the method is not told, but of what came back.
"""

from collections.abc import Mapping
from typing import Any

from didact.method import Method
from didact.methods.wrappers.base import Wrapper
from didact.methods.wrappers.quotas import Quotas
from didact.methods.wrappers.token_price import TokenPrice
from didact.methods.wrappers.uniform_share import UniformShare

__all__ = ["WRAPPERS", "Quotas", "TokenPrice", "UniformShare", "Wrapper", "wrapped"]

#: The option that puts each wrapper on, the innermost first: what is priced are the prompts that are planned at last.
WRAPPERS: dict[str, type[Wrapper]] = {"uniform_share": UniformShare, "quotas": Quotas, "token_price": TokenPrice}


def wrapped(method: Method, options: Mapping[str, Any]) -> Method:
    """A method in those wrappers that the options ask for; 0 and None ask for none."""
    for name, wrapper in WRAPPERS.items():
        asked = options.get(name)
        if asked is not None and not (isinstance(asked, Mapping | int | float) and not asked):
            method = wrapper(method=method, **{name: asked})
    return method
