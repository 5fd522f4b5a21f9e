"""Digests of what a result depends on besides its data: configuration, code and environment."""

import ast
import functools
import hashlib
import importlib.util
import json
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel

from tasks.settings import PROJECT_FOLDER


def code_digest(modules: Iterable[str]) -> str:
    """Digest of the code of modules and packages, blind to comments, docstrings and layout.

    Args:
        modules: Importable names; of a package, every file below it counts. None is imported.
    """
    digest = hashlib.sha256()
    for path in sorted({path for name in modules for path in _files(name)}):
        digest.update(f"{path.parent.name}/{path.name}\0{_file_digest(path)}\0".encode())
    return digest.hexdigest()


@functools.cache
def environment_digest() -> str:
    """Digest of the lock file and the Python version; without a lock, of what is installed."""
    lock = PROJECT_FOLDER / "requirements.lock"
    if lock.is_file():
        content = lock.read_text()
    else:
        content = "\n".join(sorted(f"{d.name}=={d.version}" for d in metadata.distributions()))
    version = ".".join(platform.python_version_tuple()[:2])
    return hashlib.sha256(f"{version}\0{content}".encode()).hexdigest()


def values_digest(*values: BaseModel | str) -> str:
    """Digest of configurations, hand-offs and strings, by their content."""
    content = [
        value.model_dump(mode="json") if isinstance(value, BaseModel) else value for value in values
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@functools.cache
def _files(name: str) -> tuple[Path, ...]:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {name!r}; a stage's code= names it", name=name)
    path = Path(spec.origin)
    return tuple(sorted(path.parent.rglob("*.py"))) if spec.submodule_search_locations else (path,)


@functools.cache
def _file_digest(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
