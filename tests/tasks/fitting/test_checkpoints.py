import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tasks.fitting import Checkpoint, Progress


def test_no_flipped_bit_of_a_checkpoint_is_believed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.npz")
    values = [np.arange(8, dtype=np.float32), np.ones(2, dtype=np.float32)]
    checkpoint.save(values, Progress({"val_loss": [1.0]}, values[:1]))
    content = checkpoint.path.read_bytes()
    for position in range(0, len(content), 2):
        changed = bytearray(content)
        changed[position] ^= 1
        checkpoint.path.write_bytes(changed)
        if loaded := checkpoint.load():
            variables, progress = loaded
            assert [*map(list, variables)] == [*map(list, values)]
            assert progress.history == {"val_loss": [1.0]}
            assert list(progress.best_weights[0]) == list(values[0])


def test_killed_while_saving_leaves_the_last_complete_state(tmp_path: Path) -> None:
    script = """
import os, signal, sys, threading
import numpy as np
from pathlib import Path
from tasks.fitting import Checkpoint, Progress
checkpoint = Checkpoint(Path(sys.argv[1]))
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
for epoch in range(1, 10**9):
    values = [np.full(100_000, epoch, dtype=np.float32)]
    checkpoint.save(values, Progress({"val_loss": [0.0] * epoch}, values))
"""
    path = tmp_path / "state.npz"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run([sys.executable, "-c", script, path], env=environment, check=False)
    assert ended.returncode == -9
    loaded = Checkpoint(path).load()
    assert loaded is not None
    (values,), progress = loaded
    assert set(values) == set(progress.best_weights[0]) == {progress.epochs}
