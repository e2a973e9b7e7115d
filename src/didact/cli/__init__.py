"""The command line: one module per command."""

import errno
from typing import Final

#: What bad input raises; anything else is a failure at run time.
BAD_INPUT: Final = (
    *(ValueError, TypeError, OverflowError, RecursionError, ImportError),
    *(FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError),
)


def is_bad_input(error: BaseException) -> bool:
    """Whether an error says that what was given is no good; so do names that are too long and links in a circle."""
    too = (errno.ENAMETOOLONG, errno.ELOOP)
    return isinstance(error, BAD_INPUT) or (isinstance(error, OSError) and error.errno in too)
