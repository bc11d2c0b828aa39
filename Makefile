# The two commands that a newcomer needs: `make run` and `make test`. Everything is installed into .venv, nowhere else.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# Three at once keep two processors busy: each waits now and then, for what it has killed to come back.
TESTS := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
# Where this is set, each of some hundred processes compiles every module of ours again: a third of its start.
unexport PYTHONDONTWRITEBYTECODE
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

.PHONY: setup run test check format bench lock clean
.DELETE_ON_ERROR:

setup: $(READY) ## the environment alone, from the lock file; the second time it needs no network

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed, and \`$(PYTHON)\` is not: name another one, for example make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "\`$(PYTHON) -m venv\` failed: install Python's venv module (on Debian and Ubuntu the package python3-venv), then run make again." >&2; exit 1; }
	@echo "Installing the locked packages into .venv (once, about a minute) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## the ledger with its demo story, until Ctrl-C; OPTIONS are those of `promise-ledger up`
	@$(BIN)/promise-ledger up --demo $(OPTIONS)

test: $(READY)
	@$(TESTS)

check: $(READY) ## format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(TESTS)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## speeds, each beside its comparison in the same run
	@$(BIN)/python -m tests.bench

lock: $(READY) ## new lock files from pyproject.toml: versions and hashes, no registry addresses
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -qq --disable-pip-version-check uv
	$(LOCK) --upgrade --extra embedded --output-file requirements.lock
	$(LOCK) --upgrade --all-extras --output-file requirements-dev.lock

clean: ## all that can be made again; never the ledger in .ledger
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
