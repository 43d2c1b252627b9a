# The two commands of the README: `make demo` and `make test`. Each does its own set-up, in a virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint examples docs clean

demo: $(VENV)/.runtime
	$(BIN)/geoseg demo --out demo --overwrite

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

examples: $(VENV)/.test
	sh examples/verbs.sh $(BIN)
	$(BIN)/python examples/notebooks.py --run

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W docs docs/_build

clean:
	rm -rf $(VENV) demo out docs/_build

$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@
