"""Words in sentences for people."""

import pytest

from augment.words import counted


@pytest.mark.parametrize(
    ("n", "noun", "words"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2000, "image", "2,000 images"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
    ],
)
def test_what_is_counted_is_one_or_several(n: int, noun: str, words: str) -> None:
    assert counted(n, noun) == words
