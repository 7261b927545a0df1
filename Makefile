# make run     set up and start the example: http://127.0.0.1:8080, nothing else needed
# make test    set up, install a real Redis if there is none, run all tests
# make check   formatting, lint, types, import contracts
# make bench   figures, one table after the other
# make pbx-demo    a whole call on a real Asterisk, and its recording
# make bench-pbx   figures of such calls, beside Asterisk's own queue and a script written the usual way
#
# Needs Python 3.11 or newer; say which with PYTHON=...

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= deploy/example/crosspoint.yaml
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check bench servers clean pbx-demo bench-pbx

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n 1,8p

run: $(VENV)/.installed
	@exec $(BIN)/crosspoint -c $(CONFIG) up

test: $(VENV)/.installed-test servers
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(PYTEST_ARGS)

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

# Both fetch Asterisk, SIPp and a voice into .asterisk at the first time; no root needed.
pbx-demo: $(VENV)/.installed
	@$(BIN)/python -m deploy.asterisk.demo

bench-pbx: $(VENV)/.installed
	@deploy/asterisk/fetch.sh
	@$(BIN)/python -m tests.bench.pbx $(BENCH_ARGS)

# Real servers for the tests. Redis: from the distribution when we may install; else the tests use the
# Valkey that comes with the Python package. Asterisk: unpacked into .asterisk, nothing is installed.
servers:
	@if command -v redis-server >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing redis-server"; \
	  (apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -q -y --no-install-recommends redis-server) >/dev/null \
	  || echo "redis-server could not be installed: the tests use Valkey alone"; \
	else echo "no redis-server (apt-get install redis-server): the tests use Valkey alone"; fi
	@if ! command -v apt-get >/dev/null; then :; \
	else deploy/asterisk/fetch.sh || echo "no Asterisk: its tests are skipped"; fi

# A venv also where the distribution has split `ensurepip` off (Debian without python3-venv): pip then
# installs from outside.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $@ install -q pip; } || { \
	  rm -rf $(VENV); \
	  echo "no virtual environment could be made: apt-get install python3-venv (or python3-pip)"; \
	  exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing (a minute at the first time)"
	@$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[test,bench]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.installed-test
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
