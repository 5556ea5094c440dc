"""The configuration of a pipeline: its sections, and how they are read from YAML."""
