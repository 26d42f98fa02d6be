# make demo   installs wherry into .venv, builds examples/hello into an image and runs it
# make test   installs what the tests need and runs them all (about a quarter of an hour),
#             two at once
# make bench  measures wherry beside its peers
# make guests builds the interpreters of examples/ (CRuby, CPython) into .guests/
# make clean  removes what these made

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PEERS := containerd runc crun docker.io skopeo umoci uidmap busybox-static zsh fish \
	debootstrap iproute2 iptables containernetworking-plugins qemu-system-x86 cpio shellcheck podman buildah \
	docker-registry apache2-utils golang-github-opencontainers-image-spec-dev curl wrk nginx-light redis-server mariadb-server passt slirp4netns nftables

.SILENT:
.PHONY: help demo test check peers guests bench clean

help:
	sed -n 's/^# //p' Makefile

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/developing peers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/developing peers
	$(BIN)/python -m bench $(BENCH)

guests: .venv/developing
	$(BIN)/python -m tests.guests.toolchain

.venv/installed: pyproject.toml src/bin/containerd-shim-wherry-v1
	echo "Installing wherry into .venv"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "wherry needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python -a -d .venv/lib || $(PYTHON) -m venv .venv >/dev/null 2>&1 || { \
		rm -rf .venv; \
		test "$$(id -u)" = 0 && apt-get -qq update && apt-get -qq install -y python3-venv >/dev/null \
		&& $(PYTHON) -m venv .venv; \
	} || { rm -rf .venv; echo "python3 cannot make a venv here: sudo apt install python3-venv"; exit 1; }
	$(PIP) install --editable .
	touch $@

.venv/developing: .venv/installed
	echo "Installing what the tests need into .venv"
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --group dev
	touch $@

# The real daemons and tools wherry is tested against. Only root can install them; without them the
# tests that need them are skipped, and say so at the end.
peers:
	missing=; \
	for package in $(PEERS); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
			|| missing="$$missing $$package"; \
	done; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	command -v docker >/dev/null || case "$$missing" in *docker.io*) ;; *) missing="$$missing docker-cli";; esac; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing$$missing"; \
		apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "!!! Not installed, so what needs them is NOT TESTED:$$missing"; \
		echo "!!! As root: apt install$$missing"; \
	fi

clean:
	rm -rf .venv .guests .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf bench/results dist node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +
