# `make demo` and `make test` set up everything they need; see `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

# The interpreter that creates the virtual environment: make venv PYTHON=/path/to/python3.12
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.complete
PIP_LOG := $(VENV)/install.log
SOURCES := rllib_tactical envs serve tests
PROSE := docs deploy tune_configs Makefile tactical.yaml $(wildcard *.md)
# Processes that share the test files; each may start a Ray of its own (about 3 GB). One more than
# the two cores that the suite is for: many tests wait.
TEST_WORKERS ?= 3
# Programs that tests start write what they ran here, wherever they run.
MEASURED = COVERAGE_FILE="$(CURDIR)/.coverage" "$(PY)" -m coverage run -m

# Numerical libraries start one thread per core in every Ray worker unless told otherwise.
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED := 0

# Changes whenever the environment has to be brought up to date. The checkout's path is part of it
# because an editable installation records that path.
define STATE_CODE
import hashlib, os, sys
digest = hashlib.sha256(os.getcwd().encode())
for name in ("pyproject.toml", "constraints.txt", "constraints-nautilus.txt"):
    digest.update(open(name, "rb").read())
print(digest.hexdigest())
endef
export STATE_CODE

# Few lines out of pip's many: what is fetched when it is large, a count, and what goes wrong.
define PROGRESS_CODE
/^ *Collecting / { n++; if (n % 20 == 0) say("resolved " n " packages") }
/^ *Downloading .*\([0-9.]+ [MG]B\)/ {
    size = $$(NF - 1); sub(/\(/, "", size)
    if ($$NF ~ /^G/ || size + 0 >= 20) say("fetching " $$2 " " $$(NF - 1) " " $$NF)
}
/^Installing collected packages/ && NF > 9 { say("installing " NF - 3 " packages, a minute or two") }
/^ *ERROR:/ { say($$0) }
function say(text) { print "  " text; fflush() }
endef
export PROGRESS_CODE

.PHONY: help
help: ## show this list
	@echo "Usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1	\2/p' Makefile | expand -t 12
	@echo "Variables: PYTHON (creates the environment), DATA, INSTRUMENT and OUT (demo)"

.PHONY: venv
venv: ## create .venv or bring it up to date; the other targets do this by themselves
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { echo "make: '$(PYTHON)' not found: Python 3.11 or newer is required (set PYTHON=...)" >&2; exit 1; }
	@state=$$("$(PYTHON)" -c "$$STATE_CODE") || { echo "make: '$(PYTHON)' does not run" >&2; exit 1; }; \
	usable() { "$(PY)" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	if [ "$$(cat $(STAMP) 2>/dev/null)" = "$$state" ] && usable; then exit 0; fi; \
	rm -f $(STAMP); \
	if ! usable; then \
	    "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	        echo "make: Python 3.11 or newer is required, '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1); set PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	    echo "Creating $(VENV) with $$("$(PYTHON)" -V 2>&1)"; \
	    "$(PYTHON)" -m venv --clear $(VENV) || { \
	        echo "make: '$(PYTHON) -m venv' failed; some systems package it separately (python3-venv)" >&2; exit 1; }; \
	fi; \
	echo "Installing the pinned packages into $(VENV) (once; minutes, full log in $(PIP_LOG))"; \
	"$(PY)" -m pip install --progress-bar off -c constraints.txt -e ".[dev]" 2>&1 | tee $(PIP_LOG) | awk "$$PROGRESS_CODE" || { \
	    echo "make: the installation failed; the log ends with:" >&2; tail -n 15 $(PIP_LOG) >&2; exit 1; }; \
	echo "$$state" > $(STAMP).new && mv $(STAMP).new $(STAMP); \
	echo "$(VENV) is ready"

# nautilus_trader's pins do not fit those of constraints.txt: an environment of its own.
NAUTILUS_VENV ?= .venv-nautilus
NAUTILUS_STAMP = $(NAUTILUS_VENV)/.complete

.PHONY: nautilus
nautilus: ## create .venv-nautilus, the environment of the gateway to nautilus_trader
	@state=$$("$(PYTHON)" -c "$$STATE_CODE"); \
	if [ -x "$(NAUTILUS_VENV)/bin/python" ] && [ "$$(cat $(NAUTILUS_STAMP) 2>/dev/null)" = "$$state" ]; then exit 0; fi; \
	"$(PYTHON)" -m venv --clear "$(NAUTILUS_VENV)"; \
	echo "Installing nautilus_trader into $(NAUTILUS_VENV) (once; a minute)"; \
	"$(NAUTILUS_VENV)/bin/python" -m pip install -q -c constraints-nautilus.txt -e ".[nautilus]" pytest; \
	echo "$$state" > $(NAUTILUS_STAMP); \
	echo "$(NAUTILUS_VENV) is ready"

.PHONY: demo
demo: venv ## the main job, small, end to end (DATA=FILE for your bars, OUT=DIR for the results)
	@"$(PY)" -m rllib_tactical demo $(if $(DATA),--data "$(DATA)") $(if $(INSTRUMENT),--instrument "$(INSTRUMENT)") $(if $(OUT),--out "$(OUT)")

.PHONY: lint
lint: venv ## static checks: ruff, formatting, spelling, mypy, import layers
	@"$(PY)" -m ruff check $(SOURCES)
	@"$(PY)" -m ruff format --check $(SOURCES)
	@"$(VENV)/bin/codespell" $(SOURCES) $(PROSE)
	@"$(PY)" -m mypy
	@"$(PY)" -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

.PHONY: test
test: lint ## every check: static ones, then the whole test suite
	@"$(PY)" -m pytest -n $(TEST_WORKERS) --dist loadfile --durations=15 $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: venv ## the tests that start no Ray and take little time, while working
	@"$(PY)" -m pytest -n $(TEST_WORKERS) --dist loadfile --durations=15 -m "not ray and not serve and not slow" $(PYTEST_ARGS)

.PHONY: coverage
coverage: venv ## the whole suite, measured: 95% of domain and serve, 90% of all, branches counted
	@rm -f .coverage .coverage.*
	@$(MEASURED) pytest -n $(TEST_WORKERS) --dist loadfile --durations=15
	@"$(PY)" -m coverage combine -q
	@"$(PY)" -m coverage report --skip-covered --show-missing
	@"$(PY)" -m coverage report --format=total --fail-under=90 >/dev/null || { echo "make: all of the code must be covered to 90%" >&2; exit 1; }
	@"$(PY)" -m coverage report --format=total --fail-under=95 --include="rllib_tactical/domain/*,serve/*" >/dev/null || { \
	    echo "make: rllib_tactical/domain and serve must be covered to 95%" >&2; exit 1; }

.PHONY: docs
docs: venv ## build the documentation site in docs/_build; warnings are errors
	@"$(PY)" -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo "docs/_build/index.html is ready"

.PHONY: fmt
fmt: venv ## format the sources and apply the safe fixes
	@"$(PY)" -m ruff format $(SOURCES)
	@"$(PY)" -m ruff check --fix $(SOURCES)

.PHONY: clean
clean: ## remove caches and build outputs; .venv, runs and results stay
	@rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis htmlcov .coverage .coverage.* *.egg-info
	@find $(SOURCES) -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
