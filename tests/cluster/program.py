"""The control plane's program: compiled from control_plane/ on first use, and kept."""

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
    go = shutil.which("go") or shutil.which(USUAL)
    if go is None:
        raise MissingError("needs Go to build a Kubernetes control plane")
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    version = subprocess.run(
        [go, "version"], capture_output=True, text=True, check=True, env=environment
    )
    digest = hashlib.sha256(version.stdout.encode())
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCES / name).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roundhouse"
    program = cache / "control-plane" / digest.hexdigest()[:16]
    program.parent.mkdir(parents=True, exist_ok=True)
    # of several test processes the first builds, and the others wait
    with filelock.FileLock(f"{program}.lock", timeout=BUILD_SECONDS):
        if not program.exists():
            build(go, program, environment, say)
    return program


def build(
    go: str, program: Path, environment: dict[str, str], say: Callable[[str], Any] = print
) -> None:
    """Compiles to a file aside, which then takes the program's place."""
    started, aside = time.monotonic(), program.with_suffix(".part")
    done = subprocess.run(
        [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", aside, "."],
        cwd=SOURCES, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise MissingError(f"the control plane cannot be built: {done.stderr.strip()[-600:]}")
    aside.replace(program)
    say(f"Built a Kubernetes control plane in {time.monotonic() - started:.0f} s: {program}")
