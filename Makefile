# SPDX-License-Identifier: Apache-2.0
#
# One word for each thing a person wants to do; Meson does the building underneath.
# Every target installs what it needs from tools/packages first (root, or sudo).

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.SUFFIXES:

PREFIX  ?= /usr/local
SECONDS ?= 20
# A variable that no target knows would be ignored in silence, and `make run machine=x` show another machine.
variables := PREFIX SECONDS MACHINE CONFIG KEY WORKLOAD STAY SUITES ROW IMAGE TAG RELEASE DESTDIR CC CFLAGS LDFLAGS NO_COLOR
space     := $() $()
surprises := $(filter-out $(variables),$(foreach word,$(subst \$(space),_,$(MAKEOVERRIDES)),$(firstword $(subst =, ,$(word)))))
$(if $(surprises),$(error there is no variable '$(firstword $(surprises))' here; there are: $(variables)))

# What `make run` shows; see tools/demo.
export MACHINE CONFIG KEY WORKLOAD STAY

# -- the build folders ---------------------------------------------------------------------------
# One row for each way to build: its folder is named after it. `make build-o3` builds, and
# `make unit-build-o3` also runs the unit tests and the fuzzers' corpora of that build.
# Sanitizers and another processor see as much at -O1, which takes a third less to compile; warnings that need -O2 come
# with -O3.
checked := -Dwerror=true
guarded := '-Dc_args=-fno-omit-frame-pointer -fno-sanitize-recover=all' -Db_lundef=false

setup_build          := $(if $(CI),$(checked))
setup_build-asan     := $(checked) $(guarded) -Doptimization=1 -Db_sanitize=address,undefined
setup_build-o3       := $(checked) -Doptimization=3 -Ddebug=false
setup_build-clang    := $(checked)
setup_build-tsan     := $(checked) -Doptimization=1 -Db_lundef=false -Db_sanitize=thread
setup_build-arm64    := $(checked) -Doptimization=1 --cross-file build-tools/arm64/cross.ini
# What is released; `make release` makes both.
setup_build-release  := $(checked) -Dreproducible=true
setup_build-release-arm64 := $(checked) -Dreproducible=true --cross-file build-tools/arm64/cross.ini
# The whole tree tells the fuzzers which way an input took; without that they would guess blindly.
setup_build-fuzz     := '-Dc_args=-fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=fuzzer-no-link' -Doptimization=1 -Db_lundef=false -Db_sanitize=address,undefined -Dfuzz=true

# What is built of it, where that is not everything. The programs take half as long as they do with the unit tests.
targets_build        := programs
targets_build-release       := programs
targets_build-release-arm64 := programs
targets_build-fuzz   := fuzzers

compiler_build-clang := clang-14
compiler_build-fuzz  := clang-14

folders := $(patsubst setup_%,%,$(filter setup_%,$(.VARIABLES)))

# -- what people type ----------------------------------------------------------------------------
.PHONY: help deps known-suites build image release test bed e2e run bench bench-gpu soak format lint fuzz matrix manifest picture install clean

help: ## this list
	@echo 'Targets:'
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo 'Words that change what they do:'
	@echo '  make run MACHINE=p4d.24xlarge CONFIG=file.yaml KEY=name WORKLOAD=file.yaml STAY=1'
	@echo '  make test SUITES="unit integration"     make e2e SUITES=e2e-cdi'
	@echo '  make fuzz SECONDS=300                   make install DESTDIR=/tmp/x PREFIX=/usr'
	@echo '  make image IMAGE=registry.example/gpuslice TAG=0.1.0'
	@echo '  make lint-NAME, matrix-NAME             one of: $(lints) $(variants)'
	@[ ! -x /usr/bin/python3 ] || echo "suites: $$(tools/run-tests --known | fold -s -w 80 | sed '2,$$s/^/        /')"

deps: ## install everything that any target needs
	@tools/deps build run test soak e2e emulated lint matrix fuzz
	@tools/venv

build: | need-build ## the programs and the simulators, in build/

run: build | need-run ## a sliced GPU node on this machine, simulated, from the guide's files
	@GPUSLICE_BUILD=build exec tools/demo

image: build ## the container image, as build/image/gpuslice.tar
	@tools/image --build build $(if $(IMAGE),--name $(IMAGE)) $(if $(TAG),--tag $(TAG))

# A name that is no suite is answered at once, where the answer needs nothing installed.
known-suites:
	@[ -z "$(SUITES)" ] || [ ! -x /usr/bin/python3 ] || tools/run-tests --known $(SUITES)

# RELEASE is the folder; what is in it goes first.
RELEASE ?= build-release/out
release: build-release build-release-arm64 ## images, chart, manifest by digest, SBOM and checksums; always the same bytes
	@rm -rf "$(RELEASE)"
	@tools/release --output "$(RELEASE)" --build build-release:/ --build build-release-arm64:build-tools/arm64/sysroot $(if $(IMAGE),--name $(IMAGE))

