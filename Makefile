# Set-up, run, test. Needs Python 3.11 or newer and make; the rest is fetched.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
INTEROP := .venv-interop/.ready
BENCHMARKS := receiver reconciliation timetags instruments wire parties plan

.PHONY: run test test-hw check bench soak interop venv warm clean

# The default bench: a file and a secret key over a simulated 10 km.
run: $(READY)
	$(BIN)/scqc run lab_configs/cv_fiber_10km.toml --payload lab_configs/payload.txt

# Four at a time on two cores: many tests wait for deadlines. In the order of the
# folders: whole runs, the longest, come early, and no worker waits for one at the end.
test: $(READY)
	$(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder

# What must be green besides the tests, a line each.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

# Speed and quality figures, for example: make bench BENCHMARKS=receiver
bench: $(READY)
	set -e; for area in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$area; done

# Long statistical runs, with examples drawn anew, for example: make soak AREA=cv
soak: $(READY)
	$(BIN)/pytest -m soak --timeout=3600 --hypothesis-profile=explore $(if $(AREA),-k $(AREA))

# The suites of the roles on the instruments of a lab config without [sim]; light only
# when it is allowed: make test-hw CONFIG=lab.toml ALLOW_LIGHT=1
test-hw: $(READY)
	@test -n "$(CONFIG)" || { echo "make test-hw CONFIG=lab.toml" >&2; exit 2; }
	$(BIN)/pytest -rs -p no:xdist tests/contract/test_instrument_roles.py \
		$(wildcard tests/contract/test_*_role.py tests/contract/test_*_roles.py) \
		--hw-config=$(CONFIG) $(if $(ALLOW_LIGHT),--allow-light)

# Programs of other projects on ours: drivers (QCoDeS, PyMeasure) on the emulators, a
# client and a fuzzer on key delivery; installs them into an environment of its own.
interop: $(INTEROP)
	.venv-interop/bin/pytest -q tests/interop -o filterwarnings=default

venv: $(READY)

# Compile the kernels, so that the first run does not have to.
warm:
	$(BIN)/python -m scqc.runs.warm lab_configs/cv_quick.toml lab_configs/dv_quick.toml

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,lint]'
	$(MAKE) warm
	touch $(READY)

$(INTEROP): pyproject.toml constraints.txt constraints-interop.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install --quiet -c constraints.txt \
		-c constraints-interop.txt -e '.[test,interop]'
	touch $(INTEROP)

clean:
	rm -rf .venv .venv-interop .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
