"""The views of the real images that arms of one repeat share: they are computed once in each process, and kept.

All arms of a repeat have the same views of the real images, and computing these may take as long as the training.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.dataset.policies import bank_of_views

MAX_KEPT = 2  # banks, for arms with two policies
MAX_KEPT_BYTES = 2**29  # of each bank that is kept
_kept: OrderedDict[tuple[str, str, bool, int], NDArray[np.uint8]] = OrderedDict()


def shared_views(
    data: LabelledImages, policy: str, *, views: int, horizontal_flip: bool, seed: int
) -> NDArray[np.uint8]:
    """Return what `bank_of_views` returns, and keep it for the next call. The result must not be changed."""
    key = data.fingerprint, policy, horizontal_flip, seed
    bank = _kept.pop(key, None)
    if bank is None or len(bank) < views:
        while len(_kept) >= MAX_KEPT:
            _kept.popitem(last=False)
        bank = bank_of_views(data, policy, views=views, horizontal_flip=horizontal_flip, seed=seed)
    if bank.nbytes <= MAX_KEPT_BYTES:
        _kept[key] = bank
    return bank[:views]
