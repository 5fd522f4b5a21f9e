"""The image's build command with an engine of ours, and what stands in for its base image."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

ENGINE = """#!/bin/sh
for last; do :; done
printf '%s\\n' "$@" >"$NOTED/arguments"
cp -a "$last" "$NOTED/context"
"""


def build_file(repository: Path) -> Path:
    return repository / "infra" / "docker" / "build"


def build(repository: Path, noted: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The build command with an engine that notes what it was given."""
    noted.mkdir(exist_ok=True)
    engine = noted / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    return subprocess.run(
        [build_file(repository), *arguments],
        env={**os.environ, "ENGINE": str(engine), "NOTED": str(noted)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def build_arguments(noted: Path) -> dict[str, str]:
    words = (noted / "arguments").read_text().splitlines()
    return dict(v.split("=", 1) for n, v in itertools.pairwise(words) if n == "--build-arg")


def debian(reference: str, folder: Path) -> None:
    """What `python:X.Y.Z-slim-SUITE` is, without a registry: that Debian, and its own Python."""
    found = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-(\w+)", reference)
    assert found, reference
    python, suite = found.groups()
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=python3,python3-venv", suite, folder],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert (folder / "usr" / "bin" / f"python{python}").exists(), f"{suite} has another Python"
    for name in ("python", "python3"):
        (folder / "usr" / "local" / "bin" / name).symlink_to(f"/usr/bin/python{python}")


def package_cache(fallback: Path) -> Path:
    """Where uv keeps what it has fetched, as a cache mount does from one build to the next."""
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=False)
    place = Path(done.stdout.strip() or fallback)
    place.mkdir(parents=True, exist_ok=True)
    return place
