#!/bin/sh
# Says whether the image is whole, as the user that it runs with; each thing that is missing is named
# on a line of its own, and the exit status is then 1. It also runs in a started container, whose root
# file system is read-only:
#
#   docker run --rm --read-only --tmpfs /tmp --tmpfs /home/roundhouse IMAGE sh /opt/roundhouse/check.sh
set -u

home=/opt/roundhouse
scratch=$(mktemp -d) || exit 1
findings=$scratch/findings
trap 'rm -rf "$scratch"' EXIT

missing() {
  echo "$1" | tee -a "$findings" >&2
}

check_user() {
  [ "$(id -u)" -ne 0 ] || missing "The user is root; expected 10001."
  for folder in /tmp "$HOME"; do
    probe=$(mktemp -p "$folder" 2>/dev/null) || missing "$folder cannot be written to."
    rm -f "$probe"
  done
  for folder in / /etc /usr /opt "$home" "$home/venv" "$(site_packages)" "$(site_packages)/infra"; do
    [ ! -w "$folder" ] || missing "$folder can be written to; expected only $HOME and /tmp."
  done
}

check_system() {
  for command in tini python roundhouse prefect mlflow; do
    command -v "$command" >/dev/null || missing "The command $command is not on the PATH."
  done
  [ -s /etc/ssl/certs/ca-certificates.crt ] ||
    missing "/etc/ssl/certs/ca-certificates.crt is missing: the package ca-certificates is not installed."
  [ -s "$home/logging.yml" ] || missing "$home/logging.yml is missing."
}

# A library of the system that a wheel expects shows here, and otherwise only at the first use. What
# lies elsewhere in the environment is loaded by its owner first; libcuda and its like belong to the
# driver, which a node brings along.
check_libraries() {
  # those for networks and launchers that a cluster need not have are loaded where there are some
  find "$(site_packages)" -name '*.so*' -type f ! -name 'nvshmem_transport_*' \
    ! -name 'nvshmem_bootstrap_*' >"$findings.files"
  sed 's|.*/||' "$findings.files" | sort -u >"$findings.own"
  xargs -n 32 -P 4 ldd <"$findings.files" 2>/dev/null |
    awk '/=> not found/ {print $1}' | sort -u |
    grep -v -E '^lib(cuda|nvidia-ml|nvidia-ptxjitcompiler)\.so' |
    while read -r library; do
      grep -q -x -F "$library" "$findings.own" || missing "The shared library $library is missing."
    done
}

check_python() {
  HOME=$scratch python - "$home/requirements.lock" >"$findings.python" 2>"$findings.errors" <<'PYTHON' ||
import importlib, os, pkgutil, re, ssl, sys
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement

if not ssl.create_default_context().cert_store_stats()["x509_ca"]:
    print("No certificate authority is trusted: ca-certificates is not installed.")

pins = [
    Requirement(line.rstrip(" \\\n"))
    for line in Path(sys.argv[1]).read_text().splitlines()
    if re.match("[a-zA-Z]", line)
]
for pin in pins:
    if pin.marker and not pin.marker.evaluate():
        continue
    try:
        found = metadata.version(pin.name)
    except metadata.PackageNotFoundError:
        print(f"The package {pin} of the lock is not installed.")
        continue
    if found not in pin.specifier:
        print(f"{pin.name} {found} is installed; expected {pin.specifier}.")
named = {re.sub("[-_.]+", "-", pin.name).lower() for pin in pins} | {"roundhouse-ml"}
for distribution in metadata.distributions():
    if re.sub("[-_.]+", "-", distribution.name).lower() not in named:
        print(f"{distribution.name} is installed, and not in the lock.")

modules = ["prefect.flow_engine", "prefect.cli", "mlflow", "tensorflow", "keras",
           "great_expectations", "prefect_kubernetes", "prefect_redis", "psycopg", "asyncpg",
           "s3fs", "onnxruntime", "sklearn"]
if any(pin.name == "jax" for pin in pins):
    modules.append("jax")
for package in ("flows", "tasks", "data_checks", "infra"):
    try:
        found = importlib.import_module(package)
    except ImportError as error:
        print(f"{package} cannot be imported: {error}")
        continue
    modules += [m.name for m in pkgutil.walk_packages(found.__path__, f"{package}.")]
for name in modules:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        print(f"{name} cannot be imported: {type(error).__name__}: {error}")
        continue
    source = getattr(module, "__file__", None) or ""
    if source.endswith(".py") and not Path(cache_from_source(source)).is_file():
        print(f"{name} has no bytecode.")
if not Path(cache_from_source(re.__file__)).is_file():
    print("The standard library has no bytecode.")

from infra.databases import templates_folder
from infra.environment import QUIET

for name in ("prefect.db", "mlflow.db"):
    if not (templates_folder() / name).is_file():
        print(f"The empty database {templates_folder() / name} is missing.")
for variable, value in QUIET.items():
    if os.environ.get(variable) != value:
        print(f"{variable} is {os.environ.get(variable)!r}; expected {value!r}.")
PYTHON
    missing "Python's checks came to no end: $(tail -n 1 "$findings.errors")"
  while read -r line; do missing "$line"; done <"$findings.python"
}

check_commands() {
  for command in "roundhouse --help" "prefect flow-run execute --help" "mlflow --version"; do
    # shellcheck disable=SC2086
    output=$(HOME=$scratch tini -s -- $command 2>&1) || missing "\`$command\` fails: $(echo "$output" | tail -n 1)"
  done
}

site_packages() {
  echo "$home"/venv/lib/python*/site-packages
}

check_user
check_system
check_libraries
check_python
check_commands
# the identifier of a machine that some libraries make up at their first import
[ -z "$(find "$scratch" -iname '*device*id*')" ] || missing "A library has identified this machine."
if [ -s "$findings" ]; then
  echo "The image is not whole: $(wc -l <"$findings") findings." >&2
  exit 1
fi
echo "The image is whole."
