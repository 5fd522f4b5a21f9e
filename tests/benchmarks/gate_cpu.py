"""CPU seconds of the gate's comparison: 10,000 bootstrap resamples of 10,000 test rows.

Usage: gate_cpu.py
"""

import json
import time

import numpy as np

from tasks.significance import paired_difference

ROWS = RESAMPLES = 10_000
METRICS = ("accuracy", "f1_macro", "log_loss", "roc_auc")


def main() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, ROWS)
    ours, theirs = (
        np.clip(0.8 * truth + 0.1 + random.normal(0, noise, ROWS), 0.01, 0.99)
        for noise in (0.30, 0.31)
    )
    both = [np.stack([1 - values, values], axis=1) for values in (ours, theirs)]
    # what is imported at the first comparison is no part of it
    paired_difference("classification", "roc_auc", truth[:60], both[0][:60], both[1][:60])
    seconds = {}
    for metric in METRICS:
        started = time.process_time()
        paired_difference("classification", metric, truth, *both, resamples=RESAMPLES)
        seconds[metric] = time.process_time() - started
    print(json.dumps(seconds))


main()
