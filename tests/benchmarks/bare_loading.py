"""By hand: import MLflow, load a registered version, predict its test rows in one batch.

Usage: bare_loading.py MLFLOW_URI MODEL_URI ROWS.npy
"""

import os
import sys

os.environ.update(DO_NOT_TRACK="true", MLFLOW_DISABLE_TELEMETRY="true", TF_CPP_MIN_LOG_LEVEL="3")

import mlflow
import numpy as np

mlflow.set_tracking_uri(sys.argv[1])
print(len(mlflow.pyfunc.load_model(sys.argv[2]).predict(np.load(sys.argv[3]))))
