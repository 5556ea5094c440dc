"""The classifier that people keep: its recipe, its training, the MODEL folder, and predictions."""
