# Everything a person types in this repository. `make` alone lists it.

BIN := .venv/bin
COMPOSE := docker compose --progress quiet -f compose/bookinfo.yaml
SCRIPTS := $(filter-out %.py %.service,$(wildcard scripts/*)) .ci/run agents/install $(addprefix agents/vagrant/,compose vm join)

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-ready check check-ready check-style check-types check-rooms check-scripts \
	format golden bench clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## install what is missing, start the demo application and the mesh beside it, take a tour
	@scripts/setup host engine venv
	@scripts/image demo
	@echo "· starting Bookinfo (compose/bookinfo.yaml)" >&2
	@$(COMPOSE) up -d
	@$(BIN)/meshlite up -d -p bookinfo
	@$(BIN)/meshlite demo

demo-down: ## end the demo; the host is as it was, but for what was installed
	@if [ -x $(BIN)/meshlite ]; then $(BIN)/meshlite down -p bookinfo --ignore-missing; fi
	@if docker info >/dev/null 2>&1; then echo "· removing Bookinfo" >&2; $(COMPOSE) down -v; fi
	@scripts/engine release
	@echo "· kept: what was installed (packages, the Docker engine, .venv: make clean) and the demo's image" >&2

test: test-ready ## install what tests need and run all of them, real parts included (ARGS="-k name" to choose)
	@$(BIN)/pytest $(ARGS)

test-ready:
	@scripts/setup host engine test
	@scripts/image demo test

check: check-ready check-style check-types check-rooms check-scripts ## lint, types, import contract, shell scripts

check-ready:
	@scripts/setup check

check-style: check-ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

check-types: check-ready
	$(BIN)/mypy

check-rooms: check-ready
	$(BIN)/lint-imports

check-scripts: check-ready
	shellcheck $(SCRIPTS)

format: ## let ruff put the code in order
	@scripts/setup check
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

golden: ## write the golden files of the translation anew
	@scripts/setup check
	$(BIN)/pytest -q tests/translate --update-golden

bench: ## measure what the performance page is made from
	@scripts/setup host engine bench
	@scripts/image demo test
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove what was made inside this folder
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis bench/out tests/out
	find . -name __pycache__ -prune -exec rm -rf {} +