# An image holds no sanitizers, nor has what people build: those suites look at the other build.
test: known-suites build-asan $(if $(SUITES),$(if $(filter image newcomer,$(SUITES)),build),build) | need-test ## every test, under AddressSanitizer and UBSan
	@tools/venv
	@tools/run-tests build-asan $(SUITES)

bed: | need-build need-e2e ## what e2e starts: Kubernetes, etcd and containerd 2 are built, once
	@tests/e2e/bed build

# Its suites build what only they need, unless `make bed` did.
e2e: known-suites image | need-e2e $(if $(filter e2e-systemd,$(SUITES)),try-emulated) ## a real cluster on this machine (root): our image, chart and agent on a real kubelet
	@tools/venv
	@tests/e2e/bed build node
	@tools/run-tests build $(or $(SUITES),e2e e2e-cdi e2e-api)

soak: build-asan | need-test need-soak ## the tests that take longer than a minute
	@tools/venv
	@tools/run-tests build-asan soak

bench: build | need-test ## how fast, how small and how soon, as ratios in one run
	@tools/venv
	@GPUSLICE_BUILD=build build-tools/venv/bin/python tests/bench/run

bench-gpu: build ## limits and turns on this machine's GPU: ROW=memory overhead faults escapes failopen unmodified kernels mixes servers shares turnfaults
	@tests/bench/gpu/run $(or $(ROW),1) $(if $(PARTS),--parts $(PARTS)) --programs build --out build/bench-gpu

fuzz: build-fuzz ## every fuzzer for SECONDS; what they find stays in build-fuzz/
	@tools/fuzz build-fuzz $(SECONDS)

format: | need-lint ## lay out the C sources
	@tools/c-files | xargs clang-format-14 -i

manifest: ## deploy/gpuslice.yml from the chart
	@tools/manifest >deploy/gpuslice.yml.new && mv deploy/gpuslice.yml.new deploy/gpuslice.yml

picture: build | need-run ## doc/picture.svg, README's, from a session that is really run
	@tools/picture

install: build ## into DESTDIR and PREFIX; says where everything is
	@meson configure build -Dprefix=$(PREFIX)
	@TARGETS="$(targets_build)" tools/build build "$(compiler_build)" $(setup_build)
	@meson install -C build --quiet --no-rebuild
	@tools/installed build

clean: ## remove every build folder
	@[ ! -e build-tools/e2e ] || tests/e2e/bed down
	@chmod -R u+w build build-* 2>/dev/null || true
	@rm -rf build build-*

# -- what the machine types ----------------------------------------------------------------------
# Each check is one case: `make lint-rooms` runs one, `make lint` all, also after a failure.
lints    := format rooms tree headers callers prose spelling shell analyzer tidy
# In CI without the first: warnings are errors in build/ there, and clang's tests are optimised as well.
variants := $(if $(CI),,o3) clang arm64 tsan

lint: | need-lint ## layout, rooms, static analysis, spelling
	@tools/cases $(lints:%=lint-%)

matrix: | need-matrix ## the unit tests under other compilers, optimisations and processors
	@tools/cases $(variants:%=matrix-%)

.PHONY: $(lints:%=lint-%) $(variants:%=matrix-%)

lint-format:
	@tools/c-files | xargs clang-format-14 --dry-run --Werror
lint-rooms:
	@tools/check-rooms
	@tools/check-names
lint-tree:
	@tools/check-tree
lint-headers: build
	@tools/check-headers build
lint-callers: build-clang
	@tools/check-callers build-clang
lint-prose:
	@tools/check-prose
lint-spelling:
	@git ls-files -z --cached --others --exclude-standard | xargs -0 codespell --config tools/codespell.ini
lint-shell:
	@tools/shell-files | xargs shellcheck
lint-analyzer: build
	@tools/check-static analyzer build
lint-tidy: build-clang
	@tools/check-static tidy build-clang

matrix-o3:      unit-build-o3
matrix-clang:   unit-build-clang
matrix-arm64:   unit-build-arm64
matrix-tsan:    unit-build-tsan

# -- how it is done ------------------------------------------------------------------------------
.NOTPARALLEL:
.PHONY: FORCE $(folders) $(folders:%=unit-%)

need-%: FORCE
	@tools/deps build $*

# Where they cannot be had the suite is skipped, and says so.
try-emulated: FORCE
	@tools/deps emulated || true

$(folders):
	@TARGETS="$(targets_$@)" tools/build $@ "$(compiler_$@)" $(setup_$@)

$(folders:%=unit-%): unit-%: %
	@tools/build $* "$(compiler_$*)" $(setup_$*)
	@tools/run-tests $* unit fuzz

build-asan build-o3 build-tsan build-release: | need-build
build-clang build-fuzz: | need-lint
build-arm64 build-release-arm64: | need-matrix build-tools/arm64/cross.ini

build-tools/arm64/cross.ini: tools/cross-arm64 tools/packages | need-matrix
	@tools/cross-arm64 $(@D)
