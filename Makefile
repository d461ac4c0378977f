# `make demo` runs the main job, `make test` proves it; both set up what they need first.
# PYTHON chooses the interpreter (3.11 to 3.13): make test PYTHON=python3.13

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check audit synth bench bench-quick fleet faults soak lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## create .venv with everything, from the lock files

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(READY): requirements.lock emulator.lock old-xgboost.lock tests/fuzz/fuzz.lock pyproject.toml setup.py \
  $(wildcard model/*.c model/*.h)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  "make: %s is Python %d.%d, expected 3.11 to 3.13; choose one with PYTHON=…" % (sys.executable, *v))'
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing what requirements.lock pins (about a minute)"
	@$(PIP) --require-hashes -r requirements.lock
	@# Beside the environment: of the first only a binary is used, the others are for one test each.
	@$(PIP) --require-hashes --no-deps --upgrade --target $(VENV)/share/emulator -r emulator.lock
	@$(PIP) --require-hashes --no-deps --upgrade --target $(VENV)/share/old-xgboost -r old-xgboost.lock
	@$(PIP) --require-hashes --no-deps --upgrade --target $(VENV)/share/fuzz -r tests/fuzz/fuzz.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import model._forest, model._rows' 2>/dev/null || \
	  echo "no C compiler made the kernel, so XGBoost itself will serve (to try again: make -B setup)"
	@touch $@

demo: setup ## from a data set to a validated Lambda, to a device, and to updates, on this machine
	@$(BIN)/python -m release.demo

# What the cloud's part needs, for its tests and its types; nothing else does.
CLOUD := $(VENV)/.cloud

$(CLOUD): cdk-ml-iot/requirements.lock | setup
	@echo "installing what cdk-ml-iot/requirements.lock pins"
	@$(PIP) --require-hashes -r cdk-ml-iot/requirements.lock
	@touch $@

BUNDLE ?= build/demo/wine
REPORT ?= $(firstword $(wildcard $(BUNDLE)-report/*.json))

synth: $(CLOUD) ## what the CDK would deploy, without an account (BUNDLE=DIR REPORT=FILE)
	@CDK_OUTDIR=build/cdk.out CDK_CONTEXT_JSON='{"bundle": "$(BUNDLE)", "report": "$(REPORT)"}' \
	  $(BIN)/python cdk-ml-iot/app.py && echo build/cdk.out

test: setup $(CLOUD) ## run every test
	@$(BIN)/python -m pytest

# What looks for secrets and for known vulnerabilities, beside the environment too.
AUDIT := $(VENV)/share/audit

$(AUDIT)/.ready: audit.lock | setup
	@echo "installing what audit.lock pins"
	@$(PIP) --require-hashes --no-deps --upgrade --target $(AUDIT) -r audit.lock
	@touch $@

check: setup $(CLOUD) $(AUDIT)/.ready ## format, lint, types, import arrows, secrets
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@PYTHONPATH=$(AUDIT) .ci/find-secrets $(BIN)/python

# Everything that is pinned, for whatever machine; it fails, too, where no database is reached.
audit: $(AUDIT)/.ready ## known vulnerabilities in what the lock files pin; needs the internet
	@for lock in $(filter-out bench/%,$(wildcard *.lock */*.lock */*/*.lock)); do echo "$$lock"; \
	  PYTHONPATH=$(AUDIT) $(BIN)/python -m pip_audit --strict --progress-spinner off --disable-pip \
	    --require-hashes --vulnerability-service osv --requirement "$$lock" || exit 1; done

BENCH := $(VENV)/share/bench

# What we compare with; the run goes on, and says so, where it cannot be installed. The smaller run
# compares with what is there.
$(BENCH)/.ready: bench/competitors.lock | setup
	@echo "installing what bench/competitors.lock pins (two minutes, once)"
	@$(BIN)/python -m venv --clear $(BENCH)
	@-$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	  -r bench/competitors.lock && touch $@

bench: setup $(BENCH)/.ready ## measure beside the usual ways; writes docs/benchmark.md
	@$(BIN)/python -m bench --write-docs

bench-quick: setup ## the same in three minutes, in less detail
	@$(BIN)/python -m bench --plan quick

fleet: setup ## a fleet on this machine: canaries, a bad model, a good one
	@$(BIN)/python -m bench.fleet

faults: setup ## faults from a seeded schedule, on purpose; four minutes (ARGS="--seconds 600 --write-docs")
	@$(BIN)/python -m bench.faults $(ARGS)

soak: setup ## the same for an hour
	@$(BIN)/python -m bench.faults --soak

COMPILE = PYTHONPATH=$(VENV)/share/uv $(BIN)/python -m uv pip compile --quiet --universal \
  --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --upgrade

lock: setup ## resolve the lock files anew
	@$(PIP) --target $(VENV)/share/uv uv
	@$(COMPILE) --all-extras pyproject.toml -o requirements.lock
	@$(COMPILE) --constraint requirements.lock --extra device pyproject.toml -o container/requirements.lock
	@echo "xgboost-cpu>=3.2,<4" | $(COMPILE) --constraint requirements.lock --no-deps - -o container/xgboost.lock
	@echo aws-sam-cli | $(COMPILE) --no-deps - -o emulator.lock
	@echo "xgboost-cpu==2.1.4 ; sys_platform == 'linux'" | $(COMPILE) --no-deps - -o old-xgboost.lock
	@$(COMPILE) --no-deps tests/fuzz/fuzz.in -o tests/fuzz/fuzz.lock
	@$(COMPILE) audit.in -o audit.lock
	@$(COMPILE) --constraint requirements.lock cdk-ml-iot/requirements.in -o cdk-ml-iot/requirements.lock
	@$(COMPILE) --constraint requirements.lock --override bench/competitors.override \
	  bench/competitors.in -o bench/competitors.lock

clean: ## remove what was built, but not .venv
	rm -rf build model/*.so *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
