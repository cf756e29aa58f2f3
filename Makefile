# Each target first installs what is missing, so all of them work on a fresh machine.
# Variables: PYTHON (Python >= 3.11 for .venv), ARGS (arguments of pytest and the benchmark), JOBS (for `make test`), and
# the variables of dev/__main__.py.

PYTHON ?= python3
export PYTHON
# Number of test files that run at a time, since tests mostly wait. 0: one after the other, in one process.
JOBS ?= 3

.PHONY: help run demo deploy-tools test check faults interop bench asyncapi configuration permissions lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run the whole service on this machine, without Docker; Ctrl-C stops it
	@sh dev/bootstrap.sh local broker
	@exec .venv/bin/python -m dev run

demo: ## Show the API on the service that `make run` started
	@sh dev/bootstrap.sh local
	@.venv/bin/python -m dev demo

deploy-tools: ## Install what `.venv/bin/python -m deploy` needs, and nothing else
	@sh dev/bootstrap.sh deploy

test: ## Run the tests; ARGS='-k login' selects some
	@sh dev/bootstrap.sh check broker
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: ## Check lint, formatting, types, import rules and, with Docker Compose, the compose files
	@sh dev/bootstrap.sh check
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	@if docker compose version >/dev/null 2>&1; then set -e; for files in docker-compose.yml docker-compose.prod.yml \
		'docker-compose.prod.yml --file deploy/shared-broker.yml'; do \
		echo "docker compose --file $$files config --quiet"; \
		VERSION=none SECRETS_GID=0 docker compose --file $$files config --quiet; done; \
	else echo "Docker Compose is not installed: the compose files are not checked"; fi

faults: ## Run the fault tests at full length, and all tests of the database with PyMongo's driver; FAULTS_SOAK_SECONDS=600
	@sh dev/bootstrap.sh check broker
	FAULTS=long .venv/bin/python -m pytest tests/faults $(ARGS)
	AUTH_MONGO_DRIVER=pymongo .venv/bin/python -m pytest tests/contract tests/integration tests/faults $(ARGS)

interop: ## Run the service through clients, gateways and linters of others, which it installs
	@sh dev/bootstrap.sh check broker
	@sh dev/interop.sh
	INTEROP=1 .venv/bin/python -m pytest tests/interop $(ARGS)

bench: ## Measure logins, verifications and revocations on this machine
	@sh dev/bootstrap.sh local broker
	.venv/bin/python -m bench $(ARGS)

asyncapi: ## Generate docs/asyncapi.json and docs/amqp.md from the contracts
	@sh dev/bootstrap.sh check
	.venv/bin/python -m dev.asyncapi

configuration: ## Generate the tables of docs/configuration.md from the settings
	@sh dev/bootstrap.sh check
	.venv/bin/python -m dev.configuration

permissions: ## Generate the tables of docs/permissions.md from the contracts
	@sh dev/bootstrap.sh check
	.venv/bin/python -m dev.permission_tables

lock: ## Resolve the dependencies and write locks/ (needs uv); see locks/README.md
	@for lock in check api worker local deploy; do \
		echo "locks/$$lock.txt"; \
		case $$lock in api|worker) extras="--extra $$lock --extra telemetry" ;; deploy) extras= ;; *) extras="--extra $$lock" ;; esac; \
		uv pip compile --quiet pyproject.toml $$extras --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-header --no-annotate \
			$$([ $$lock = check ] || echo --constraint locks/check.txt) --output-file locks/$$lock.txt || exit; \
	done

clean: ## Remove .venv, caches and the data of `make run`
	@! [ -e .run/lock ] || flock --nonblock .run/lock true || { echo "a stack is running in .run: stop it first"; exit 1; }
	rm -rf .venv .interop .run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
