"""What is believed about pass rates: the only memory of outcomes the engine has."""

from didact.belief.base import Belief
from didact.belief.beta import BetaBelief

__all__ = ["Belief", "BetaBelief"]
