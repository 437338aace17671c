# The few words that a person types; Meson does the work.
#
# BUILD: the folder of the optimised build that `make`, `make demo` and `make install` use.

BUILD ?= build
PREFIX ?= /usr/local
SOURCES = $$(git ls-files 'src/*.c' 'src/*.h' 'tests/*.c' 'tests/*.h' 'fuzz/*.c' 'bench/*.c')

.PHONY: all demo test check bench fuzz install format hooks help clean

all: $(BUILD)/build.ninja ## build the program (build/src/argon)
	@ninja -C $(BUILD) src/argon

$(BUILD)/build.ninja:
	@tools/deps.sh build
	@meson setup $(BUILD) -Dtests=false --prefix=$(PREFIX) >/dev/null

demo: all ## build, and take a signed push of a real repository all the way to a mail
	@tools/demo.sh $(BUILD)/src/argon

test: ## install what the tests need, start their servers, run everything
	@tools/deps.sh test
	@.cache/venv/bin/python tools/test.py

check: ## only the fast part: unit tests and the checks of the tree
	@tools/deps.sh test
	@.cache/venv/bin/python tools/test.py --fast

bench: all ## measure, beside the floor, and print tables
	@tools/deps.sh test
	@.cache/venv/bin/python bench/run.py

fuzz: ## run every fuzz target for FUZZ_SECONDS (60) each
	@tools/deps.sh test
	@tools/fuzz.sh

install: all ## install to PREFIX (/usr/local)
	@meson install -C $(BUILD) --no-rebuild

format: ## lay the sources out as .clang-format says
	@clang-format-14 -i $(SOURCES)

hooks: ## install a pre-push hook that lets Argon build what is pushed
	@install -m 755 tools/pre-push "$$(git rev-parse --git-path hooks)/pre-push"
	@echo "installed: every push first runs 'argon exec' on the repository's own .runnerci.yml"

clean: ## remove what was built
	@rm -rf build build-*

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile
