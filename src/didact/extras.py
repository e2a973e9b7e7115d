"""How to install what an extra brings: every message that says so asks here.

The distribution is called ``didact-rl``; ``didact`` on the package registry is another project's. No release of ours is
published yet, so the line that works is that of a clone, and it asks no registry for anything of our name.
"""


def how_to_install(extra: str) -> str:
    """What to type for this extra, as the end of an error message."""
    return f"in a clone of Didact: pip install '.[{extra}]'"
