"""Kustomize itself, for the tests: the one on the PATH, or built by Go once and kept."""

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

VERSION = "v5.8.1"
MANIFESTS = Path(__file__).parents[2] / "infra" / "kubernetes"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "roundhouse"


@functools.cache
def render(folder: Path) -> list[dict[str, Any]]:
    """Every object that an overlay makes."""
    done = subprocess.run([*_command(), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def overlay(name: str) -> list[dict[str, Any]]:
    """Every object of an overlay of the project."""
    return render(MANIFESTS / "overlays" / name)


@functools.cache
def _command() -> list[str]:
    if found := shutil.which("kustomize"):
        return [found, "build"]
    # kubectl has it within
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    return [str(built()), "build"]


def built() -> Path:
    """Kustomize of the pinned version; its first build takes most of a minute."""
    target = CACHE / "kustomize" / VERSION / "kustomize"
    if target.is_file():
        return target
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("needs kustomize, kubectl or Go to render the manifests")
    package = f"sigs.k8s.io/kustomize/kustomize/v5@{VERSION}"
    done = subprocess.run(
        [go, "install", package],
        env={**os.environ, "GOBIN": str(target.parent), "GOFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"Go cannot build {package}: {done.stderr[-300:]}")
    return target
