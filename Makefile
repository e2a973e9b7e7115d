# Set-up, the main job and the tests, each one command on a fresh machine with Python 3.11 or newer.
# torch comes first and pinned: with it in place nothing else pulls another build of it.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: train test test-fast test-verl check bench attack

train: $(VENV)/ready  ## train a small model with the default curriculum, and with uniform beside it; its report shows both
	$(BIN)/didact train --beside uniform $(ARGS)

test: $(VENV)/ready  ## all tests, the fast ones first; a failure among these does not keep the slow ones from running
	@failed=0; \
	for part in "not slow" slow; do $(BIN)/python -m pytest -n auto -m "$$part" $(ARGS) || [ $$? -eq 5 ] || failed=1; done; exit $$failed

test-fast: $(VENV)/ready
	$(BIN)/python -m pytest -n auto -m "not slow" $(ARGS)

test-verl: $(VENV)-verl/ready  ## the verl adapter, in the environment of its own that verl needs
	$(VENV)-verl/bin/python -m pytest $(ARGS) tests/adapters/verl

check: $(VENV)/ready  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

attack: $(VENV)/ready  ## what docs/guarantees.md counts, made again: some 84,000 attacks in about half an hour
	@failed=0; attack() { echo "== $$*"; $(BIN)/python dev/attack/$$1.py --num $$2 --seed $$3 || failed=1; }; \
	attack answers 25000 3; attack escapes 1000 0; attack runs 63 0; attack desk 2000 11; attack journals 3000 5; \
	attack lost 20000 0; attack comparisons 300 0; attack calls 20000 1; attack states 10000 3; attack commands 1500 1; \
	exit $$failed

bench: $(VENV)/ready  ## scheduler overhead at 10^6 and 10^7 prompts
	$(BIN)/python benchmarks/overhead.py $(ARGS)

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

$(VENV)-verl/ready: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv $(VENV)-verl
	$(VENV)-verl/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-verl/bin/python -m pip install --quiet "$(TORCH)"
	$(VENV)-verl/bin/python -m pip install --quiet -c constraints-verl.txt -e ".[verl,testing]"
	touch $@
