"""The desk of an asynchronous trainer, and the file of the calls it answered."""

from didact.desk.dispatcher import Assignment, Dispatcher, Receipt

__all__ = ["Assignment", "Dispatcher", "Receipt"]
