# Each target sets itself up in .venv; all it needs is Python (3.11 to 3.13, with venv) and make.
# PYTHON=/path/to/python chooses the Python; otherwise the first that works is taken.

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -P -m
LOG := $(VENV)/install.log
AXE := $(VENV)/axe/package/axe.min.js
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
define BROWSER
command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; }; \
$(BIN)/python -c 'import selenium' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[browser]'
endef
define WARM
import librosa, numpy
wave = numpy.ones(16_000)
librosa.feature.mfcc(y=wave), librosa.effects.time_stretch(wave, rate=2)
endef
export WARM
# Set where images are built, it would have each of the tests' processes compile what it imports: 20 s for all libraries.
export PYTHONDONTWRITEBYTECODE :=
# The stamp follows the content of pyproject.toml, not its date, and the folder that the editable install points to.
STAMP := $(VENV)/.installed-$(shell { pwd; echo "$(PYTHON)"; cat pyproject.toml; } | cksum | cut -d ' ' -f 1)

.PHONY: help demo test test-slow test-browser docs tables picture lint types bench clean

help:
	@echo "make demo       benchmark GLAM on a small synthetic corpus"
	@echo "make test       ruff, mypy and the tests"
	@echo "make test-slow  all tests, the slow ones too"
	@echo "make test-browser  the report in Chromium; installs Chromium (apt-get), Selenium and axe-core (npm)"
	@echo "make docs       the documentation, into build/site (installs MkDocs)"
	@echo "make tables     bring the tables in docs/ that the program makes up to date"
	@echo "make picture BOARD=emodb  a board of the report as docs/assets/board.png (installs Chromium, Selenium)"
	@echo "make lint       ruff only;  make types: mypy only"
	@echo "make bench      measure speed (pytest-benchmark): 8 minutes on two cores"
	@echo "make clean      remove .venv and caches; runs/ stays"

demo: $(STAMP)
	@$(BIN)/sertbench run --model glam --dataset demo --trials 0 --seeds 1 --epochs 15 --leaderboards runs

# Tests of one file run in one process, and share what they make.
test: $(STAMP)
	@# What is compiled once, tests and libraries by Python and librosa by itself, is compiled beside the checks.
	@[ -e $(VENV)/.compiled ] || { touch $(VENV)/.compiled; $(RUN) pytest -q --collect-only >/dev/null; \
	  $(BIN)/python -P -c "$$WARM"; } & $(MAKE) --no-print-directory lint types
	@$(RUN) pytest -q -n auto --dist loadfile

test-slow: $(STAMP)
	@$(RUN) pytest -q -n auto -m "slow or not slow"

test-browser: $(STAMP) $(AXE)
	@$(BROWSER)
	@$(RUN) pytest -q -m browser

docs: $(STAMP)
	@$(BIN)/python -c 'import material, mkdocs, mkdocstrings_handlers.python' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet
	@echo "build/site/index.html"

tables: $(STAMP)
	@$(BIN)/python -P docs/hooks.py

picture: $(STAMP)
	@[ -n "$(BOARD)" ] || { echo "which board? make picture BOARD=emodb [RUNS=runs] [LEADERBOARDS=leaderboards]" >&2; exit 2; }
	@$(BROWSER)
	@$(BIN)/python -P docs/picture.py "$(BOARD)" --runs "$(or $(RUNS),runs)" --leaderboards "$(or $(LEADERBOARDS),leaderboards)"

$(AXE): $(STAMP)
	@mkdir -p $(VENV)/axe
	@command -v npm >/dev/null || echo "npm is not there: the accessibility checks will be skipped"
	@! command -v npm >/dev/null || \
	  { cd $(VENV)/axe && npm pack --silent axe-core@4 >/dev/null && tar xzf axe-core-*.tgz && touch package/axe.min.js; }

lint: $(STAMP)
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --check --quiet . || { echo "not formatted: run $(BIN)/ruff format ." >&2; exit 1; }

types: $(STAMP)
	@$(RUN) mypy --no-error-summary

bench: $(STAMP)
	@$(RUN) pytest -q -o addopts=--import-mode=importlib --benchmark-only tests/benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .benchmarks .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(STAMP):
	@if [ -n "$(PYTHON)" ] || ! $(BIN)/python -c 'import pip; $(FITS)' 2>/dev/null; then \
	  for python in $(CANDIDATES) ""; do "$$python" -c '$(FITS)' 2>/dev/null && break; done; \
	  if [ -z "$$python" ]; then \
	    echo "No Python from 3.11 to 3.13 with venv among: $(CANDIDATES). Say which: make PYTHON=/path/to/python" >&2; exit 1; \
	  fi; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing sertbench into $(VENV) for $$($(BIN)/python -V): once, a minute or more (log: $(LOG))"
	@# uv takes a fifth of pip's time. Where it cannot be had or fails, or pip is told of an index of packages that uv does
	@# not know, pip installs. Modules are compiled when they are first imported: most never are.
	@{ ! $(BIN)/python -m pip config list | grep -E '\.(index-url|no-index)=' && \
	  $(BIN)/python -m pip install --quiet uv && \
	  $(BIN)/python -m uv pip install --python $(BIN)/python --editable '.[dev]'; } >$(LOG) 2>&1 || \
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]' >>$(LOG) 2>&1 || { \
	  grep -v ^WARNING $(LOG) | tail -n 30 >&2; echo "The installation failed; the end of $(LOG) is above." >&2; exit 1; }
	@rm -f $(VENV)/.installed-*
	@touch $@
