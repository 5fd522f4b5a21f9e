import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# what a machine that has a GPU may lack
LACKING = """
import sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras_hub", "pydantic", "prefect", "mlflow"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Lacking())
"""


@pytest.mark.slow
def test_the_benchmark_of_accelerators_prints_its_table(tmp_path: Path) -> None:
    """At its tiny size, on the CPU, with one file and one folder of ours, and what they need."""
    shutil.copyfile(ROOT / "tests" / "benchmarks" / "accelerator.py", tmp_path / "accelerator.py")
    shutil.copytree(ROOT / "tasks" / "fitting", tmp_path / "tasks" / "fitting")
    (tmp_path / "sitecustomize.py").write_text(LACKING)
    command = [sys.executable, tmp_path / "accelerator.py", "--size", "tiny", "--rounds", "1"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, _, columns, _, *rows = done.stdout.splitlines()
    assert re.match(r"cpu, float32, \d{4}-\d\d-\d\d; Keras .+ on JAX", head)
    assert "| Ratio |" in columns
    assert [row.split("|")[1].split(",")[0].strip() for row in rows] == [
        "MNIST-CNN", "ResNet", "BERT",
    ]  # fmt: skip
    for row in rows:
        assert float(row.split("|")[5].split()[0]) > 0
        plain, ours = map(float, row.split("|")[6].split("/"))
        assert ours == pytest.approx(plain, rel=0.01)
