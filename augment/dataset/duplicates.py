"""Find exact and near duplicates within a set of images or between two sets.

Exact duplicates have equal pixels. Near duplicates (recompressed, brightened or mirrored copies) pass three tests, each
more expensive than the previous one. Mirror images count only within a class.

1. Perceptual hash (after pHash; Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010): a
   bit for each of the 63 lowest frequencies of the cosine transform; 16 may differ. Mirror images are tested too.
2. Pixels: the difference, minimised over shifts by up to one pixel, is at most 0.1.
3. Ratio test (Lowe, "Distinctive image features from scale-invariant keypoints", 2004): the difference is at most a
   fifth of the difference between either image and its fifth nearest other image. Small, simple images need this: the
   hash alone accepts 220,000 of 10 million pairs of Fashion-MNIST. Differences below 0.005 pass without this test.

Recall of changed copies of 1,000 training images among 2,000 test images, for CIFAR-10 (32 px) and Fashion-MNIST (28):
    JPEG of quality 75 (also mirrored) or 50; 10 % brighter or darker; noise of 10 grey levels    1.00  1.00
    reduced to 3/4 (to 1/2) and enlarged again                                            1.00 (0.99)  0.53 (0.03)
    cropped by 3 % (5 %, 10 %) and enlarged                                         1.00 (0.98, 0.31)  0.94 (0.34, 0.00)
    shifted by 1 px to one side (by 2 px)                                                 0.99 (0.86)  0.70 (0.27)
For digits of 8 px, no shifted or reduced copies are found. False positives, judged by eye: in CIFAR-10, 18 of 5,000
training images match one of 10,000 test images, all correctly; in Fashion-MNIST 17 of 10,000 do, of which 11 show the
same article and 6 are too similar to decide. Subsets of 20 and 20 to 500 and 200 images have 0.05 to 0.3 such matches
on average. Images with a dominant frame count as duplicates. The thresholds were chosen on these sets.

All pairs are compared, but most only by a matrix product: 60,000 images of 28 px take 16 s on one core of a Xeon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from augment.progress import Progress, no_progress

MAX_COMPARED_SIZE = 32  # px; larger images are reduced before they are compared
FREQUENCIES, MAX_DIFFERENT_BITS = 8, 16  # frequencies per direction; hash bits that may differ
MAX_DIFFERENCE, CERTAIN_DIFFERENCE = 0.1, 0.005  # of near duplicates; up to which the ratio test is not applied
MAX_RATIO, NEIGHBOUR_RANK = 0.2, 4  # ratio test: to the difference from the neighbour of this rank, from 0
SHORTLIST = 8  # images with the most similar low frequencies, which are compared in pixels
BLOCK = 256  # images or pairs that are processed at a time
ROWS, COLUMNS = 256, 2048  # of a matrix product of similarities; it fits into the cache of a core
GROUP, MAX_PENDING = 16, 500_000  # values per group in `_largest`; pairs collected before shortlists are trimmed

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Pair = tuple[int, int]
Pairs = tuple[Pair, ...]
Differences = dict[Pair, float]


def find_leaks(train: LabelledImages, other: LabelledImages) -> Pairs:
    """Return (i, j) for each training image i with equal pixels in `other`, where j is the first such image."""
    groups = group_copies(other)
    return tuple((i, groups[digest][0]) for i, digest in enumerate(train.hashes) if digest in groups)


def group_copies(data: LabelledImages) -> dict[str, list[int]]:
    """Return the indices of each distinct image, in order, by its hash."""
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(data.hashes):
        groups.setdefault(digest, []).append(i)
    return groups


def conflicting(data: LabelledImages, groups: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the groups of copies that are in more than one class. groups: indices, as `group_copies` returns them."""
    return [tuple(group) for group in groups if len(set(data.labels[list(group)].tolist())) > 1]


def measure_duplicates(data: LabelledImages, progress: Progress = no_progress) -> Differences:
    """Return the difference of each pair (i, j), i < j, of near duplicates or near mirror images, in order.

    Exact copies are represented by the first of them. In a group of more than five near copies, the fifth nearest image
    of each copy is in the group too, so only pairs below 0.005 pass the ratio test. progress: called during the search.
    """
    firsts = np.array([group[0] for group in group_copies(data).values()])
    indices = np.arange(len(firsts))
    i, j, difference = _near_pairs(_reduced(data.images)[firsts], data.labels[firsts], indices, indices, progress)
    found: Differences = {}
    for a, b, d in zip(firsts[i].tolist(), firsts[j].tolist(), difference.tolist(), strict=True):
        pair = (min(a, b), max(a, b))
        found[pair] = min(d, found.get(pair, np.inf))
    return dict(sorted(found.items()))


