"""The requirements of a package: whether they are installed as pinned, and all they stand for."""

import functools
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tasks.errors import ProofFailed

REQUIREMENTS = "requirements.txt"


def read_requirements(folder: Path) -> tuple[str, ...]:
    """The lines of a package's requirements, without comments.

    Args:
        folder: The package.

    Raises:
        ProofFailed: It has no such file.
    """
    path = folder / REQUIREMENTS
    if not path.is_file():
        raise ProofFailed(
            f"The package has no {REQUIREMENTS}; expected one that names what a server has to "
            "install. Package the model again with MLflow's pip_requirements."
        )
    lines = (line.partition(" #")[0].strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def require_installed(requirements: tuple[str, ...]) -> None:
    """Makes sure that each requirement is one version, and that this version is installed.

    A local label such as `+cu128` does not count, as no public index has it.

    Args:
        requirements: Lines such as `numpy==2.4.1`.

    Raises:
        ProofFailed: A line is no pinned requirement, or another version or none is installed.
    """
    for line in requirements:
        wanted = _parsed(line)
        pins = [pin.version for pin in wanted.specifier if pin.operator == "=="]
        if len(pins) != 1 or pins[0].endswith("*"):
            raise ProofFailed(
                f"The package requires {line!r}; expected one version, as in name==1.2.3, so that "
                "each server has what was proved. Pin it, and package the model again."
            )
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            found = "none"
        if not wanted.specifier.contains(found.partition("+")[0], prereleases=True):
            raise ProofFailed(
                f"The package requires {line}, and {found} is installed; expected that very "
                "version, else the proof is of another environment. Install it, or package the "
                "model again: run the pipeline with --force."
            )


def closure(requirements: tuple[str, ...]) -> frozenset[str]:
    """The installed distributions that requirements stand for: they and all that these require.

    Args:
        requirements: Lines such as `numpy==2.4.1`.

    Returns:
        Names in the normal form of https://packaging.python.org/specifications/name-normalization.
    """
    found: set[tuple[str, tuple[str, ...]]] = set()
    pending = [_named(_parsed(line)) for line in requirements]
    while pending:
        asked = pending.pop()
        if asked not in found:
            found.add(asked)
            pending += _required(*asked)
    return frozenset(name for name, _ in found)


@functools.cache
def _required(name: str, extras: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """What an installed distribution with some extras requires on this machine."""
    try:
        lines = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return []
    found = []
    for wanted in map(Requirement, lines):
        chosen = [{"extra": extra} for extra in ("", *extras)]
        if wanted.marker is None or any(map(wanted.marker.evaluate, chosen)):
            found.append(_named(wanted))
    return found


def _named(wanted: Requirement) -> tuple[str, tuple[str, ...]]:
    return canonicalize_name(wanted.name), tuple(sorted(wanted.extras))


def _parsed(line: str) -> Requirement:
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise ProofFailed(
            f"The package requires {line!r}; expected the name and version of a distribution, as "
            "in name==1.2.3. Package the model again with such requirements."
        ) from error
