#!/bin/sh
# The steps of the Dockerfile that install something. They are words of one script so that the tests
# run the very same ones in an empty Debian folder.
#
#   install.sh system                  Debian packages, the user, the standard library's bytecode
#   install.sh tools LOCK              uv and hatchling, where no image keeps them
#   install.sh dependencies PART LOCK  the environment, from a part of the lock, by hashes
#   install.sh wheel                   the project of the working folder, as a wheel
#   install.sh project                 that wheel into the environment
set -eu

home=/opt/roundhouse
environment=$home/venv
tools=/opt/build/tools
wheels=/opt/build/wheels
# an image's layers may be written with other times than the files had, so that nothing compares them
bytecode=unchecked-hash

system() {
  apt-get update -qq
  # certificates for object stores and webhooks; tini, as the first process of a container has to
  # pass signals on and to reap what others leave behind, and Python does neither
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends ca-certificates tini
  rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
  groupadd --gid 10001 roundhouse
  useradd --uid 10001 --gid 10001 --no-log-init --create-home --skel /dev/null \
    --shell /usr/sbin/nologin roundhouse
  # the base image comes without, and on a read-only file system each start would compile it anew
  python -m compileall -q -j 0 --invalidation-mode "$bytecode" -x 'site-packages|/test/|lib2to3' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
}

tools() {
  python -m venv "$tools"
  chosen uv hatchling packaging pathspec pluggy trove-classifiers <"$1" >"$tools/tools.lock"
  reach_package_index
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
    --require-hashes -r "$tools/tools.lock"
}

dependencies() {
  reach_package_index
  mkdir -p "$home"
  if [ "${JAX:-true}" = true ]; then
    cp "$1" "$home/requirements.lock"
  else
    awk '/^[a-zA-Z]/ {keep = !/^jax/} keep' "$1" >"$home/requirements.lock"
  fi
  "$tools/bin/uv" venv --quiet --no-managed-python --python "$(command -v python)" "$environment"
  # two packages come as sources; what builds them is of the lock as well, and does not stay
  chosen setuptools wheel setuptools-scm vcs-versioning packaging <"$2" >"$tools/builders.lock"
  from_lock "$tools/builders.lock"
  from_lock "$home/requirements.lock" --compile-bytecode
  "$tools/bin/uv" pip uninstall --quiet --python "$environment/bin/python" setuptools-scm vcs-versioning
  # 440 MB of C++ headers, for those who compile operations of their own
  rm -rf "$(site_packages)/tensorflow/include"
}

wheel() {
  "$tools/bin/uv" build --quiet --wheel --no-build-isolation --python "$tools/bin/python" \
    --out-dir "$wheels" .
}

project() {
  HOME=$(mktemp -d)
  export HOME
  "$tools/bin/uv" pip install --quiet --no-cache --python "$environment/bin/python" --no-deps \
    "$wheels"/*.whl
  for package in flows tasks data_checks infra; do
    "$environment/bin/python" -m compileall -q --invalidation-mode "$bytecode" \
      "$(site_packages)/$package"
  done
  cp "$(site_packages)/infra/logging.yml" "$home/logging.yml"
  "$environment/bin/python" -m infra.databases
  rm -rf "$HOME"
}

from_lock() {
  PYC_INVALIDATION_MODE=UNCHECKED_HASH "$tools/bin/uv" pip install --quiet --link-mode copy \
    --python "$environment/bin/python" --no-deps --require-hashes --no-build-isolation -r "$@"
}

# the lines of a lock that belong to some packages
chosen() {
  awk -v "names=$*" '/^[a-zA-Z]/ {keep = index(" " names " ", " " substr($1, 1, index($1, "==") - 1) " ")} keep'
}

site_packages() {
  "$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

# an index of one's own holds a password at times, so its address comes as a secret of the build; so
# do the certificates of a network that answers in the index's place
reach_package_index() {
  if [ -f /run/secrets/package_index ]; then
    PIP_INDEX_URL=$(cat /run/secrets/package_index)
    UV_DEFAULT_INDEX=$PIP_INDEX_URL
    export PIP_INDEX_URL UV_DEFAULT_INDEX
  fi
  if [ -f /run/secrets/certificates ]; then
    PIP_CERT=/run/secrets/certificates
    SSL_CERT_FILE=$PIP_CERT
    export PIP_CERT SSL_CERT_FILE
  fi
}

step=$1
shift
"$step" "$@"
