"""Generators of images for each class. `base` defines their common interface; each kind is one module."""
