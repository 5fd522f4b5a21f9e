"""How a form is used, as the page that lies beside it."""

from collections.abc import Mapping

from tasks.conversion.converters import OUTPUT
from tasks.conversion.forms import FILES, Form
from tasks.exports import ExportedModel
from tasks.handoffs import PreparedData

DTYPES = {"image": "uint8", "table": "float32", "text": "int32"}
OUTPUTS = {
    "classification": "probabilities float32 [rows, classes], in the order of `classes` in "
    "`preprocessing.json`",
    "regression": "values float32 [rows, 1]",
    "token_classification": "probabilities float32 [rows, length, classes], in the order of "
    "`classes` in `preprocessing.json`",
    "text_generation": "probabilities float32 [rows, length, tokens] of the next token",
}
ROWS = {
    "image": "pixels as they are in the source",
    "table": "columns, imputed, scaled and encoded",
    "text": "tokens",
}
SNIPPETS: Mapping[str, str] = {
    "keras": """\
import keras

network = keras.saving.load_model("model.keras", compile=False)
outputs = network(rows, training=False)""",
    "litert": """\
from ai_edge_litert.interpreter import Interpreter

run = Interpreter(model_path="model.tflite").get_signature_runner()
(name,) = run.get_input_details()
(outputs,) = run(**{name: rows}).values()""",
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
outputs = session.run(None, {session.get_inputs()[0].name: rows})[-1]""",
    "saved_model": f"""\
import tensorflow as tf  # after `unzip saved_model.zip -d saved_model`

module = tf.saved_model.load("saved_model")
outputs = module.serve(rows)["{OUTPUT}"]""",
}
NOTES = {
    "litert": "If it refuses several rows at once, it was made for one row at a time, as a\n"
    "network with loops is, such as an LSTM.\n",
    "saved_model": "TensorFlow Serving takes the unpacked folder under a version number, such as\n"
    "`models/<name>/1`.\n",
}


def describe_form(
    form: Form, measured: ExportedModel, prepared: PreparedData, pipeline: str
) -> str:
    """The page beside a form, in Markdown.

    Args:
        form: The form.
        measured: Its figures.
        prepared: What its rows look like.
        pipeline: Name of the pipeline.
    """
    shape = ", ".join(str(size) for size in ("rows", *prepared.input_shape))
    prepares = {"image": "features.transform_images", "table": "features.transform"}.get(
        prepared.kind, "texts.encode"
    )
    return (
        f"""# {pipeline}: {form.name}

`{FILES[form.format]}` is the network alone. It takes rows that are prepared already, and
`preprocessing.json` holds all that prepares them: `{prepares}` of Roundhouse's tasks folder, which
needs NumPy and pandas only and also ships inside each registered model, does it.

- In: {DTYPES[prepared.kind]} [{shape}], {ROWS[prepared.kind]}.
- Out: {OUTPUTS[prepared.snapshot.problem]}.
- {measured.size:,} bytes, {measured.zipped:,} when compressed.
- {measured.latency_median_ms:.3g} ms for a single row, {measured.latency_p99_ms:.3g} ms at the 99th
  percentile, on the machine that made it.
- On {prepared.test.count:,} test rows {measured.reason}. Its predictions differ from the original's
  by {measured.largest_difference:.2g} at most.

```python
{SNIPPETS[form.format]}
```

{NOTES.get(form.format, "")}""".rstrip()
        + "\n"
    )
