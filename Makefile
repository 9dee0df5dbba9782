# What each target does: make help. Everything happens in .venv; nothing is installed outside of it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= runs/demo
GPU_PYTHON  ?= $(BIN)/python
GPU_RESULTS ?= benchmarks/results
DATA   ?=

# Compiled modules are kept: without them every start compiles the libraries anew.
unexport PYTHONDONTWRITEBYTECODE

# The tests load every library into one process; together they need more static thread-local storage
# than Linux leaves by default (kgrec itself keeps them apart).
export GLIBC_TUNABLES := glibc.rtld.optional_static_tls=16384

# Threads wait asleep (kgrec/threads.py): on shared cores a spinning one keeps the others from work.
export OMP_WAIT_POLICY ?= PASSIVE

# A test that hangs fails with its stack; no test takes a tenth of this on a quiet machine.
LIMIT    := --timeout 1500
PARALLEL := -n 2 --dist loadfile $(LIMIT)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-slow test-neo4j test-redis test-llm lint format typecheck bench scoreboard gpu-check gpu-bench golden-update docs clean

help:  ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.runtime  ## make .venv with what kgrec needs to run (CPU)

setup-dev: $(VENV)/.dev  ## the same, with the tools of development

demo: $(VENV)/.runtime  ## the main job on real data; DATA=dataset.yaml or a folder for your own
	@if [ -n "$(DATA)" ]; then $(BIN)/kgrec run "$(DATA)" --out "$(OUT)"; \
	else $(BIN)/kgrec run configs/demo.yaml --out "$(OUT)"; fi

test: $(VENV)/.dev  ## unit, property, contract and golden tests (no server, no data, no GPU)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not gpu and not neo4j and not llm and not redis and not browser"

test-slow: $(VENV)/.dev  ## end-to-end runs, faults and real data (KGREC_DATA_DIR)
	$(BIN)/python -m pytest $(PARALLEL) -m "slow and not neo4j and not redis"

test-neo4j: $(VENV)/.dev  ## the graph store on a real Neo4j server (needs a JDK 17+ and Maven)
	$(BIN)/python -m pytest $(LIMIT) -m "neo4j"

test-redis: $(VENV)/.dev  ## several workers on a real Redis (needs redis-server: apt-get install redis-server)
	$(BIN)/python -m pytest $(LIMIT) -m "redis"

test-llm: $(VENV)/.dev  ## the tests that ask a small language model on this machine (fetches SmolLM2, 93 MB)
	$(BIN)/python -m pytest -m "llm"

lint: $(VENV)/.dev  ## ruff (lint and format), the rules of import, the page of results
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python benchmarks/results_page.py --check
	$(BIN)/python benchmarks/rankers_page.py --check
	$(BIN)/python benchmarks/likes_page.py --check
	$(BIN)/python benchmarks/text_tuning_page.py --check

format: $(VENV)/.dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

bench: $(VENV)/.dev  ## the benchmarks that need no artifact or model, JSON into benchmarks/results/
	@for file in $(filter-out $(addprefix benchmarks/bench_,explanations.py extraction_onnx.py preselection.py text_tuning.py),$(wildcard benchmarks/bench_*.py)); do echo "== $$file"; $(BIN)/python $$file --json benchmarks/results/$$(basename $$file .py).json || exit 1; done

gpu-check:  ## the tests that need a CUDA device, with the Python that holds torch (GPU_PYTHON)
	$(GPU_PYTHON) -m pytest -m gpu -p no:cacheprovider

gpu-bench:  ## the benchmarks on a CUDA device, JSON into GPU_RESULTS
	$(GPU_PYTHON) benchmarks/bench_propagation.py --device cuda --json $(GPU_RESULTS)/propagation_gpu.json
	$(GPU_PYTHON) benchmarks/bench_propagation.py --device cuda --nodes 1000000 --edges 10000000 --rounds 5 --json $(GPU_RESULTS)/propagation_gpu_10m.json
	$(GPU_PYTHON) benchmarks/bench_extraction.py --device cuda --sentences 8192 --json $(GPU_RESULTS)/extraction/speed-minilm-gpu.json

scoreboard: $(VENV)/.dev  ## the runs of benchmarks/scoreboard.yaml that are not done (KGREC_DATA_DIR), then docs
	$(BIN)/python benchmarks/scoreboard.py $(if $(ONLY),--only $(ONLY))
	$(BIN)/python benchmarks/results_page.py

docs: $(VENV)/.dev  ## write the pages of figures in docs/reference from the records
	$(BIN)/python benchmarks/results_page.py
	$(BIN)/python benchmarks/rankers_page.py
	$(BIN)/python benchmarks/likes_page.py
	$(BIN)/python benchmarks/text_tuning_page.py

golden-update: $(VENV)/.dev  ## write the golden numbers anew; read the diff before you commit it
	KGREC_UPDATE_GOLDEN=1 $(BIN)/python -m pytest tests/golden

clean:  ## take away .venv, runs and caches of tools
	rm -rf $(VENV) runs build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# uv puts the stack in place in under a minute; pip, where uv cannot be had, takes several.
define install
	@$(PYTHON) -c 'import sys; sys.exit("kgrec needs Python 3.11 or newer, got %s: make PYTHON=python3.12 $@" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@set -e; uv=$$(command -v uv || true); \
	if [ -z "$$uv" ]; then \
	  [ -x .cache/uv/bin/uv ] || { $(PYTHON) -m venv .cache/uv && .cache/uv/bin/python -m pip install -q --disable-pip-version-check uv; } || true; \
	  [ -x .cache/uv/bin/uv ] && uv=.cache/uv/bin/uv || true; \
	fi; \
	if [ -n "$$uv" ]; then \
	  [ -x $(BIN)/python ] || $$uv venv -q --seed --python "$$(command -v $(PYTHON))" $(VENV); \
	  $$uv pip install -q --python $(BIN)/python -c constraints.txt -e '$(1)' || { \
	    echo "uv could not install; trying pip"; \
	    $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '$(1)'; }; \
	else \
	  [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '$(1)'; \
	fi; touch $@
endef

$(VENV)/.runtime: pyproject.toml constraints.txt
	$(call install,.[cpu])

$(VENV)/.dev: pyproject.toml constraints.txt
	$(call install,.[cpu$(comma)dev])
	@touch $(VENV)/.runtime

comma := ,
