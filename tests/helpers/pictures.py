"""Pictures on the disk, for tests of what reads them."""

from __future__ import annotations


def members(data, name):
    return data.images[data.labels == data.class_names.index(name)]


def save(picture, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
