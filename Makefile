# make demo   compress a sample and compare, on a machine with nothing but Python >= 3.10
# make test   everything the tests check
#
# Both make .venv on first use. To use an interpreter that has the packages already:
#   make test PY=python
# torch is pinned and installed first, by name, so that no other version of it is drawn in; where
# PyPI's build brings CUDA along and is not wanted:
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=

ifdef PY
LIGHT :=
DEV :=
else
PY := $(VENV)/bin/python
LIGHT := $(VENV)/.tokenzip-light
DEV := $(VENV)/.tokenzip-dev
endif

DATA ?= $(or $(TOKENZIP_DATA),../shared/data)

.PHONY: help demo test test-slow test-gpu fuzz determinism determinism-versions soak lint \
	format docs bench goals peers results clean

help:
	@sed -n '1,9s/^# \{0,1\}//p' Makefile
	@echo "other targets: test-slow test-gpu fuzz determinism determinism-versions soak lint"
	@echo "               format docs bench goals peers results clean"

demo: $(LIGHT)
	$(PY) benchmarks/demo.py

# A process for each core, or JOBS of them; in each, torch has one thread.
test: $(DEV)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(or $(JOBS),auto) --dist loadfile -m "not slow and not gpu"

# Exit status 5: there is no such test, which is no failure.
test-slow: $(DEV)
	$(PY) -m pytest -m slow || [ $$? -eq 5 ]

# No GPU, or no test that needs one, is not a failure; it is said.
test-gpu: $(DEV)
	@$(PY) -c "import torch; c = torch.cuda; print('GPU:', c.get_device_name() if c.is_available() else 'none')"
	$(PY) -m pytest -m gpu -rs || [ $$? -eq 5 ]

# Hostile input for MINUTES in all; follows coverage where atheris is installed. See SECURITY.md.
fuzz: $(DEV)
	PYTHONPATH=.:tests TOKENZIP_REGISTRY=/dev/null/registry $(PY) -m fuzz --minutes $(or $(MINUTES),10)

# One blob in every process: the whole matrix of settings, about 5 minutes of CPU.
determinism: $(DEV)
	$(PY) -m pytest tests/test_determinism.py

# The same with the oldest versions that pyproject.toml admits, and the newest.
determinism-versions: $(DEV)
	$(PY) tests/determinism/versions.py $(if $(WITH_TORCH),--torch)

# Mixed work in several processes, for MINUTES; memory and open files must stay flat.
soak: $(DEV)
	PYTHONPATH=. $(PY) tests/soak.py --minutes $(or $(MINUTES),30)

lint: $(DEV)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(DEV)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# The pages of docs/ as a site in out/site; `mkdocs serve` shows it while it is written.
docs: $(DEV)
	$(PY) -m mkdocs build --quiet

# The comparison on the built-in sample; benchmarks/ratio.py takes any token files.
bench: $(LIGHT)
	$(PY) -m tokenzip bench

# The measured goals of the adaptive predictor; needs the token data (TOKENZIP_DATA).
goals: $(LIGHT)
	$(PY) benchmarks/adaptive_goals.py

# tokenzip and re-implementations of its peers, each trained for ten minutes of one core, then
# measured: an hour. Needs the token data (TOKENZIP_DATA) and torch. cmix and lstm-compress join in
# with PEERS="--cmix PATH --lstm-compress PATH".
peers: $(DEV)
	$(PY) benchmarks/peers.py $(PEERS) --markdown out/results/7.md --plot benchmarks/peers.png

# Everything in benchmarks/RESULTS.md, measured anew; about ten minutes, and an hour for the peers.
results: $(LIGHT) peers
	-$(PY) benchmarks/adaptive_goals.py --markdown out/results/0.md
	$(PY) benchmarks/ratio.py $(DATA)/commavq/example.npy --alphabet 1024 \
		--title "commaVQ example" --markdown out/results/1.md --plot out/results/commavq.png
	$(PY) benchmarks/ratio.py $(DATA)/drive/val.h5 --alphabet 1024 --solid --limit 12 \
		--title "drive/val, first 12 clips" --markdown out/results/2.md --plot out/results/drive.png
	$(PY) benchmarks/ratio.py $(DATA)/encodec/val.h5 --alphabet 1024 --solid \
		--title "encodec/val, 39 clips" --markdown out/results/3.md --plot out/results/encodec.png
	$(PY) benchmarks/networks.py --only bits --only speed --only hybrid --only presets --markdown out/results/4.md
	$(PY) benchmarks/defaults.py --markdown out/results/5.md
	$(PY) benchmarks/choice.py --clips 12 --markdown out/results/6.md
	$(PY) benchmarks/familiar.py --markdown out/results/6b.md
	{ echo "# Results"; echo; echo "Written by \`make results\`; do not edit by hand."; \
		for part in 0 1 2 3 4 5 6 6b 7; do echo; cat out/results/$$part.md; done; } > benchmarks/RESULTS.md

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" \
		|| { echo "tokenzip needs Python >= 3.10: make PYTHON=/path/to/python3 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(LIGHT): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PY) -m pip install --quiet -c constraints.txt -e ".[bench]"
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PY) -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(PY) -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $(VENV)/.tokenzip-light $@

clean:
	rm -rf build dist out *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find tokenzip tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
