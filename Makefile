# Everything from a clean clone with Python 3.11 to 3.13 and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run up test test-cluster test-all check screenshots bench bench-accelerator bench-models format lock lock-images image clean

run: .venv/ready ## the main job: real digits to a judged, registered model
	$(BIN)/roundhouse run digits

up: .venv/ready ## the stack until Ctrl-C: Prefect, MLflow, a worker, every pipeline's schedule
	$(BIN)/roundhouse up

test: .venv/ready ## the tests, without those marked slow or cluster
	$(BIN)/pytest -n 2 --dist loadfile

test-cluster: .venv/ready ## on a Kubernetes API server that is built with Go, or ROUNDHOUSE_TEST_KUBECONFIG's
	$(BIN)/pytest -m cluster tests/cluster

test-all: .venv/ready ## all of the tests, with coverage
	$(BIN)/pytest -m "" -n 2 --dist loadfile --cov --cov-report=term

check: .venv/ready ## lint, types, import contracts
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

screenshots: .venv/ready ## the README's pictures, made anew by the browser's tests
	SCREENSHOTS=tests/screenshots $(BIN)/pytest -m "" tests/infra/test_browser.py tests/infra/test_model_card_page.py tests/cluster/test_pool_form.py

bench: .venv/ready ## speed, as ratios against plain scripts in the same run
	$(BIN)/python tests/benchmarks/run.py

bench-accelerator: .venv/ready ## the loop on a GPU, on Keras with JAX, against one written by hand
	$(BIN)/python tests/benchmarks/accelerator.py

bench-models: .venv/ready ## every pipeline on all of its data, and its table in the README; an hour
	$(BIN)/python tests/benchmarks/models.py

format: .venv/ready ## lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/ready ## resolve every version anew, with hashes and no index addresses
	$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade \
	  --output-file requirements.lock
	@$(MAKE) lock-images

# of what the images hold, the versions of requirements.lock; CUDA comes beside
IMAGE_LOCK = $(BIN)/uv pip compile pyproject.toml --extra s3 --extra servers --extra kubernetes --extra jax \
  --constraint requirements.lock --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

lock-images: .venv/ready ## the images' part of the lock
	$(IMAGE_LOCK) --output-file infra/docker/requirements-cpu.lock
	$(IMAGE_LOCK) infra/docker/requirements-gpu.in --output-file infra/docker/requirements-gpu.lock

image: ## the image of the last commit: make image REFERENCE=registry.example.org/roundhouse:1.2.3 TARGET=gpu
	infra/docker/build "$(or $(TARGET),cpu)" "$(REFERENCE)"

clean: ## remove the environment and everything that was run
	rm -rf .venv .roundhouse

# uv itself comes from the lock as well; bytecode is compiled at once, or the first run pays for it
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Found $$($(PYTHON) --version); Roundhouse needs Python 3.11, 3.12 or 3.13. Try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@awk '/^[a-zA-Z]/ {keep = /^uv==/} keep' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m infra.databases
	@touch $@
