"""From a stored network to a file of another format.

Quantised weights are what each format has of its own, with no rows to calibrate by: `int8` weights
with a scale for each matrix or channel, or `float16` weights that are widened as they are used.
"""

import shutil
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.conversion.forms import Form
from tasks.models.archive import open_network, parts_of, write_parts

if TYPE_CHECKING:
    import keras

OUTPUT = "predictions"
WEIGHTS = "model.weights.h5"


def convert(source: Path, form: Form, target: Path) -> None:
    """Makes a form of a network.

    Args:
        source: The network, a `.keras` file; of trees `.onnx`.
        form: The form.
        target: The file to write; for a SavedModel a folder.

    Raises:
        Exception: Of whatever kind the format's converter raises for what it cannot do.
    """
    if source.suffix == ".onnx":
        shutil.copyfile(source, target)
        return
    with warnings.catch_warnings():
        # each layer without weights warns that it cannot be quantised
        warnings.simplefilter("ignore")
        WRITERS[form.format](open_network(source), form, target)


def _write_keras(network: "keras.Model", form: Form, target: Path) -> None:
    """A `.keras` file whose parts are compressed, which Keras reads as it does any other."""
    if form.quantisation == "int8":
        network.quantize("int8")
    plain = target.with_suffix(".plain.keras")
    network.save(plain)
    parts = parts_of(plain)
    plain.unlink()
    if form.quantisation == "float16":
        parts[WEIGHTS] = _with_half_floats(parts[WEIGHTS])
    write_parts(parts, target, zipfile.ZIP_DEFLATED)


def _with_half_floats(weights: bytes) -> bytes:
    """Keras's file of weights with float16 in the place of float32, which Keras widens again."""
    import h5py

    written = BytesIO()
    with h5py.File(BytesIO(weights), "r") as source, h5py.File(written, "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                value = item[()]
                target.create_dataset(name, data=_narrowed(value, "float16"))
            else:
                target.require_group(name)
            target[name].attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return written.getvalue()


def _write_litert(network: "keras.Model", form: Form, target: Path) -> None:
    """A LiteRT file of LiteRT's own operations, for any number of rows at once if it can be."""
    import keras
    import tensorflow as tf

    narrow = tf.float16 if form.quantisation == "float16" else None
    options = {
        "optimizations": [] if form.is_exact else [tf.lite.Optimize.DEFAULT],
        "target_spec": {
            "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS],
            "supported_types": [narrow] if narrow else [],
        },
    }
    try:
        network.export(target, format="litert", verbose=False, **options)
    except Exception:
        # loops, as of an LSTM, want to know how many rows there are
        row = network.inputs[0]
        one_row = [keras.InputSpec(shape=(1, *row.shape[1:]), dtype=row.dtype, name=row.name)]
        network.export(target, format="litert", verbose=False, input_signature=one_row, **options)


def _write_onnx(network: "keras.Model", form: Form, target: Path) -> None:
    import onnx

    row = network.inputs[0]
    # Keras refuses a network that was loaded and never asked
    network(np.zeros((1, *row.shape[1:]), row.dtype))
    network.export(target, format="onnx", verbose=False)
    if form.quantisation == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(target), keep_io_types=True), target)
    elif form.quantisation == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        whole = target.with_suffix(".float.onnx")
        target.rename(whole)
        quantize_dynamic(whole, target, weight_type=QuantType.QInt8)
        whole.unlink()


def _write_saved_model(network: "keras.Model", form: Form, target: Path) -> None:
    """A SavedModel with each weight in it once; Keras's own export writes each twice."""
    import tensorflow as tf

    if form.quantisation == "int8":
        network.quantize("int8")
    module, row = tf.Module(), network.inputs[0]
    trained, others = network.trainable_variables, network.non_trainable_variables

    def stored(variables: list[Any]) -> list[tf.Variable]:
        values = (_narrowed(np.asarray(variable), form.quantisation) for variable in variables)
        return [tf.Variable(value, trainable=False) for value in values]

    def widened(values: list[tf.Variable], variables: list[Any]) -> list[tf.Tensor]:
        pairs = zip(values, variables, strict=True)
        return [tf.cast(value, variable.dtype) for value, variable in pairs]

    module.trained, module.others = stored(trained), stored(others)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec(row.shape, row.dtype, name=row.name)], autograph=False
    )
    def serve(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs, _ = network.stateless_call(
            widened(module.trained, trained), widened(module.others, others), rows, training=False
        )
        return {OUTPUT: outputs}

    module.serve = serve
    tf.saved_model.save(module, str(target), signatures=serve)
    # of random bytes, and nothing reads it
    (target / "fingerprint.pb").unlink(missing_ok=True)


WRITERS = {
    "keras": _write_keras,
    "litert": _write_litert,
    "onnx": _write_onnx,
    "saved_model": _write_saved_model,
}


def _narrowed(value: np.ndarray, quantisation: str) -> np.ndarray:
    is_wide = quantisation == "float16" and value.dtype == np.float32
    return value.astype(np.float16) if is_wide else value


def zip_folder(folder: Path, target: Path) -> None:
    """The files of a folder as a zip; the same files give the same bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    write_parts(parts, target, zipfile.ZIP_DEFLATED)
