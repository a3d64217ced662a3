# make train | make test | make help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/installed
# One thread in each test process, for two cores: two of them; three where tests wait for other processes half of the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist worksteal

.PHONY: help install train evaluate show results test test-slow test-all lint format lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
		{ echo "$(PYTHON) is not Python 3.11 or 3.12; choose one: make install PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	touch $@

install: $(READY) ## make .venv from the lock; PYTHON=python3.12 chooses another Python

train: $(READY) ## install what is needed, train mt10 to its end, print its report (seventeen minutes on two cores)
	$(BIN)/python train_mt10.py --config mt10

evaluate: $(READY) ## evaluate the trained policy that comes with the project (two minutes)
	$(BIN)/python evaluate.py

show: $(READY) ## what the trained policy does and has learned: page, videos, analysis (four minutes)
	$(BIN)/python evaluate.py --page --video --analyze

results: $(READY) ## write the figures and tables of the documents anew from docs/results
	$(BIN)/python -m docs.build

test: lint ## lint, type check, and every test but the slow ones (three to five minutes on two cores)
	$(PYTEST) --numprocesses 2 -m "not slow"

test-slow: $(READY) ## the slow tests: kills, harmed workers, fuzz, full disk, wheel, compiled resume
	$(PYTEST) --numprocesses 3 -m slow

test-all: test test-slow ## everything, as CI runs it

lint: $(READY) ## format check, lint and type check only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## write requirements.lock anew from setup.cfg
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0 -e '.[dev]'
	.venv-lock/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//' > requirements.lock
	rm -rf .venv-lock

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