def measure_matches(train: LabelledImages, other: LabelledImages, progress: Progress = no_progress) -> Differences:
    """Return the difference of (i, j) for each training image i that has a near duplicate in `other`, in order.

    j is the image of `other` that differs least from i. Both sets must have images of the same shape. Training images
    with an exact copy in `other` are not included; `find_leaks` returns them. progress: as in `measure_duplicates`.
    """
    digests = np.array(train.hashes + other.hashes)
    _, firsts, distinct = np.unique(digests, return_index=True, return_inverse=True)
    pool = np.concatenate([_reduced(train.images), _reduced(other.images)])[firsts]
    in_train, in_other = distinct[: len(train)], distinct[len(train) :]  # indices in `pool`
    labels = np.concatenate([train.labels, other.labels])[firsts]
    i, j, difference = _near_pairs(pool, labels, np.setdiff1d(in_train, in_other), np.unique(in_other), progress)
    order = np.argsort(-difference)  # the smallest difference comes last and overwrites the others
    match = {k: (n, d) for k, n, d in zip(*(part[order].tolist() for part in (i, j, difference)), strict=True)}
    first_index = {k: n for n, k in reversed(list(enumerate(in_other.tolist())))}
    found = ((n, match[k]) for n, k in enumerate(in_train.tolist()) if k in match)
    return {(n, first_index[nearest]): d for n, (nearest, d) in found}


