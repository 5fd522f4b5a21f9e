"""The pictures of an evaluation: arrays in, PNG bytes out; the same arrays give the same bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.canvas import (
    BLUE,
    GREY,
    INK,
    LEGEND,
    ORANGE,
    as_png,
    make_canvas,
    set_labels,
    shorten,
)
from tasks.metrics import BINARY, calibration_bins

# each curve its own colour up to this many classes; more become unreadable, and are averaged
CURVES = 10
# numbers are written into the cells of a confusion matrix up to this many classes
NUMBERED = 30


def confusion_matrix(
    labels: NDArray[Any],
    predicted: NDArray[Any],
    classes: Sequence[str],
    counted: str = "test rows",
) -> bytes:
    """Rows are the true classes, columns the predicted; coloured by the share of the true class.

    Args:
        labels: Class indices [rows].
        predicted: Class indices [rows].
        classes: Names in the order of the indices.
        counted: What is counted, for the title.
    """
    size = len(classes)
    counts = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.2 + 0.42 * size, 4.2, 12))
    names = [shorten(name) for name in classes]
    longest = max(map(len, names))
    turned = longest * size > 36  # noqa: PLR2004  # characters that fit in a row
    margin = 0.5 + 0.07 * longest
    figure, (axes,) = make_canvas(
        1, (side + margin, side), left=margin, bottom=margin if turned else 0.55
    )
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    step = max(1, size // NUMBERED)
    axes.set_xticks(range(0, size, step), names[::step], rotation=90 if turned else 0)
    axes.set_yticks(range(0, size, step), names[::step])
    axes.grid(visible=False)
    for row, column in zip(*np.nonzero(counts), strict=True) if size <= NUMBERED else ():
        colour = "white" if shares[row, column] > 0.5 else INK  # noqa: PLR2004  # dark cell
        text = f"{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    set_labels(axes, f"Confusion matrix, {counted}", "Predicted", "True")
    return as_png(figure)


def roc_and_precision_recall(
    labels: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str]
) -> bytes:
    """ROC curves and precision-recall curves, one for each class that occurs, against the rest.

    With two classes there is one curve, of the second; with more than ten, one over all of them.

    Args:
        labels: Class indices [rows].
        probabilities: [rows, classes].
        classes: Names in the order of the indices.
    """
    from sklearn import metrics

    figure, (left, right) = make_canvas(2, (10, 4.6))
    for name, truth, scores, colour in _one_versus_rest(labels, probabilities, classes):
        false_rate, true_rate, _ = metrics.roc_curve(truth, scores)
        precision, recall, _ = metrics.precision_recall_curve(truth, scores)
        area = metrics.auc(false_rate, true_rate)
        average = metrics.average_precision_score(truth, scores)
        left.plot(false_rate, true_rate, color=colour, lw=1.6, label=f"{name}  {area:.3f}")
        right.step(
            recall, precision, color=colour, lw=1.6, where="post", label=f"{name}  {average:.3f}"
        )
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    set_labels(left, "ROC", "False positive rate", "True positive rate")
    set_labels(right, "Precision and recall", "Recall", "Precision")
    if right.lines:
        left.legend(title="Area under curve", loc="lower right", **LEGEND)
        right.legend(title="Average precision", loc="lower left", **LEGEND)
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return as_png(figure)


def calibration(labels: NDArray[Any], probabilities: NDArray[Any], bins: int) -> bytes:
    """How often the most probable class is right, against how sure the model was of it.

    Args:
        labels: Class indices [rows].
        probabilities: [rows, classes].
        bins: Bins of equal width between 0 and 1.
    """
    share, confidence, accuracy = calibration_bins(labels, probabilities, bins)
    figure, (axes, below) = make_canvas(2, (5.4, 5.6), rows=2)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="perfectly calibrated")
    axes.plot(confidence, accuracy, color=BLUE, lw=1.6, marker="o", ms=5, label="model")
    axes.legend(loc="upper left", **LEGEND)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    set_labels(axes, "Calibration, test rows", "", "Share that is right")
    below.bar(confidence, share, width=0.8 / bins, color=BLUE)
    below.set(xlim=(0, 1.02))
    set_labels(below, "", "Confidence in the most probable class", "Share of rows")
    return as_png(figure)


def learning_curves(history: Mapping[str, Sequence[float]], best_epoch: int) -> bytes:
    """The loss and the first other metric after each epoch, for training and validation.

    Args:
        history: Per metric (`loss`, `val_loss`, ...), its value after each epoch.
        best_epoch: The epoch whose weights were kept, counted from 1.
    """
    from matplotlib.ticker import MaxNLocator

    names = [name for name in history if not name.startswith("val_") and f"val_{name}" in history]
    shown = sorted(names or list(history), key=lambda name: name != "loss")[:2]
    figure, panels = make_canvas(len(shown), (4.8 * len(shown), 3.9))
    for axes, name in zip(panels, shown, strict=True):
        for key, colour, label in ((name, BLUE, "training"), (f"val_{name}", ORANGE, "validation")):
            values = history.get(key, ())
            epochs = range(1, len(values) + 1)
            mark = "o" if len(values) == 1 else None
            axes.plot(epochs, values, color=colour, lw=1.8, marker=mark, label=label)
        axes.axvline(best_epoch, color=GREY, lw=1, ls="--", label=f"kept: epoch {best_epoch}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        set_labels(axes, name.replace("_", " ").capitalize(), "Epoch", "")
        axes.legend(**LEGEND)
    return as_png(figure)


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    probabilities: NDArray[Any],
    classes: Sequence[str],
    maximum: int,
    shown: int,
) -> bytes:
    """The images that the model is most sure of and wrong about.

    Args:
        images: [rows, height, width, channels] with 1 or 3 channels.
        labels: Class indices [rows].
        probabilities: [rows, classes].
        classes: Names in the order of the indices.
        maximum: Largest pixel value.
        shown: How many at most.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:shown]
    across = int(np.clip(np.ceil(np.sqrt(len(worst))), 4, 10))
    down = max(1, -(-len(worst) // across))
    figure, (axes,) = make_canvas(1, (1.35 * across, 1.5 * down + 0.5))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.5 / (1.5 * down + 0.5))
    axes.set_axis_off()
    axes.set(xlim=(0, across), ylim=(down, 0))
    # one image of all of them is drawn many times faster than one panel for each
    for place, row in enumerate(worst):
        top, left = divmod(place, across)
        pixels = images[row].astype(np.float32) / maximum
        shown_pixels = pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels
        axes.imshow(
            shown_pixels,
            cmap="gray_r",
            vmin=0,
            vmax=1,
            extent=(left + 0.08, left + 0.92, top + 0.98, top + 0.22),
            aspect="auto",
        )
        truth, guess = shorten(classes[labels[row]]), shorten(classes[predicted[row]])
        text = f"{truth} → {guess}  {confidence[row]:.0%}"
        axes.text(left + 0.5, top + 0.11, text, ha="center", va="center", fontsize=9, color=INK)
    axes.set(xlim=(0, across), ylim=(down, 0))
    counted = f"{len(wrong):,} of {len(labels):,} test rows are wrong"
    title = (
        f"Most confident mistakes (true → predicted); {counted}" if len(wrong) else "No mistakes"
    )
    figure.suptitle(title, fontsize=10, color=INK)
    return as_png(figure)


def predicted_against_true(targets: NDArray[Any], values: NDArray[Any]) -> bytes:
    """Predicted values over true ones; the nearer to the line the better.

    Args:
        targets: [rows].
        values: Predicted, [rows].
    """
    figure, (axes,) = make_canvas(1, (5.2, 5))
    # more points than this only blacken the picture
    step = max(1, len(targets) // 5000)
    axes.scatter(targets[::step], values[::step], s=10, color=BLUE, alpha=0.4, lw=0)
    ends = [float(np.min([targets, values])), float(np.max([targets, values]))]
    axes.plot(ends, ends, color=GREY, lw=1, ls="--")
    set_labels(axes, "Predicted against true, test rows", "True", "Predicted")
    return as_png(figure)


def _one_versus_rest(
    labels: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str]
) -> list[tuple[str, NDArray[np.bool_], NDArray[Any], Any]]:
    """Name, truth, score and colour of each curve."""
    from matplotlib import colormaps

    truth = labels[:, None] == np.arange(len(classes))[None, :]
    if len(classes) > CURVES:
        return [("all classes", truth.ravel(), probabilities.ravel(), BLUE)]
    # of two classes the second's curve says it all
    first = 1 if len(classes) == BINARY else 0
    colours = [BLUE] if first else colormaps["tab10"](range(CURVES))
    occurs = truth.any(axis=0) & ~truth.all(axis=0)
    present = [index for index in range(first, len(classes)) if occurs[index]]
    return [
        (shorten(classes[index]), truth[:, index], probabilities[:, index], colour)
        for index, colour in zip(present, colours, strict=False)
    ]
