"""What the configurations of all stages have in common."""

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