def _reduced(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average blocks of k x k pixels, so that images are at most 32 px wide; smaller images are not copied."""
    count, channels, height, width = images.shape
    k = -(-width // MAX_COMPARED_SIZE)
    if k == 1:
        return images
    height, width = height // k, width // k
    out = np.empty((count, channels, height, width), np.uint8)
    for start in range(0, count, BLOCK):
        block = images[start : start + BLOCK, :, : height * k, : width * k].astype(np.uint16)
        total = sum((block[..., top::k, left::k] for top in range(k) for left in range(k)), np.uint16(k * k // 2))
        out[start : start + BLOCK] = total // (k * k)
    return out


def _near_pairs(
    pool: NDArray[np.uint8], labels: NDArray[np.int64], left: Indices, right: Indices, progress: Progress
) -> tuple[Indices, Indices, Floats]:
    """Return near duplicates i of `left` and j of `right`, indices in a pool of distinct images, and differences."""
    (plain, mirrored), count = _low_frequencies(pool), len(left)
    i, j = _candidates(plain, plain, left, right, lambda done: progress(done, 2 * count))
    p, q = _candidates(mirrored, plain, left, right, lambda done: progress(count + done, 2 * count))
    p, q = np.stack([p, q])[:, labels[p] == labels[q]]
    difference = _differences(pool, pool, i, j)
    fifth = np.full(len(pool), np.inf, np.float32)  # the difference of each image from its fifth nearest other image
    known = _ranks(i, difference) == NEIGHBOUR_RANK
    fifth[i[known]] = difference[known]  # an upper bound from the candidates; it avoids most exact computations
    i, j = np.concatenate([i, p]), np.concatenate([j, q])
    difference = np.concatenate([difference, _differences(pool[..., ::-1], pool, p, q)])
    keep = (difference <= MAX_DIFFERENCE) & (difference <= np.maximum(MAX_RATIO * fifth[i], CERTAIN_DIFFERENCE))
    i, j, difference = i[keep], j[keep], difference[keep]
    rows = np.unique([i, j])
    fifth[rows] = _differences_from_fifth(pool, plain, rows)
    keep = difference <= np.maximum(MAX_RATIO * np.minimum(fifth[i], fifth[j]), CERTAIN_DIFFERENCE)
    return i[keep], j[keep], difference[keep]


def _low_frequencies(images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Return unit vectors of low frequencies, N x 63: of the grey images N x C x H x W and of their mirror images."""
    from scipy.fft import dctn

    low = np.empty((len(images), FREQUENCIES, FREQUENCIES), np.float32)
    for start in range(0, len(images), BLOCK):
        grey = images[start : start + BLOCK].mean(1, dtype=np.float32)
        low[start : start + BLOCK] = dctn(grey, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES]
    low[:, 0, 0] = 0  # the mean
    low /= np.maximum(np.linalg.norm(low, axis=(1, 2), keepdims=True), 1e-6)
    mirrored = low * (-1) ** np.arange(FREQUENCIES, dtype=np.float32)  # cosines of odd order change their sign
    return low.reshape(len(low), -1)[:, 1:], mirrored.reshape(len(low), -1)[:, 1:]


def _hashes(frequencies: Floats) -> NDArray[np.uint64]:
    """Hash N x 63 frequencies to N integers: the bit of a frequency is set if it is above the median of its image."""
    bits = np.zeros((len(frequencies), FREQUENCIES * FREQUENCIES), np.bool_)
    bits[:, 1:] = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _candidates(
    first: Floats, second: Floats, left: Indices, right: Indices, progress: Callable[[int], None]
) -> tuple[Indices, Indices]:
    """Return pairs (i, j) of `left` and `right` with similar hashes: for each i, the most similar frequencies.

    The similarity of frequencies is their scalar product. It must be at least 1 - `MAX_DIFFERENCE`, and is computed for
    blocks of pairs; hashes are compared only for pairs that would enter a shortlist. If both sides are the same array,
    the similarity is symmetric and half of the products are enough.
    """
    lists = _Shortlists(_hashes(first), _hashes(second))
    buffer, symmetric = np.empty((ROWS, COLUMNS), np.float32), left is right
    for start in range(0, len(left), ROWS):
        rows = left[start : start + ROWS]
        for offset in range(start if symmetric else 0, len(right), COLUMNS):
            columns = right[offset : offset + COLUMNS]
            similarity = np.matmul(first[rows], second[columns].T, out=buffer[: len(rows), : len(columns)])
            if symmetric and offset == start:
                similarity[:, : len(rows)][np.tri(len(rows), dtype=np.bool_)] = -1  # each pair of different images once
            row, column = _at_least(similarity, lists.threshold[rows][:, None])
            lists.add(rows[row], columns[column], similarity[row, column])
            if symmetric:
                row, column = _at_least(similarity, lists.threshold[columns])
                lists.add(columns[column], rows[row], similarity[row, column])
        progress(min(start + ROWS, len(left)))
    return lists.pairs()


def _at_least(values: Floats, threshold: Floats) -> tuple[Indices, Indices]:
    """Return the rows and columns of the R x C `values` that are not below `threshold`, which is broadcast to them."""
    row, column = np.divmod(np.flatnonzero(values >= threshold), values.shape[1])
    return row, column


class _Shortlists:
    """For each of N images i, the `SHORTLIST` most similar images j with similar hashes, of all added pairs.

    threshold: float32, N, the similarity below which a pair would not enter the list of i. It grows as the lists fill,
    so that only a few of all pairs need a closer comparison.
    """

    def __init__(self, first: NDArray[np.uint64], second: NDArray[np.uint64]) -> None:
        self.hashes = first, second
        self.threshold = np.full(len(first), 1 - MAX_DIFFERENCE, np.float32)
        self.found: list[tuple[Indices, Indices, Floats]] = [(np.empty(0, np.intp),) * 2 + (np.empty(0, np.float32),)]
        self.pending = 0

    def add(self, i: Indices, j: Indices, similarity: Floats) -> None:
        """Add pairs that have not been added before."""
        similar = np.bitwise_count(self.hashes[0][i] ^ self.hashes[1][j]) <= MAX_DIFFERENT_BITS
        self.found.append((i[similar], j[similar], similarity[similar]))
        self.pending += int(similar.sum())
        if self.pending > MAX_PENDING:
            self._trim()

    def pairs(self) -> tuple[Indices, Indices]:
        """Return all pairs on the shortlists."""
        self._trim()
        i, j, _ = self.found[0]
        return i, j

    def _trim(self) -> None:
        i, j, similarity = (np.concatenate(parts) for parts in zip(*self.found, strict=True))
        ranks = _ranks(i, 1 - similarity)
        last = ranks == SHORTLIST - 1
        self.threshold[i[last]] = similarity[last]
        keep = ranks < SHORTLIST
        self.found, self.pending = [(i[keep], j[keep], similarity[keep])], 0


def _ranks(i: Indices, key: Floats) -> Indices:
    """Return for each of N entries how many entries of the same i have a smaller key; keys are not negative."""
    key = np.maximum(key, 0)  # removes rounding errors
    order = np.argsort(i + key / (1 + key.astype(np.float64)))  # by i, then by key; several times as fast as lexsort
    ranks = np.empty(len(i), np.intp)
    ranks[order] = np.arange(len(i)) - np.searchsorted(i[order], i[order])
    return ranks


def _differences(first: NDArray[np.uint8], second: NDArray[np.uint8], i: Indices, j: Indices) -> Floats:
    """Return half the squared distance of first[i] and second[j] over the product of their norms, after centring.

    It is 0 for equal images and 1 for unrelated ones; for equal contrast it is 1 minus the correlation. Minimum of 9
    values, for shifts of the first image by -1, 0 or 1 px in both directions. Constant images differ from all.
    """
    out, height, width = np.empty(len(i), np.float32), first.shape[2] - 2, first.shape[3] - 2
    windows = [np.s_[..., top : top + height, left : left + width] for top in range(3) for left in range(3)]
    masks = np.zeros((len(windows), *first.shape[1:]), np.float32)
    for window, mask in zip(windows, masks, strict=True):
        mask[window] = 1
    sums = masks.reshape(len(windows), -1).T  # C H W x 9; multiplied by flat images, it gives the sums over the windows
    for start in range(0, len(i), BLOCK):
        pairs = slice(start, start + BLOCK)
        x, y = first[i[pairs]].astype(np.float32), second[j[pairs], :, 1:-1, 1:-1].astype(np.float32)
        x -= x.mean((1, 2, 3), keepdims=True)  # for numerical precision
        y -= y.mean((1, 2, 3), keepdims=True)
        flat = x.reshape(len(x), -1)
        xx = np.square(flat) @ sums - np.square(flat @ sums) / y[0].size
        yy = np.einsum("nchw,nchw->n", y, y)[:, None]
        xy = np.stack([np.einsum("nchw,nchw->n", x[window], y) for window in windows], axis=1)  # the mean of y is 0
        difference = ((xx + yy) / 2 - xy) / np.sqrt(np.maximum(xx * yy, 1))
        out[pairs] = np.where(np.minimum(xx, yy) < 0.5, 1, difference).min(1)  # 0 except for rounding: a constant image
    return out


def _differences_from_fifth(pool: NDArray[np.uint8], frequencies: Floats, rows: Indices) -> Floats:
    """Return the difference of each image in `rows` from its fifth nearest other image, or the farthest of fewer."""
    count = min(SHORTLIST, len(pool) - 1)
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        i = rows[start : start + BLOCK]
        similarity = frequencies[i] @ frequencies.T
        similarity[np.arange(len(i)), i] = -np.inf
        nearest = _largest(similarity, count)
        differences = _differences(pool, pool, np.repeat(i, count), nearest.ravel()).reshape(len(i), count)
        out[start : start + BLOCK] = np.sort(differences, axis=1)[:, min(NEIGHBOUR_RANK, count - 1)]
    return out


def _largest(values: Floats, count: int) -> Indices:
    """Return the indices of the `count` largest values in each row of R x N, unsorted: R x count.

    They lie in the `count` groups with the largest maxima, so only a small part of the values must be partitioned.
    """
    rows, width = values.shape
    if width <= count * GROUP:
        return np.argpartition(values, -count, axis=1)[:, -count:]
    groups = -(-width // GROUP)
    padded = np.full((rows, GROUP * groups), -np.inf, np.float32)
    padded[:, :width] = values
    grouped = padded.reshape(rows, GROUP, groups)
    best = np.argpartition(grouped.max(1), -count, axis=1)[:, -count:]  # R x count
    indices = (best[:, None] + groups * np.arange(GROUP)[:, None]).reshape(rows, -1)
    among = np.argpartition(np.take_along_axis(padded, indices, axis=1), -count, axis=1)[:, -count:]
    return np.take_along_axis(indices, among, axis=1)
