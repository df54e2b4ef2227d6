# Two commands matter: `make demo` runs the whole loop, `make test` runs the tests.
# Everything is installed into .venv with plain pip, from the pinned constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUT ?= demo
export OMP_NUM_THREADS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test bench check lint types walls contracts docs proto up clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "setuptools>=77"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e ".[dev]"
	@# Without their dependencies: torchvision's wheel asks for the accelerator build of torch.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt \
	  torchvision timm segmentation-models-pytorch huggingface_hub safetensors tqdm datumaro
	$(BIN)/python -c "from terrazzo_masks.native import warm; warm()"
	@touch $(STAMP)

demo: $(STAMP) ## run the whole loop on generated scenes; the report is demo/report.html
	@rm -rf $(DEMO_OUT)
	$(BIN)/terrazzo simulate --out $(DEMO_OUT)

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(STAMP) ## measure every figure against its named peer (installs the peers first)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks --write

check: lint types walls contracts ## lint, types, walls between the parts, contracts

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy libs services app benchmarks

walls: $(STAMP)
	$(BIN)/lint-imports

contracts: $(STAMP)
	$(BIN)/buf lint
	PATH="$(BIN):$$PATH" PYTHON=$(BIN)/python proto/check.sh

docs: $(STAMP) ## write docs/openapi, docs/rest.md and docs/settings.md from the code
	$(BIN)/python docs/write.py

proto: $(STAMP) ## write the event types from proto/
	PYTHON=$(BIN)/python proto/generate.sh

up: $(STAMP) ## run all services on one port
	$(BIN)/terrazzo up

clean: ## remove what the targets made
	rm -rf $(VENV) $(DEMO_OUT) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
