# What people type. `make help` lists the verbs; variables: PORT, ROWS, SEED, NAME, BUNDLE, ENGINE, BASE_IMAGE, BUILD_FLAGS, PYTEST_ARGS, BENCH_ARGS, LOADTEST_ARGS, HOST, SOAK_S, FUZZ_CASES, DASHBOARD_PORT, NOTEBOOK_PORT.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PORT   ?= 8000
ROWS   ?= 200000
SEED   ?= 7
NAME   ?= smadex
DATA   ?= data/$(NAME)
ENGINE ?= docker
IMAGE  ?= pltv
BUNDLE ?= $(if $(wildcard models/current/manifest.json),models/$(notdir $(realpath models/current)))
PYTEST_ARGS ?=
BENCH_ARGS ?=
LOADTEST_ARGS ?=
# Some shells export HOST as the machine's own name: from the environment only a URL is meant for us.
LOADTEST_HOST = $(if $(filter command,$(origin HOST)),$(HOST),$(filter http://% https://%,$(HOST)))
SOAK_S ?= 900
FUZZ_CASES ?= 50000
DASHBOARD_PORT ?= 8501
NOTEBOOK_PORT ?= 2718

BIN := .venv/bin

.PHONY: help setup serve test stress bench bench-peers loadtest lint format data train dashboard notebook image lock clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## make .venv with the locked versions; checks first what the system lacks
	@scripts/setup.sh

serve: setup ## serve models/current on PORT, making a small demonstration bundle where there is none
	@PORT=$(PORT) exec scripts/serve.sh

test: ## every test, a real Redis among them, two files at a time; PYTEST_ARGS="-n 0 -k NAME" for one
	@scripts/setup.sh redis mlflow dashboard notebook cdnow
	@$(BIN)/python -m pytest -m "not stress" -n 2 --dist loadfile $(PYTEST_ARGS)

stress: ## load, faults, swaps, FUZZ_CASES hostile bodies and SOAK_S seconds of load, held to tests/stress/thresholds.toml
	@scripts/setup.sh redis
	@PLTV_SOAK_S=$(SOAK_S) PLTV_FUZZ_CASES=$(FUZZ_CASES) $(BIN)/python -m pytest -s tests/stress $(PYTEST_ARGS)

bench: ## what a prediction costs, beside what people use today; BENCH_ARGS=--quick for a minute's look
	@scripts/setup.sh redis
	@scripts/serve.sh bundle
	@loadtests/install-wrk.sh
	@$(BIN)/python -m loadtests.benchmarks $(BENCH_ARGS)

bench-peers: ## the whole job beside FastAPI, tl2cgen, BentoML, MLServer and LitServe that are given ready rows
	@scripts/setup.sh
	@scripts/serve.sh bundle
	@loadtests/install-wrk.sh
	@$(BIN)/python -m loadtests.peers $(BENCH_ARGS)

loadtest: ## steady, ramp, spike and an open loop at 30 to 150 % of capacity, on HOST=http://… or a service of its own
	@scripts/setup.sh load
	@$(if $(LOADTEST_HOST),,scripts/serve.sh bundle)
	@$(BIN)/python -m loadtests.loadtest $(if $(LOADTEST_HOST),--host $(LOADTEST_HOST)) $(LOADTEST_ARGS)

lint: setup ## ruff, mypy, the import contracts, and that the locks name no host
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! grep -nE '://|^ *-|@' requirements/lock.txt requirements/peers/*.txt || { echo "lint: a lock may name packages and versions only"; exit 1; }

format: setup ## let ruff order imports and format
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

data: setup ## generate ROWS rows of SEED into DATA
	@$(BIN)/pltv generate --rows $(ROWS) --seed $(SEED) --out $(DATA)

train: setup ## train and publish models/NAME on DATA, generating it where it is absent
	@[ -d $(DATA) ] || $(MAKE) --no-print-directory data
	@$(BIN)/pltv train --config config/smadex.yaml --data $(DATA) --out models/$(NAME)

dashboard: ## look at bundles and rows in a browser: prices, what drives them, calibration, two bundles; DASHBOARD_PORT
	@scripts/setup.sh dashboard
	@scripts/serve.sh bundle
	@ls -d data/*/*=*/ >/dev/null 2>&1 || $(BIN)/pltv generate --rows 20000 --seed 8 --start 2025-10-08 --hours 24 --out data/later
	@exec $(BIN)/python -m training.dashboard --models models --data data --port $(DASHBOARD_PORT)

notebook: ## open notebooks/ in a browser: exploration of the data, a tour of the pipeline; NOTEBOOK_PORT
	@scripts/setup.sh notebook
	@exec $(BIN)/marimo edit notebooks --host 127.0.0.1 --port $(NOTEBOOK_PORT) --headless --no-sandbox --skip-update-check

image: ## build the service's image around one BUNDLE (ENGINE=docker, podman or buildah)
	@[ -n "$(BUNDLE)" ] || { echo "image: models/current holds no bundle; make one (make train) or name one (BUNDLE=models/NAME)"; exit 2; }
	$(ENGINE) build $(BUILD_FLAGS) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --build-arg BUNDLE=$(BUNDLE) --tag $(IMAGE) .

lock: setup ## resolve pyproject.toml anew into requirements/lock.txt
	@$(BIN)/python scripts/lock.py

clean: ## remove what tools and tests left; keeps .venv, data and models
	@rm -rf build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	@find app training tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
