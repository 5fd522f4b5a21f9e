"""A time in which this process has no more than a package's requirements, and unpickles nothing.

Modules of other distributions, and our own, cannot be imported then, whether or not they had been:
to all code they are not installed, as in an environment made of the requirements alone.
"""

import contextlib
import functools
import importlib.abc
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.utils import canonicalize_name

from tasks.errors import ProofFailed

# how a Python program sees itself; whoever runs this is no part of the package
SELF = {"__main__", "__mp_main__"}


class ImportFence(importlib.abc.MetaPathFinder):
    """Finds what the standard library, some distributions and one folder have, and nothing else.

    A module from elsewhere is not found, rather than refused with an error: libraries look for
    optional parts of theirs, and go on without.

    Args:
        distributions: Their names, normalised.
        folder: The package, whose own code may be imported.
        finders: Those that find modules otherwise.
    """

    def __init__(self, distributions: frozenset[str], folder: Path, finders: Sequence[Any]) -> None:
        self.finders = tuple(finders)
        self.refused: set[str] = set()
        self._distributions = distributions
        self._folder = folder.resolve()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The module's spec, if it is from inside."""
        for finder in self.finders:
            spec: ModuleSpec | None = finder.find_spec(fullname, path, target)
            if spec is None:
                continue
            places = [spec.origin] if spec.has_location else spec.submodule_search_locations
            if self.has(fullname, places or ()):
                return spec
            self.refused.add(fullname)
            return None
        return None

    def find_distributions(self, context: Any = None) -> Iterator[metadata.Distribution]:
        """The installed distributions that are inside, for `importlib.metadata`."""
        # a backport may have put its own finder in the standard one's place, and is hidden itself
        context = context or metadata.DistributionFinder.Context()
        for found in metadata.MetadataPathFinder.find_distributions(context):
            if canonicalize_name(found.name) in self._distributions:
                yield found

    def has(self, fullname: str, places: Iterable[str | None]) -> bool:
        """Whether a module is from inside.

        Args:
            fullname: Its name.
            places: Its file, or the folders of a package that has none; empty for what code makes.
        """
        known = self.by_name(fullname)
        if known is not None:
            return known
        paths = [Path(place) for place in places if place]
        owners = owners_of(fullname.partition(".")[0]) & self._distributions
        if owners:
            # a name that distributions share: a folder of theirs holds nothing yet, a file is one's
            return all(path.suffix == "" or path in _files_of(owners) for path in paths)
        return all(map(self._holds, paths))

    def by_name(self, fullname: str) -> bool | None:
        """Whether a module is from inside; None where its name does not tell."""
        top = fullname.partition(".")[0]
        if top in sys.stdlib_module_names or fullname in SELF:
            return True
        owners = owners_of(top)
        inside = owners & self._distributions
        return bool(inside) if owners and inside in (owners, frozenset()) else None

    def refusal(self, error: BaseException) -> ProofFailed | None:
        """What was refused, where that is why an error was raised; None where it is not."""
        link: BaseException | None = error
        while link is not None:
            if isinstance(link, ProofFailed):
                return link
            if isinstance(link, ModuleNotFoundError) and link.name in self.refused:
                return _beyond_requirements(link.name)
            link = link.__cause__ or link.__context__
        return None

    def _holds(self, path: Path) -> bool:
        """Whether a file that belongs to no distribution by its name is from inside."""
        if path.resolve().is_relative_to(self._folder):
            return True
        for root in _site_folders():
            if path.is_relative_to(root):
                owners = owners_of(path.relative_to(root).parts[0])
                return bool(owners) and owners <= self._distributions
        return any(path.is_relative_to(root) for root in _standard_folders())


@contextlib.contextmanager
def isolated(distributions: frozenset[str], folder: Path) -> Iterator[ImportFence]:
    """While it lasts, the process has these distributions only, and unpickles no object.

    Args:
        distributions: Their names, normalised.
        folder: The package, whose own code may be imported.

    Raises:
        ProofFailed: The code that ran meanwhile needs a module from outside, or unpickles.
    """
    fence = ImportFence(distributions, folder, sys.meta_path)
    modules = list(sys.modules.items())
    hidden = {name: module for name, module in modules if not _is_in(fence, name, module)}
    for name in hidden:
        del sys.modules[name]
    sys.meta_path[:] = [fence]
    _watch_unpickling()
    _unpickling["refused"] = True
    try:
        yield fence
    except Exception as error:
        refusal = fence.refusal(error)
        if refusal is None or refusal is error:
            raise
        raise refusal from error
    finally:
        _unpickling["refused"] = False
        added = [finder for finder in sys.meta_path if finder is not fence]
        sys.meta_path[:] = [*fence.finders, *added]
        sys.modules.update(hidden)


@functools.cache
def owners_of(top: str) -> frozenset[str]:
    """The installed distributions that have a top-level module, by their normalised names."""
    return frozenset(map(canonicalize_name, _owners().get(top, ())))


@functools.cache
def _owners() -> Any:
    return metadata.packages_distributions()


@functools.cache
def _files_of(distributions: frozenset[str]) -> frozenset[Path]:
    """The installed files of some distributions."""
    return frozenset(
        Path(str(found.locate_file(file)))
        for found in map(metadata.distribution, sorted(distributions))
        for file in found.files or ()
    )


@functools.cache
def _site_folders() -> tuple[Path, ...]:
    paths = (sysconfig.get_path(name) for name in ("purelib", "platlib"))
    return tuple(Path(path) for path in dict.fromkeys(paths) if path)


@functools.cache
def _standard_folders() -> tuple[Path, ...]:
    paths = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
    return tuple(Path(path) for path in dict.fromkeys(paths) if path)


def _is_in(fence: ImportFence, name: str, module: ModuleType) -> bool:
    """Whether a module that was imported before is from inside."""
    known = fence.by_name(name)
    if known is not None:
        # a lazy module would be imported by a look at it
        return known
    file = getattr(module, "__file__", None)
    return fence.has(name, [file] if file else list(getattr(module, "__path__", ())))


def _beyond_requirements(module: str) -> ProofFailed:
    owners = ", ".join(sorted(owners_of(module.partition(".")[0])))
    return ProofFailed(
        f"The package needs {module} ({f'of {owners}' if owners else 'of no distribution'}), which "
        "its requirements do not name; expected it to load and predict with what they name alone. "
        "Name it there, or do without it, and package the model again."
    )


# a hook of the interpreter cannot be taken off, only told to do nothing
_unpickling = {"refused": False}


@functools.cache
def _watch_unpickling() -> None:
    """Lets unpickling fail wherever it would make an object, by whatever library.

    Source: the event `pickle.find_class` of https://docs.python.org/3/library/audit_events.html.
    """

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class" and _unpickling["refused"]:
            module, name = arguments
            raise ProofFailed(
                f"The package unpickles {module}.{name}; expected none of its files to be a "
                "pickle, as whoever writes one runs code wherever it is read. Store it as JSON, "
                ".npz, .keras or .onnx, and package the model again."
            )

    sys.addaudithook(refuse)
