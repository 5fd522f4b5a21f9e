"""Digests of what a result depends on besides its data: configuration, code and environment."""

import ast
import functools
import hashlib
import importlib.util
import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from tasks.config import IngestionConfig, ModelConfig, PreparationConfig
from tasks.handoffs import Source, SourceFile, StoredFile
from tasks.settings import PROJECT_FOLDER

# where bytes lie is not what they are; each of these has their digest beside it, or above it
PLACES: Mapping[type[BaseModel], str] = {
    StoredFile: "uri",
    SourceFile: "path",
    Source: "location",
    IngestionConfig: "location",
}
# of a place whose files are part of what is computed, what lies there counts
CONTENTS: Mapping[type[BaseModel], str] = {
    ModelConfig: "model.pretrained",
    PreparationConfig: "preparation.vocabulary",
}


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
    """Digest of configurations, hand-offs and strings, by their content, wherever it lies."""
    return hashlib.sha256(json.dumps(by_content(values), sort_keys=True).encode()).hexdigest()


def by_content(value: object) -> object:
    """A value as JSON can hold it, without the places where bytes lie.

    Raises:
        ConfigError: The pretrained weights, or the vocabulary, that it names are not there.
    """
    if isinstance(value, BaseModel):
        names = [name for name in type(value).model_fields if name != PLACES.get(type(value))]
        fields = {name: by_content(getattr(value, name)) for name in names}
        setting = CONTENTS.get(type(value), "")
        content = setting.rpartition(".")[2]
        if place := fields.get(content):
            fields[content] = _content_digest(str(place), setting)
        return fields
    if isinstance(value, Mapping):
        return {str(name): by_content(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [by_content(part) for part in value]
    return to_jsonable_python(value)


def _content_digest(place: str, setting: str) -> str:
    from tasks.models.pretrained import content_digest, place_of

    return content_digest(place_of(place, setting))


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
    return hashlib.sha256(_structure(tree).encode()).hexdigest()


def _structure(node: object) -> str:
    """What code says, in words that every version of Python has for it.

    `ast.dump` shows fields that are empty in one version, and not in another, which has more.
    """
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 ends a nested format with an empty text
            fields["values"] = [v for v in node.values if getattr(v, "value", None) != ""]
        inner = ", ".join(f"{name}={_structure(value)}" for name, value in fields.items())
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return f"[{', '.join(map(_structure, node))}]"
    return repr(node)
