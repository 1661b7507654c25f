# AlphaStrat: `make run` starts it, `make test` checks it, `make help` lists the rest.
# Paths are quoted or relative, so that the tree may lie in a directory with blanks.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test lint types browser bench docker clean

PY := .venv/bin/python
BOOTSTRAP := $(or $(PYTHON),python3) scripts/bootstrap.py
CHECK := DJANGO_SETTINGS_MODULE=alphastrat.settings_test $(PY)
PYTEST := $(PY) -m pytest -p tests.plugin_servers
NUMPROCESSES ?= 2

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' Makefile | expand -t 18

setup:  ## make .venv and install requirements.txt (done by the others when needed)
	@$(BOOTSTRAP)

setup-dev:
	@$(BOOTSTRAP) --dev

run: setup  ## start everything; PORT=8000 and HOST=127.0.0.1 can be set
	@exec $(PY) manage.py up $(ARGS)

lint: setup-dev  ## ruff, formatting, import rules, size limits
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports --no-cache
	$(PY) -m pytest -p no:django -p no:xdist --noconftest -o DJANGO_SETTINGS_MODULE= tests/architecture/test_sizes.py

types: setup-dev  ## mypy
	$(PY) -m mypy .

migrations: setup-dev
	$(CHECK) -W ignore manage.py makemigrations --check --dry-run

test: lint types migrations  ## lint, types, migrations, then every test on servers of its own
	$(PYTEST) -n $(NUMPROCESSES) --dist loadgroup $(ARGS)

browser: setup-dev  ## only the tests that drive Chromium
	$(PYTEST) -m browser $(ARGS)

bench: setup  ## measure every stated limit; writes benchmarks/results
	$(PY) -m benchmarks $(ARGS)

docker:  ## build and start the containers of compose.yml
	docker compose up --build $(ARGS)

clean:  ## remove caches and test servers; var/ with your data stays
	rm -rf var/test .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
