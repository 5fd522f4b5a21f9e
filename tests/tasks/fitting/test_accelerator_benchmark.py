import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "accelerator.py"


@pytest.mark.slow
def test_the_benchmark_of_accelerators_prints_its_table() -> None:
    """At its tiny size, on the CPU: both train the same network on the same batches."""
    command = [sys.executable, str(BENCHMARK), "--size", "tiny", "--rounds", "1"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(BENCHMARK.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, _, _, _, *rows = done.stdout.splitlines()
    assert re.match(r".+, float32, \d{4}-\d\d-\d\d; Keras .+ on JAX", head)
    assert [row.split("|")[1].split(",")[0].strip() for row in rows] == [
        "MNIST-CNN", "ResNet", "BERT",
    ]  # fmt: skip
    for row in rows:
        plain, ours = map(float, row.split("|")[6].split("/"))
        assert ours == pytest.approx(plain, rel=0.01)
