"""What may be said in YAML, and how it is read."""
