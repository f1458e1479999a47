# make demo          cluster scikit-learn's digits in FiftyOne; print tables, write figures to examples/output/
# make demo OPEN=1   the same, then open the dataset in the App
# make test          all tests, including the App in a browser; ARGS="tests/core -x" selects some
# make test-quick    without the tests of 20 seconds or more and without the browser
# make test-shuffled all tests in random order; SEED=7 reproduces an order
# make coverage      the tests with a report of uncovered lines; slower
# make test-lowest   the tests with the lowest versions that pyproject.toml allows, on Python 3.10
# make check         ruff, mypy, import-linter, codespell, bandit
# make audit         known vulnerabilities of the installed packages; needs PyPI's advisories
# make frontend      check, test and build the panel in frontend/; its bundle is dist/index.umd.js; needs node
# make docs          build the documentation in site/; fails for broken links and missing names
# make bench NAME=loop  run a benchmark; see benchmarks/README.md
# make gpu           check one CUDA GPU: tests and a table of speeds; needs no FiftyOne
# make clean         remove all generated files, including the environment
#
# VENV=path sets the virtual environment, PYTHON=python3.12 the interpreter that creates it. WORKERS=4 sets the number
# of test processes, OMP_NUM_THREADS=1 the number of threads in each.

VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
PIP_AUDIT = $(BIN)/pip-audit --progress-spinner off
# packages of Debian and Ubuntu are installed for root only; everyone else is told what is missing
APT_INSTALL = { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq $(1); }
IN_RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
# first interpreter in the range; searched only once, and only if needed
PYTHON ?= $(eval PYTHON := $(shell for name in python3 python3.12 python3.13 python3.11 python3.10; do \
	$$name -c '$(IN_RANGE)' 2>/dev/null && echo $$name && break; done))$(PYTHON)

.DEFAULT_GOAL := help
.PHONY: frontend gpu help demo test test-quick test-shuffled test-lowest coverage check audit docs bench clean install browser

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# the mongod installed here works, but is older than the version FiftyOne validates: disable the warning
demo: export FIFTYONE_DATABASE_VALIDATION ?= false
demo: $(VENV)/.installed
	$(BIN)/python examples/quickstart.py
	@if [ -n "$(OPEN)" ]; then $(BIN)/fiftyone-deepcluster open deepcluster-digits; fi

# loadfile: tests of a file run in one process, which creates their shared fixtures once
WORKERS ?= 2
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
# threads of all workers together use every core once; threads beyond that must not wait by spinning
test test-quick coverage: export OMP_NUM_THREADS ?= $(shell expr $(CORES) / $(WORKERS) \| 1)
test test-quick test-shuffled coverage: export OMP_WAIT_POLICY ?= passive
test: $(VENV)/.installed-test browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-quick: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not browser" $(ARGS)

# randomly-dont-reset-seed: tests must neither depend on a reset of the seed nor on their order
SEED ?= $(shell date +%s)
test-shuffled: $(VENV)/.installed-test browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -p randomly --randomly-dont-reset-seed \
	  --randomly-seed=$(SEED) $(ARGS)

# not part of `make test`, as measuring coverage is slow
coverage: $(VENV)/.installed-test browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov=fiftyone_deepcluster --cov-report=term:skip-covered $(ARGS)

# uses a separate environment
test-lowest:
	$(MAKE) test VENV="$(VENV)-lowest" PYTHON=python3.10 LOWEST=1

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive fiftyone_deepcluster scripts

# without an answer, pip-audit would report that there is no vulnerability: it is asked first for a known one.
# OFFLINE=ok turns the failure without advisories into a line
audit: $(VENV)/.installed-dev
	@echo 'pip==23.0' > "$(VENV)/vulnerable.txt"
	@if $(PIP_AUDIT) --no-deps --disable-pip --requirement "$(VENV)/vulnerable.txt" 2>&1 | grep -q PYSEC-2023-228; \
	then $(PIP_AUDIT) --local --skip-editable; \
	else echo "NOT AUDITED: PyPI's advisories do not answer from here" >&2; [ "$(OFFLINE)" = ok ]; fi

