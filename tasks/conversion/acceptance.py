"""Whether a form is kept: what it loses against the original, and whether it says the same."""

import math

from tasks.conversion.workshop import Outcome
from tasks.exports import ExportedModel
from tasks.metrics import HIGHER_IS_BETTER


def loss_of(metric: str, value: float, original: float) -> float:
    """What a form loses of a metric, as a share of the original's figure; negative for a gain.

    Args:
        metric: One of `tasks.metrics`; of an error metric the rise counts.
        value: The form's.
        original: The original's.

    Returns:
        NaN where a figure is undefined; infinite for any loss where the original's figure is 0.
    """
    lost = original - value if HIGHER_IS_BETTER[metric] else value - original
    if not lost or math.isnan(lost):
        return lost
    return lost / abs(original) if original else math.copysign(math.inf, lost)


def judge(
    outcome: Outcome, original: Outcome, metric: str, maximum_loss: float, tolerance: float
) -> ExportedModel:
    """A form with the verdict on it, without its files.

    Args:
        outcome: What became of it.
        original: The same of the original.
        metric: The gate's metric.
        maximum_loss: Largest loss that is allowed, as a share.
        tolerance: Largest difference of the predictions of a form that is not quantised from those
            of the network that it was made of.
    """
    form = outcome.form
    if outcome.error:
        return ExportedModel(form=form.name, reason=f"could not be made: {outcome.error}")
    theirs = original.metrics.get(metric, math.nan)
    value = outcome.metrics.get(metric, math.nan)
    loss = loss_of(metric, value, theirs)
    # not "greater": NaN must not pass
    is_same = form.is_original or not form.is_exact or outcome.conversion <= tolerance
    is_kept = is_same and (form.is_original or loss <= maximum_loss)
    figures = f"{metric} {value:.4f}, the original's is {theirs:.4f}"
    if form.is_original:
        reason = f"{metric} {value:.4f}, as trained"
    elif not is_same:
        reason = (
            f"refused, as its predictions differ by up to {outcome.conversion:.2g} from those of "
            f"the network it was made of, expected {tolerance:g} at most"
        )
    elif math.isnan(loss):
        reason = f"refused, as its loss of {metric} is unknown, as that is undefined on these rows"
    elif is_kept:
        reason = f"kept with {figures}"
    else:
        reason = (
            f"refused with {figures}, a loss of {loss:.2%} where export.maximum_loss allows "
            f"{maximum_loss:.2%}"
        )
    return ExportedModel(
        form=form.name,
        size=outcome.size,
        zipped=outcome.zipped,
        metrics=dict(outcome.metrics),
        loss=loss if math.isfinite(loss) else None,
        latency_median_ms=outcome.latency[0],
        latency_p99_ms=outcome.latency[1],
        largest_difference=outcome.difference,
        kept=is_kept,
        reason=reason,
    )
