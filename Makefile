# Thin lines over the real commands; `make help` lists them.
# Override with e.g.: make demo SOURCE=camvid DATA=path/to/camvid
PYTHON ?= python3
SOURCE ?= shapes
DATA   ?=
RUN    ?= runs/$(SOURCE)
BUNDLE ?= $(RUN)/bundle
PORT   ?= 3000
QUICK  ?=
OUT    ?= docs/results
FCN    := .venv/bin/fcn
STARTED := $(shell date +%s)

.PHONY: help install demo test browser lint train compare export serve bench benchservice audit clean

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed  ## Make .venv and install the pinned set

.venv/.installed: pyproject.toml constraints.txt $(wildcard model/runtime/tail*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; found " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install  ## Train, export, package, serve and ask: everything once, on drawn shapes or SOURCE=camvid DATA=...
	@.venv/bin/python scripts/demo.py --started $(STARTED) --source $(SOURCE) $(if $(DATA),--data $(DATA))

test: lint browser  ## Lint, types, import rules and every test, files shared out among the processors
	.venv/bin/python -m pytest -q --numprocesses auto --dist loadfile

browser: install  ## Find a Chromium for the tests, or fetch one
	@.venv/bin/python tests/browser.py

lint: install  ## ruff, mypy and import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

train: install  ## Train RUN on SOURCE (DATA=folder): make train SOURCE=folder DATA=pictures RUN=runs/mine
	$(FCN) train $(if $(wildcard recipes/$(SOURCE).yaml),--config recipes/$(SOURCE).yaml,--data.name $(SOURCE)) \
	  $(if $(DATA),--data.root $(DATA)) --run $(RUN)

compare: install  ## Learned against fixed upsampling on SOURCE (DATA=folder)
	$(FCN) compare $(RUN)-comparison --data.name $(SOURCE) $(if $(DATA),--data.root $(DATA))

export: install  ## Export RUN as a bundle and put it into BentoML's model store
	$(FCN) export $(RUN)
	$(FCN) register $(BUNDLE)

serve: install  ## Serve BUNDLE on PORT
	FCN_BUNDLE=$(BUNDLE) .venv/bin/bentoml serve service.app:Segmenter --port $(PORT)

bench: install  ## Everything side by side, to OUT/performance.md (QUICK=1: 5 minutes; RUN=runs/mine: that network)
	.venv/bin/python -m benchmarks.performance --out $(OUT) $(if $(QUICK),--quick) \
	  $(if $(filter-out file,$(origin RUN)),--run $(RUN)) $(if $(filter-out file,$(origin BUNDLE)),--bundle $(BUNDLE))

benchservice: install  ## Load, soak and memory of the service on BUNDLE, to OUT (QUICK=1: shorter)
	.venv/bin/python -m benchmarks.load $(BUNDLE) --out $(OUT) $(if $(QUICK),--quick)
	.venv/bin/python -m benchmarks.soak $(BUNDLE) --out $(OUT) $(if $(QUICK),--quick)
	.venv/bin/python -m benchmarks.memory $(BUNDLE) --out $(OUT) $(if $(QUICK),--quick)

audit: install  ## Look the pinned packages up in the OSV database; says so where it cannot be reached
	.venv/bin/python scripts/audit.py

clean:  ## Remove what the demo, the tests and the tools made; runs/ stays
	rm -rf demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
