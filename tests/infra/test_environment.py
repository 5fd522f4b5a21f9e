"""What the environment that we set keeps libraries from doing."""

import os
import subprocess
import sys
from pathlib import Path

from infra.environment import QUIET


def test_no_library_gives_this_machine_an_identifier(tmp_path: Path) -> None:
    """ONNX Runtime makes one up when it is imported, and reports to its makers under it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("XDG", "ORT"))}
    code = "import onnxruntime"
    environment = {**own, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env={**environment, **QUIET}, check=True)
    assert list(tmp_path.rglob("*")) == []
