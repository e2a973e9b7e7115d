"""The command line: one module per command."""

from typing import Final

#: What bad input raises; anything else is a failure at run time.
BAD_INPUT: Final = (ValueError, TypeError, FileNotFoundError, FileExistsError, NotADirectoryError, ImportError)
