# Each target does all of its own set-up: a fresh clone needs Python >= 3.11 and make, nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export REFLEX_USE_NPM := 1
export REFLEX_TELEMETRY_ENABLED := false

.PHONY: help run test long check bench chaos emulators clean

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

run: $(VENV)/.run  ## Start the app, with emulators where no key is set, at http://localhost:3000
	@python -m chatapp

test: $(VENV)/.dev .browser  ## All tests (Chromium is installed by apt where it is missing and you are root)
	@python -m pytest -n 4 -m "not browser and not long" $(PYTEST_ARGS) && python -m pytest -n 3 --dist loadscope -m "browser and not long" $(PYTEST_ARGS)

long: $(VENV)/.dev .browser  ## The tests of make chaos and make bench, which make test leaves out
	@python -m pytest -n 3 --dist worksteal -m long $(PYTEST_ARGS)

check: $(VENV)/.dev  ## ruff, mypy --strict, and the import arrows
	@ruff check . && mypy && python -m pytest -q tests/test_architecture.py

bench: $(VENV)/.dev .browser  ## The benchmarks behind the README's figures
	@python -m benchmarks answer && python -m benchmarks billing

chaos: $(VENV)/.dev  ## Kill the app 200 times under load and check every bill (CHAOS_ARGS="--kills 30 --seed 7")
	@python -m chaos $(CHAOS_ARGS)

emulators: $(VENV)/.run  ## Only the emulators, at http://localhost:8900
	@python -m emulators

clean:  ## Remove what was built; data in .data stays
	rm -rf .web .states $(VENV)

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.run: $(VENV)/.venv requirements.txt
	@echo "Installing the app's dependencies (a minute, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.venv requirements.txt requirements-dev.txt
	@echo "Installing the app's and the tests' dependencies (a minute, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run

.PHONY: .browser
.browser:
	@missing=""; \
	command -v chromium chromium-browser google-chrome >/dev/null || missing="chromium"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing for the tests:$$missing …"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; \
	else echo "The tests need, as Debian packages: $$missing. Install them, then run this again."; exit 1; fi
