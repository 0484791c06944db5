# Everything is set up by what needs it: `make quickstart` and `make test` work on a fresh machine with Python and Git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test soak check lint format docs bench clean

quickstart: $(READY)
	$(BIN)/pricore quickstart

test: $(READY)
	$(BIN)/python -m compileall -q pricore  # thousands of commands are started, which PYTHONDONTWRITEBYTECODE slows down
	$(BIN)/pytest --numprocesses=$$(( $$(nproc) * 3 / 2 )) --dist=worksteal  # a fifth of the time they wait

# The tests that try at random, for many minutes: 200 kills, hundreds of histories. PRICORE_SOAK=30 for more still.
soak: export PRICORE_SOAK ?= 10
soak: $(READY)
	$(BIN)/pytest --numprocesses=auto tests/test_histories.py tests/stories/test_kill.py tests/stories/test_limits.py \
		tests/test_gitzip.py tests/test_attributes.py

check: lint test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)
	$(BIN)/python docs/generate.py > docs/commands.md

bench: $(READY)
	$(BIN)/python -m bench

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev,speed]'
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
