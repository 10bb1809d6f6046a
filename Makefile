# netdiag: `make check` says what is wrong with this host's network, `make test` proves that netdiag works.
# Both install what they need; nothing else has to be done first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help check pyz install test test-long mutants severity install-test lint install-lint bench clean

# Debian packages. All netdiag needs is Python; with python3-bpfcc it also reads BPF programs.
DEBIAN := python3-venv python3-bpfcc iproute2
DEBIAN_TEST := bird2 chromium wireguard-go wireguard-tools nftables clang llvm libbpf-dev bpftool \
	qemu-system-x86 qemu-system-common busybox-static kmod cpio iputils-ping ethtool conntrack tcpdump iptables \
	gcc libc6-dev linux-libc-dev default-jre-headless

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /make \1|/p' Makefile | while IFS='|' read -r v t; do printf '%-14s %s\n' "$$v" "$$t"; done

check: install ## install netdiag, then print what is wrong with the network of this host
	@.venv/bin/netdiag check || { status=$$?; [ $$status -le 2 ] || exit $$status; }

install: ## make .venv/bin/netdiag, which works from any directory, namespace and user
	@.ci/apt --optional netdiag $(DEBIAN)
	@.ci/venv

test: install-test ## install what the tests need, then run them; make test K=expr runs some, with every drill of a rule
	@.venv/bin/python -m pytest -q -n 3 --dist loadgroup $(if $(K),-k '$(K)')

test-long: install-test ## a million lookups and hundreds of random routers: what a night is for
	@NETDIAG_LONG=1 .venv/bin/python -m pytest -q -n 2 --dist loadgroup tests/index/test_kernel_agreement.py tests/path/test_random_routers.py tests/fleet/test_world.py tests/properties tests/drills

mutants: install-test ## make each rule wrong in one place at a time: which mutants do its examples miss? K=word: some
	@.venv/bin/python -m tests.mutants $(K)

# A drill whose fault such pings disturb fails here and adds no line: what it showed before stays in the table.
severity: install-test ## docs/severity.md: run the drills, with pings between the hosts before and under each fault
	@mkdir -p .cache && rm -f .cache/losses.jsonl
	-@NETDIAG_LOSSES=$(CURDIR)/.cache/losses.jsonl .venv/bin/python -m pytest -q -n 2 --dist loadgroup tests/drills tests/fleet/test_world.py -k 'not severity'
	@.venv/bin/python -m tests.drills.severity .cache/losses.jsonl

install-test: install
	@.ci/apt "the tests" $(DEBIAN_TEST)
	@.ci/bird1
	@.ci/venv test

lint: install-lint ## ruff, mypy, and the order of the rooms
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --strict netdiag
	.venv/bin/lint-imports

install-lint: install
	@.ci/venv lint

bench: install-test ## one table of ratios: netdiag against the raw netlink floor and the stock commands
	@.venv/bin/python -m tests.bench

pyz: install ## netdiag.pyz: one file for a host on which nothing can be installed
	@.venv/bin/python .ci/pyz

clean: ## remove all that make made here (Debian packages stay)
	rm -rf netdiag.pyz .venv .cache build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
