"""The stages, each a reusable Prefect task, and below them what stages share."""
