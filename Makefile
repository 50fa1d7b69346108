# make demo    the main job: prepare, train, draw      make demo DATA=photos.zip RES=64 for your own
# make test    the tests, in eight minutes             make check   format, lint, types, import contracts
# make test-slow   the tests that take long: whole programs, a wheel, a compiler
# make setup   only the .venv (HASHES=1: by hashes)    make bench   measurements, as JSON
# make test-portable   the part without Ray as other processors would run it (an hour)
# make docs    lists that pages take from the code, and the site, build/site; a broken link is an error
# make fakegpu what a GPU would refuse, and what it would be asked for, without one (a C++ compiler)
# make faults  hosts die, links break, disks fill, and nothing is lost (Linux, root)
# make trials  a run in Azure's and Google's stores, by their emulators; what hostile files cost
.PHONY: setup demo test test-slow test-portable check bench docs fakegpu faults trials
PYTHON ?= python3
BIN := .venv/bin

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(if $(HASHES),$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(if $(HASHES),--no-deps) -e '.[train,cluster,dev]'
	@touch $@

demo: export INPUT := $(value DATA)
demo: export WEIGHTS := $(value FROM)
demo: setup
	@$(BIN)/python launch/demo.py $(if $(DATA),"input=$$INPUT") $(if $(RES),model.resolution=$(RES)) $(if $(FROM),"from=$$WEIGHTS") $(ARGS)

test: setup
	@$(BIN)/python -m tests.suite $(ARGS)

test-slow: setup
	@$(BIN)/python -m tests.suite --slow $(ARGS)

test-portable: setup
	@$(BIN)/python -m tests.portable $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup
	@$(BIN)/python -m bench $(ARGS)

docs: setup
	@PYTHONPATH=. $(BIN)/python docs/lists.py
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/python -m mkdocs build --quiet --strict $(ARGS)
	@echo build/site/index.html

fakegpu: setup
	@$(BIN)/python -m tests.fakegpu $(ARGS)

faults: setup
	@$(BIN)/python -m trials.faults $(or $(ARGS),--quick)

trials: setup
	@$(BIN)/python -m trials.hostile
	@$(BIN)/python -m trials.stores
