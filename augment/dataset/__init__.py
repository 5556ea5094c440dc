"""Labelled images in memory and on disk: reading, checking, augmenting classically, mixing and writing them."""
