"""Text for CLIP: prompts, styles and synonyms as data, and their embeddings."""
