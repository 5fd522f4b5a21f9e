"""The model card: facts about a version, once, and what they look like on a page and as text."""
