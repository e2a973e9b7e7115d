"""Comparisons of methods under one budget: runs, measures, and what they say."""
