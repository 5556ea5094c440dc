# make demo: the whole pipeline on the bundled images. make test: what CI runs.
# make docs: the documentation site, in site/.
# All create .venv once. PYTHON=python3.12 make demo chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test docs clean

demo: .venv/installed
	$(BIN)/augment run quickstart --out runs/quickstart
	@echo "the report: $(CURDIR)/runs/quickstart/evaluation/report.html"

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov --cov-report=term-missing:skip-covered --cov-fail-under=95

docs: .venv/installed-dev
	$(BIN)/mkdocs build --strict

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist site *.egg-info
