"""Chooses the settings that a pipeline leaves open: `augment run auto`."""
