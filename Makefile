# Two commands: `make demo` and `make test`. Each does all its own set-up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
MOSQUITTO := $(or $(shell command -v mosquitto),$(wildcard /usr/sbin/mosquitto))
WANTED := $(if $(MOSQUITTO),,mosquitto) $(if $(shell command -v chromium),,chromium)
SECONDS ?=
SEEDS ?= 10000
KILLS ?= 200
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench soak train lock broker clean

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|' 2>/dev/null \
		|| grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST)

setup: $(STAMP) ## Prepare everything into .venv
	@echo "ready: $(BIN)/cornergrid-edge and $(BIN)/cornergrid-cloud"

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Cornergrid needs Python 3.11 or newer: apt install python3, or make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv is missing: apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "[1/3] making .venv"; $(PYTHON) -m venv .venv; }
	@echo "[2/3] installing the locked packages"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on --require-hashes -r requirements.lock
	@echo "[3/3] linking cornergrid itself"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## One shop, a broker and the cloud together, until Ctrl-C (or SECONDS=60)
	@$(BIN)/python -m edge.sim.demo $(if $(SECONDS),--seconds $(SECONDS))

broker: # the tests need a real mosquitto, and for the page a real browser
	@if [ -n "$(strip $(WANTED))" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing $(WANTED)"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(WANTED) >/dev/null; \
		elif [ -z "$(MOSQUITTO)" ]; then echo "the tests need a real mosquitto: sudo apt install mosquitto" >&2; exit 1; \
		else echo "the page is not tested without a browser: sudo apt install chromium" >&2; fi; fi

test: setup broker ## The tests, against real processes
	@$(BIN)/python -m pytest -m "not bench" -n 3 --dist loadfile

lint: setup ## ruff, mypy strict and the import directions
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_tidy.py

bench: setup broker ## Ratios against bare onnxruntime, bare SQLite and bare paho
	@$(BIN)/python -m pytest -q -s -m bench tests/bench

soak: setup broker ## 10,000 simulated stories and 200 kill -9 of real processes
	@CORNERGRID_SEEDS=$(SEEDS) $(BIN)/python -m pytest -q -s tests/simulation
	@CORNERGRID_KILLS=$(KILLS) $(BIN)/python -m pytest -q -s -m e2e

train: setup ## Train a detector from the beginning, on rendered shelves alone (extra `train`: large)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[train]'
	@$(BIN)/cornergrid-edge vision train

lock: ## Pin what setup installs, from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/python -m uv pip compile pyproject.toml --universal --python-version 3.11 --extra edge --extra cloud --extra dev \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet -o requirements.lock

clean: ## Remove what setup and the demo made
	rm -rf .venv .demo
