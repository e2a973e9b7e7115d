"""The desk of an asynchronous trainer, its leases, and the file of the calls it answered."""

from didact.desk.dispatcher import Dispatcher
from didact.desk.leases import Assignment, Receipt

__all__ = ["Assignment", "Dispatcher", "Receipt"]