# the bundle is committed, so that installing the plugin needs no node; a change of the sources must change it, too
frontend: frontend/node_modules/.installed
	cd frontend && npm run --silent check && npm run --silent test && npm run --silent build
	git diff --exit-code --stat -- dist || { echo "dist/index.umd.js is not what frontend/ builds; commit it" >&2; exit 1; }

frontend/node_modules/.installed: frontend/package-lock.json
	cd frontend && npm ci --no-audit --no-fund
	touch $@

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-dev
	@test -n "$(NAME)" || { echo "NAME is missing: make bench NAME=loop (see benchmarks/README.md)" >&2; exit 2; }
	$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

# no environment is made: the script uses the one that is there
gpu:
	PYTHON=$${PYTHON:-$$([ -x $(BIN)/python ] && echo $(BIN)/python || echo python3)} scripts/gpu_check.sh $(ARGS)

install: $(VENV)/.installed

clean:
	rm -rf "$(VENV)" "$(VENV)-lowest" build site frontend/node_modules *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find dist -type f ! -name index.umd.js -delete
	find fiftyone_deepcluster tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
	find examples/output -mindepth 1 ! -name .gitkeep -delete

# --- the environment; stamp files mark finished installations --------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.10 to 3.13 is required, but was not found." \
	  "Debian, Ubuntu: sudo apt-get install python3 python3-venv; or: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c '$(IN_RANGE)' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	  "Python 3.10 to 3.13 is required: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot create virtual environments." \
	  "Debian, Ubuntu: sudo apt-get install python3-venv (or python3.X-venv for another python3.X)" >&2; exit 1; }
	$(PYTHON) -m venv "$(VENV)"

# keeps a working mongod of FiftyOne; installs another one only if its download failed, and a library that it lacks
define MONGOD
@package=$$($(BIN)/python scripts/missing_mongod.py pip); [ -z "$$package" ] || \
  $(PIP_INSTALL) --no-deps --force-reinstall --no-cache-dir $$package || true
@package=$$($(BIN)/python scripts/missing_mongod.py apt); [ -z "$$package" ] || $(call APT_INSTALL,$$package) || true
@$(BIN)/python scripts/missing_mongod.py
endef

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing torch, FiftyOne and other packages into $(VENV): about 8 GB, 3 to 10 minutes without output."
	$(PIP_INSTALL) -e '.[plots]'
	$(MONGOD)
	$(BIN)/fiftyone-deepcluster install
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing test requirements into $(VENV): several GB and a few minutes the first time."
	$(if $(LOWEST),$(PIP_INSTALL) uv && $(BIN)/uv pip install --quiet --upgrade --python $(BIN)/python --resolution lowest-direct, \
	  $(PIP_INSTALL)) -e '.[test]'
	$(MONGOD)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing developer requirements into $(VENV): several GB and a few minutes the first time."
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	@echo "Installing documentation requirements into $(VENV)."
	$(PIP_INSTALL) -e '.[docs]'
	@touch $@

# the App tests need a browser: Debian's, or the one that Playwright downloads (Ubuntu's is a snap)
browser: export ARGS := $(ARGS)
browser: $(VENV)/.installed-test
	@has_browser() { chromium-headless-shell --version || chromium --version || google-chrome --version || $(BIN)/python -c \
	  'import os, sys; from playwright.sync_api import sync_playwright as p; \
	  sys.exit(not os.path.exists(p().start().chromium.executable_path))'; } >/dev/null 2>&1; \
	if has_browser; then exit 0; fi; \
	$(call APT_INSTALL,chromium-headless-shell) || $(call APT_INSTALL,chromium) || true; \
	if has_browser; then exit 0; fi; \
	$(BIN)/playwright install $$([ "$$(id -u)" = 0 ] && echo --with-deps) chromium || true; \
	if has_browser; then exit 0; fi; \
	echo "NO BROWSER: the App tests need Chromium. Install it with: sudo apt-get install chromium," \
	  "or: $(BIN)/playwright install --with-deps chromium. Without it: make test ARGS='--ignore=tests/app'" >&2; \
	case "$$ARGS" in *--ignore=tests/app*) exit 0;; *) exit 1;; esac
