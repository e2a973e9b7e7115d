"""Thin adapters to trainers. Each says what it can express and refuses the rest before training starts."""
