"""What a run did, read back from its folder: tables, figures, one HTML page, and prompts worth a look.

Everything here is derived from the journal, so it works on a finished run, a run in progress and a run killed midway.
Reading and summarising need numpy only; matplotlib is imported when a figure is drawn.
"""

from didact.report.history import RunHistory
from didact.report.inspection import inspect_prompts
from didact.report.page import render_page, write_page
from didact.report.summary import summarise

__all__ = ["RunHistory", "inspect_prompts", "render_page", "summarise", "write_page"]
