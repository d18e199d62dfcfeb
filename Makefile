# Every target sets up what it needs: Python 3.11 or newer and make are enough. See tools/make_env.sh.
# make PYTHON=/path/to/python ... chooses the interpreter.

.POSIX:
.NOTPARALLEL:
.PHONY: help demo test test-all lint clean

PYTHON =
ENV = PYTHON="$(PYTHON)" sh tools/make_env.sh
PYTEST = .venv/bin/python -m pytest -q -rsfE -n auto --dist loadfile

help:
	@echo "make demo      simulate a small chest CT, forge one spot, scan both, write a report"
	@echo "make test      every test that needs neither extras nor external tools"
	@echo "make test-all  every test; adds the extras, and DCMTK where it is installed"
	@echo "make lint      ruff and mypy"
	@echo "make clean     remove .venv, caches and what the demo wrote"

demo:
	@$(ENV) core
	.venv/bin/verict demo

test:
	@$(ENV) dev
	$(PYTEST) -m "not extra" $(ARGS)

test-all:
	@$(ENV) all
	$(PYTEST) $(ARGS)

lint:
	@$(ENV) dev
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

clean:
	rm -rf .venv build dist verict-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
