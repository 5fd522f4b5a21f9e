"""Programs in Go that tests need, the control plane above all: compiled on first use, and kept."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock

SOURCES = Path(__file__).parent / "control_plane"
# where Go's own archives install it, off the PATH of many shells
USUAL = "/usr/local/go/bin/go"
BUILD_SECONDS = 3600


class MissingError(Exception):
    """What a cluster of one's own needs is not on this machine."""


def control_plane(say: Callable[[str], Any] = print) -> Path:
    """The compiled program; builds it where these sources were never built on this machine.

    Args:
        say: Told once, with how many seconds the build took.

    Raises:
        MissingError: If Go is not installed, or the sources cannot be fetched or compiled.
    """
    return compiled(SOURCES, "control-plane", "a Kubernetes control plane", say)


def compiled(sources: Path, name: str, what: str, say: Callable[[str], Any] = print) -> Path:
    """A compiled program; builds it where these sources were never built on this machine.

    Args:
        sources: Folder of its main.go, go.mod and go.sum.
        name: The folder in the cache that it is kept in.
        what: What it is, as a part of a sentence.
        say: Told once, with how many seconds the build took.

    Raises:
        MissingError: If Go is not installed, or the sources cannot be fetched or compiled.
    """
    go = shutil.which("go") or shutil.which(USUAL)
    if go is None:
        raise MissingError(f"needs Go to build {what}")
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    version = subprocess.run(
        [go, "version"], capture_output=True, text=True, check=True, env=environment
    )
    digest = hashlib.sha256(version.stdout.encode())
    for file in ("go.mod", "go.sum", "main.go"):
        digest.update((sources / file).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roundhouse"
    program = cache / name / digest.hexdigest()[:16]
    program.parent.mkdir(parents=True, exist_ok=True)
    # of several test processes the first builds, and the others wait
    with filelock.FileLock(f"{program}.lock", timeout=BUILD_SECONDS):
        if not program.exists():
            started = time.monotonic()
            build(go, sources, program, environment)
            say(f"Built {what} in {time.monotonic() - started:.0f} s: {program}")
    return program


def build(go: str, sources: Path, program: Path, environment: dict[str, str]) -> None:
    """Compiles to a file aside, which then takes the program's place."""
    aside = program.with_suffix(".part")
    done = subprocess.run(
        [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", aside, "."],
        cwd=sources, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise MissingError(f"{sources.name} cannot be built: {done.stderr.strip()[-600:]}")
    aside.replace(program)
