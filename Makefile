# Everything is set up by what needs it: `make quickstart` and `make test` work on a fresh machine with Git and Python's
# venv, which Debian has in a package of its own.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools

.PHONY: quickstart test unit soak check lint format docs bench binary deb release delivery locked clean

quickstart: $(READY)
	$(BIN)/pricore quickstart

TRY := $(BIN)/pytest --numprocesses=$$(( $$(nproc) * 3 / 2 )) --dist=worksteal  # a fifth of the time they wait

test: $(READY)
	$(BIN)/python -m compileall -q pricore  # thousands of commands are started, which PYTHONDONTWRITEBYTECODE slows down
	$(TRY)

# All but the stories: with another Python, make unit PYTHON=python3.13 VENV=/tmp/newest
unit: $(READY)
	$(TRY) --ignore=tests/stories

# The tests that try at random, for many minutes: 200 kills, hundreds of histories. PRICORE_SOAK=30 for more still.
soak: export PRICORE_SOAK ?= 10
soak: $(READY)
	$(BIN)/pytest --numprocesses=auto tests/sync/test_histories.py tests/stories/test_kill.py \
		tests/stories/test_limits.py tests/vcs/test_gitzip.py tests/vcs/test_attributes.py

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

# The program as a single file that needs nothing but git: dist/pricore-<version>-linux-<arch>
binary: $(TOOLS)
	$(builders)
	$(BIN)/python -m delivery dist binary

# The same as a Debian package: dist/pricore_<version>_<arch>.deb
deb: $(TOOLS)
	$(builders)
	$(BIN)/python -m delivery dist deb

# All that is published of the tag that is checked out, in dist/release
release: $(TOOLS)
	$(builders)
	$(BIN)/python -m delivery.release dist/release

# Everything that is delivered, made and tried where people install it; takes many minutes, and root for the chroots
delivery: $(TOOLS)
	$(builders)
	$(call need,{ command -v mmdebstrap && command -v buildah && command -v lintian; },what tries it is missing: \
		apt install mmdebstrap buildah lintian)
	$(BIN)/python -m delivery dist binary deb
	PRICORE_TEST_BINARY=$$(ls -t dist/pricore-*-linux-* | head -1) PRICORE_TEST_DEB=$$(ls -t dist/*.deb | head -1) \
		$(BIN)/pytest tests/delivery
	PRICORE_TEST_PROGRAM=$$(realpath $$(ls -t dist/pricore-*-linux-* | head -1)) $(TRY) $(STORIES)

STORIES := $(addprefix tests/stories/test_,authority.py backup.py composer.py credentials.py kill.py locks.py \
	management.py monorepo.py releases.py signals.py uploads.py users.py workers.py)

# Which versions of other packages are delivered: the newest that pyproject.toml allows, by their checksums
locked: $(TOOLS)
	$(BIN)/uv pip compile pyproject.toml --extra speed --extra s3 --extra postgresql --universal --generate-hashes \
		--python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet --upgrade \
		--output-file delivery/locked.txt

# Say in one line what is missing and how to get it: need(what shows that it is there, what to say)
need = @$(1) >/dev/null 2>&1 || { echo "error: $(2)" >&2; exit 1; }

define builders
	$(call need,command -v gcc,gcc is missing: apt install gcc libc6-dev)
	$(call need,echo 'int main() {}' | gcc -x c - -static -lzstd -o /dev/null,what to link with is missing: \
		apt install libc6-dev libzstd-dev)
	$(call need,command -v patchelf,patchelf is missing: apt install patchelf)
endef

$(READY): pyproject.toml
	$(call need,command -v git,git is missing: apt install git)
	$(call need,command -v $(PYTHON),$(PYTHON) is missing: apt install python3-venv)
	$(call need,$(PYTHON) -c 'import sys; sys.exit(sys.hexversion < 0x030b0000)',$(PYTHON) is older than 3.11: \
		name a newer one with make PYTHON=python3.13 $(MAKECMDGOALS))
	$(call need,$(PYTHON) -c 'import ensurepip',$(PYTHON) cannot make virtual environments: apt install python3-venv)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev,speed]'
	touch $(READY)

# What only `make binary` and its like need
$(TOOLS): $(READY)
	$(BIN)/pip install --quiet --editable '.[delivery]'
	touch $(TOOLS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
