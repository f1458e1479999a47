# make demo          cluster scikit-learn's digits into FiftyOne; tables here, pictures in examples/output/
# make demo OPEN=1   the same, then open the App on them
# make test          all tests, the real App in a browser included; ARGS="tests/core -x" for some
# make test-shuffled the same in random order; SEED=7 for that order again
# make coverage      the tests once more, with the lines that none of them runs; slower
# make test-lowest   the same with the lowest versions that pyproject.toml allows, on Python 3.10
# make check         ruff, mypy, import-linter, codespell
# make docs          the documentation, in site/; a broken link or a missing name fails
# make bench NAME=loop
# make clean         remove everything made here, the environment included
#
# VENV=path chooses the virtual environment, PYTHON=python3.12 the interpreter it is made with. WORKERS=4 runs tests in
# so many processes, OMP_NUM_THREADS=1 with so many threads in each.

VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
IN_RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
# the first interpreter in range; looked for when it is needed, and once
PYTHON ?= $(eval PYTHON := $(shell for name in python3 python3.12 python3.13 python3.11 python3.10; do \
	$$name -c '$(IN_RANGE)' 2>/dev/null && echo $$name && break; done))$(PYTHON)

.DEFAULT_GOAL := help
.PHONY: help demo test test-shuffled test-lowest coverage check docs bench clean install browser

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# the mongod installed here is older than FiftyOne likes, and works: no word of it on a newcomer's screen
demo: export FIFTYONE_DATABASE_VALIDATION ?= false
demo: $(VENV)/.installed
	$(BIN)/python examples/quickstart.py
	@if [ -n "$(OPEN)" ]; then $(BIN)/fiftyone-deepcluster open deepcluster-digits; fi

# a file's tests stay in one process, which makes their shared fixtures once
WORKERS ?= 2
test: $(VENV)/.installed-test browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# without a new seed for every test: tests must not need one, nor depend on their order
SEED ?= $(shell date +%s)
test-shuffled: $(VENV)/.installed-test browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -p randomly --randomly-dont-reset-seed \
	  --randomly-seed=$(SEED) $(ARGS)

# measuring costs time, so `make test` does not
coverage: $(VENV)/.installed-test browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov=fiftyone_deepcluster --cov-report=term:skip-covered $(ARGS)

# an environment of its own, beside the usual one
test-lowest:
	$(MAKE) test VENV="$(VENV)-lowest" PYTHON=python3.10 LOWEST=1

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-dev
	@test -n "$(NAME)" || { echo "name one: make bench NAME=loop (see benchmarks/README.md)" >&2; exit 2; }
	$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

install: $(VENV)/.installed

clean:
	rm -rf "$(VENV)" "$(VENV)-lowest" build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find fiftyone_deepcluster tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
	find examples/output -mindepth 1 ! -name .gitkeep -delete

# --- the environment; the stamps make a second call quick --------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.10 to 3.13 is needed and none was found." \
	  "Debian, Ubuntu: sudo apt-get install python3 python3-venv; or: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c '$(IN_RANGE)' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	  "Python 3.10 to 3.13 is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
	  "Debian, Ubuntu: sudo apt-get install python3-venv (or python3.X-venv for another python3.X)" >&2; exit 1; }
	$(PYTHON) -m venv "$(VENV)"

# FiftyOne's own mongod stays where it runs; only where its download failed another one is installed
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV): torch, FiftyOne and the rest take about 8 GB and, quietly, 3 to 10 minutes."
	$(PIP_INSTALL) -e '.[plots]'
	$(BIN)/python scripts/install_mongod.py
	$(BIN)/fiftyone-deepcluster install
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing what tests need into $(VENV): several GB and some minutes the first time."
	$(if $(LOWEST),$(PIP_INSTALL) uv && $(BIN)/uv pip install --quiet --upgrade --python $(BIN)/python --resolution lowest-direct, \
	  $(PIP_INSTALL)) -e '.[test]'
	$(BIN)/python scripts/install_mongod.py
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing what developers need into $(VENV): several GB and some minutes the first time."
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	@echo "Installing what the documentation is built with into $(VENV)."
	$(PIP_INSTALL) -e '.[docs]'
	@touch $@

# the App's tests drive a real browser: Debian's, or the one that Playwright fetches (Ubuntu's is a snap)
browser: $(VENV)/.installed-test
	@has_browser() { chromium --version || google-chrome --version || $(BIN)/python -c \
	  'import os, sys; from playwright.sync_api import sync_playwright as p; \
	  sys.exit(not os.path.exists(p().start().chromium.executable_path))'; } >/dev/null 2>&1; \
	if has_browser; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null; then \
	  $$as_root apt-get update -qq && $$as_root apt-get install -y -qq chromium; fi; \
	if has_browser; then exit 0; fi; \
	$(BIN)/playwright install --with-deps chromium || $(BIN)/playwright install chromium || true; \
	if has_browser; then exit 0; fi; \
	echo "NO BROWSER: the App's tests need Chromium. Install it: sudo apt-get install chromium," \
	  "or: $(BIN)/playwright install --with-deps chromium. Without it: make test ARGS='--ignore=tests/app'" >&2; \
	case "$(ARGS)" in *--ignore=tests/app*) exit 0;; *) exit 1;; esac
