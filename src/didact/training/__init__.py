"""What `didact train` needs on top of TRL: a small model, its warm start, configuration."""
