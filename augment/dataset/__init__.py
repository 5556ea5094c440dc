"""Labelled images in memory and on disk: reading, checking, classical augmentation, mixing and writing."""
