# The two commands of the README: `make demo` and `make test`. Each does its own set-up, in a virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint examples docs fiboa clean

demo: $(VENV)/.runtime
	$(BIN)/geoseg demo --out demo --overwrite

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

examples: $(VENV)/.test  # the notebooks beside the verbs; a failure of either fails
	$(BIN)/python examples/notebooks.py --run & notebooks=$$!; sh examples/verbs.sh $(BIN); verbs=$$?; \
		wait $$notebooks && exit $$verbs

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W docs docs/_build

fiboa: $(VENV)/.test $(VENV)-fiboa/.done  # the validator wants an older pyarrow and fsspec: it has its own environment
	GEOSEG_FIBOA_PYTHON=$(VENV)-fiboa/bin/python $(BIN)/python -m pytest tests/test_fiboa.py

clean:
	rm -rf $(VENV) $(VENV)-fiboa demo out docs/_build

$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)-fiboa/.done:
	$(PYTHON) -m venv $(VENV)-fiboa
	$(VENV)-fiboa/bin/python -m pip install --quiet fiboa-cli
	touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@
