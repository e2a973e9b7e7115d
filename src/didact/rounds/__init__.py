"""How steps of several rounds go on, for the methods that share it."""
