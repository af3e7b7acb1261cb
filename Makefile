# Two commands for a fresh machine with Python 3.10 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The oldest nnU-Net and torch that setup.py allows, with what they bring along, and tests that run
# nnU-Net or torch.compile.
OLDEST := $(VENV)/oldest
OLDEST_PINS := $(shell grep -E '^(nnunetv2|torch(vision)?|batchgenerators(v2)?|acvl-utils|dynamic-network-architectures)==' tests/lower_bounds.txt)
OLDEST_TESTS := $(patsubst %,tests/nnunetv2_pclmix/%.py,test_nnunet_version test_nnunet_details \
	test_trainer test_compile test_configurations test_pretraining test_stock_interfaces \
	commands/test_export method/test_stroke_growth method/test_stroke_spread \
	commands/test_small_plans commands/test_ct_fingerprint training/test_dense_validation) \
	tests/scribble_tools/dataset/test_writing.py
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

# One thread for torch: the tests' networks are so small that more threads only wait for each other.
# A process for each core instead. Each begins with files of its own, whose tests share what takes
# long to make, and takes over from the other when it is done.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist worksteal

.PHONY: demo test test-fast test-oldest

demo: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) $(SIDE_BY_SIDE)

# what neither trains nor starts processes
test-fast: $(VENV)/installed-dev
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow"

test-oldest: $(OLDEST)/installed
	TESTED_NNUNET=$(filter nnunetv2==%,$(OLDEST_PINS)) OMP_NUM_THREADS=1 \
		$(OLDEST)/bin/python -m pytest $(OLDEST_TESTS)

# An environment over $(VENV), whose packages are found after its own.
$(OLDEST)/installed: tests/lower_bounds.txt $(VENV)/installed-dev
	$(BIN)/python -m venv --clear --without-pip $(OLDEST)
	echo "import site; site.addsitedir('$$($(BIN)/python $(PURELIB))')" \
		> "$$($(OLDEST)/bin/python $(PURELIB))/newest.pth"
	$(BIN)/python -m pip --python $(OLDEST)/bin/python install $(OLDEST_PINS)
	touch $@

$(VENV)/installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip setuptools
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install -e ".[dev]"
	touch $@
