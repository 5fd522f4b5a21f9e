"""The flows: the order of the stages, and nothing else."""
