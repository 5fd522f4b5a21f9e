"""Which forms of a network are made, and whether they can be."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from tasks.appraisal_config import ExportConfig, ExportFormat
from tasks.errors import ConfigError
from tasks.models import is_estimator

Quantisation = Literal["none", "float16", "int8"]
FILES: dict[ExportFormat, str] = {
    "keras": "model.keras",
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "saved_model": "saved_model.zip",
}
# what a format needs besides the usual: a module, and the distribution that has it
NEEDED: dict[str, tuple[str, str]] = {
    "litert": ("ai_edge_litert", "ai-edge-litert"),
    "onnx": ("tf2onnx", "tf2onnx"),
}
OF_TREES: ExportFormat = "onnx"


@dataclass(frozen=True)
class Form:
    """One form of a network.

    Args:
        format: What kind of file it is.
        quantisation: What its weights are: `float16`, or `int8` with a scale for each channel or
            matrix; what flows between layers is not calibrated beforehand.
        pruned: Whether it is made of the pruned network.
        is_original: Whether it is the network as it was trained.
    """

    format: ExportFormat
    quantisation: Quantisation = "none"
    pruned: bool = False
    is_original: bool = False

    @property
    def name(self) -> str:
        """The format, then what was done to the network."""
        if self.is_original:
            return "original"
        quantised = () if self.quantisation == "none" else (self.quantisation,)
        return " ".join((self.format, *("pruned",) * self.pruned, *quantised))

    @property
    def is_exact(self) -> bool:
        """Whether it must predict what the network predicts that it is made of."""
        return self.quantisation == "none"


def forms_of(config: ExportConfig, original: ExportFormat) -> tuple[Form, ...]:
    """The original and the forms that are asked for; empty where none is.

    The pruned network is always measured by itself, so that what pruning loses is told apart from
    what a format or its quantisation loses.

    Args:
        config: What is asked for.
        original: What kind of file the trained model is.
    """
    is_pruned = config.pruning > 0
    is_changed = is_pruned or config.quantisation != "none"
    formats = dict.fromkeys(config.formats or (("keras",) if is_changed else ()))
    if not formats:
        return ()
    first = (Form("keras", pruned=True),) if is_pruned else ()
    asked = (Form(format, config.quantisation, is_pruned) for format in formats)
    return tuple(dict.fromkeys((Form(original, is_original=True), *first, *asked)))


def require_exportable(config: ExportConfig, architecture: str) -> None:
    """Makes sure that what is asked for can be made of such a model, on this machine.

    Raises:
        ConfigError: It cannot.
    """
    others = [name for name in config.formats if name != OF_TREES]
    if is_estimator(architecture):
        for name, value, standard in (
            ("pruning", config.pruning, 0),
            ("quantisation", config.quantisation, "none"),
            ("formats", others, []),
        ):
            if value != standard:
                raise ConfigError(
                    f"The setting export.{name} is {value!r}, and the architecture "
                    f"{architecture!r} is no network but trees, which have no weights and are kept "
                    "as ONNX; expected export.formats of onnx, or none. Leave it out, or choose "
                    "another model.architecture."
                )
        return
    missing = [NEEDED[name] for name in config.formats if name in NEEDED]
    if lacking := [distribution for module, distribution in missing if not find_spec(module)]:
        raise ConfigError(
            f"The setting export.formats asks for {', '.join(config.formats)}, and this "
            f"environment has no {' and no '.join(lacking)}. Install the extra `export`: "
            "pip install 'roundhouse-ml[export]'; or leave that format out."
        )
