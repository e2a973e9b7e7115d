"""Tests of `didact.training` need its extra; without it they are not collected."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") and find_spec("transformers") else ["test_*.py"]
