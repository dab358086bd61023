# CHOS: each process tree in the Linux OS tree of its user's choice.
# `make` lists what there is. Everything real is done by meson and by the scripts in tools/.

PREFIX ?= /usr
DESTDIR ?=
# meson takes a relative one as below the build directory.
override DESTDIR := $(if $(DESTDIR),$(abspath $(DESTDIR)))
FUZZ_SECONDS ?= 60
PYTEST_ARGS ?=
KERNELS ?= 6.1 6.12 uml
KMOD_ARGS ?=
MUTANTS_ARGS ?=
BENCH_ARGS ?=
BUILD ?= build
# Debian's own tools come first: a Python from elsewhere lacks the distribution's modules.
MESON := PATH="/usr/bin:$$PATH" meson

.DEFAULT_GOAL := help
.PHONY: help deps build install uninstall demo check lint cunit fuzz unit system integration conformance kmod packages mutants bench deb rpm wheel clean

help: ## List the targets (this list)
	@echo "CHOS $$(sed -n 's/^__version__ = "\(.*\)"$$/\1/p' chosns/__init__.py). make …"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)$$/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo "Settings: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) FUZZ_SECONDS=$(FUZZ_SECONDS) PYTEST_ARGS='$(PYTEST_ARGS)' KERNELS='$(KERNELS)' KMOD_ARGS='$(KMOD_ARGS)' MUTANTS_ARGS='$(MUTANTS_ARGS)' BENCH_ARGS='$(BENCH_ARGS)'"

deps: ## Install the missing packages to build, test and show CHOS (root)
	@tools/deps

build: ## Compile the launcher, prepare the installation below build/
	@tools/build '$(BUILD)' '$(PREFIX)'

install: build ## Install below PREFIX (root; DESTDIR= for packages)
	@[ -n '$(DESTDIR)' ] || tools/deps --quiet runtime
	@echo "== Installing below $(DESTDIR)$(PREFIX)"
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" = 0 ] || { echo "needs root; run: sudo make install (or use DESTDIR)" >&2; exit 1; }
	@if [ -n '$(DESTDIR)' ]; then DESTDIR='$(DESTDIR)' $(MESON) install -C $(BUILD) --no-rebuild; \
	    else packaging/install '$(BUILD)' '$(PREFIX)'; fi >$(BUILD)/install.log 2>&1 || { packaging/install-failed $(BUILD)/install.log; exit 1; }
	@cat $(BUILD)/after-install.txt

uninstall: ## Remove what `make install` installed (same PREFIX and DESTDIR)
	@packaging/uninstall '$(BUILD)' '$(DESTDIR)' '$(PREFIX)'

demo: ## Show CHOS with two OS trees on a throwaway node (root; changes nothing on this machine)
	@tools/demo

check: ## Everything below, from lint to system tests (root for the system tests)
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' KERNELS='$(KERNELS)' tools/check

lint: ## ruff, mypy, shellcheck, mandoc, clang-tidy, gcc -fanalyzer
	@tools/lint

cunit: build ## Unit tests of libchos and the launcher, under sanitizers
	@tools/cunit $(BUILD)

fuzz: ## Fuzz the C parsers for FUZZ_SECONDS
	@tools/deps --quiet test
	@tests/fuzz/run '$(FUZZ_SECONDS)'

unit: ## Unit tests of the Python package, on the oldest and the newest Python too
	@tools/deps --quiet runtime test
	@tools/unit $(PYTEST_ARGS)

system: build ## System tests on a throwaway node: real mounts, real users (root)
	@tools/deps --quiet runtime test demo
	@tools/system $(BUILD) tests/system $(PYTEST_ARGS)

integration: build ## The same with real daemons: sshd, cron, Slurm, Grid Engine, Globus, ARC (root)
	@tools/deps --quiet runtime test batch demo
	@tools/system $(BUILD) tests/integration $(PYTEST_ARGS)

conformance: build ## Run the table of docs/backends.md with each backend, and print it (root)
	@tools/conformance --build $(BUILD) $${CHOS_CONFORMANCE:-ns kmod}

kmod: build ## Test the kernel module in virtual machines with KERNELS (root)
	@PYTEST_ARGS='$(PYTEST_ARGS)' tools/kmod $(KMOD_ARGS) $(KERNELS)

packages: ## Build the packages; install, remove and purge them on a throwaway node (root)
	@tools/deps --quiet runtime build package test batch
	@tools/trees tiny
	@/usr/bin/python3 -m pytest -q tests/packages $(PYTEST_ARGS)

mutants: ## Break privileged code on purpose; a named test must fail each time (root)
	@tools/deps --quiet runtime build test batch demo
	@tools/mutants $(MUTANTS_ARGS)

bench: ## Measure what entering costs, beside other tools, on a throwaway node (root)
	@bench/run $(BENCH_ARGS)

deb: ## Build Debian packages (chos, chos-slurm, chos-dkms) below build/packages
	@tools/deps --quiet build package
	@packaging/make-deb '$(CURDIR)/$(BUILD)/packages'

rpm: ## Build RPMs (chos, chos-slurm, chos-dkms) below build/packages
	@tools/deps --quiet build package
	@packaging/make-rpm '$(CURDIR)/$(BUILD)/packages'

wheel: ## Build a wheel of the Python package below build/packages
	@tools/deps --quiet build lint
	@.cache/venv/bin/pip wheel --quiet --no-deps --wheel-dir '$(BUILD)/packages' . && ls $(BUILD)/packages/*.whl

clean: ## Remove build/ and caches (the OS trees stay: tools/trees --help)
	rm -rf '$(BUILD)' .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -not -path './.cache/*' -exec rm -rf {} +
