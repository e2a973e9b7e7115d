"""Thin adapters to trainers. Each says what it can express and refuses the rest before training starts.

`trl`, `verl` and `ray` are imported by those who have them; what several of them need lies beside them.
"""
