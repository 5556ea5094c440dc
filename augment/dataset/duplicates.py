"""Images that are there twice, within a set or in two of them: exactly, or nearly (saved anew, brightened, mirrored).

Exact copies have equal pixels. Near ones pass three tests, each more costly than the one before:

1. Perceptual hash (after pHash; Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010): a
   bit for each of the 63 lowest frequencies of the cosine transform; 16 may differ. Mirror images are tried too.
2. Pixels: the difference is at most 0.1, with the pictures moved against each other by one pixel at most.
3. Rivals (the ratio test of Lowe, "Distinctive image features from scale-invariant keypoints", 2004): the difference is
   at most a fifth of what either image differs from its fifth nearest other. Small simple pictures need it: of 10
   million pairs of Fashion-MNIST the hash alone lets 220,000 pass. Below 0.005 it is not asked.

Share found of changed copies of 1,000 training images among 2,000 test images, CIFAR-10 (32 px) and Fashion-MNIST (28):
    JPEG of quality 75 (also mirrored) or 50; 10 % brighter or darker; noise of 10 grey levels    1.00  1.00
    reduced to 3/4 (to 1/2) and enlarged again                                            1.00 (0.99)  0.53 (0.03)
    cropped by 3 % (5 %, 10 %) and enlarged                                         1.00 (0.98, 0.31)  0.94 (0.34, 0.00)
    shifted by 1 px to one side (to two)                                                  0.99 (0.86)  0.70 (0.27)
Of digits of 8 px no shifted or reduced copy is found. False alarms, by eye: 18 of 5,000 training images of CIFAR-10
match one of 10,000 test images, all rightly; 17 of 10,000 do in Fashion-MNIST, 11 of them plainly one article, 6 too
alike to tell. Parts of it, 20 and 20 to 500 and 200 images, have 0.05 to 0.3 such matches on average (100 draws each).
Pictures in a frame that stands out more than what is in it pass for alike. The limits were chosen on these two sets.

Every pair is compared, but only in one product of matrices; 60,000 images of 28 px take 16 s on one core of a Xeon that
other work shares, and 28 s where each of them is there three times.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages

SIZE = 32  # px, at most, of what is compared
LOW, BITS = 8, 16  # frequencies a direction; hash bits that may differ
LARGEST, CERTAIN = 0.1, 0.005  # differences: more is no near duplicate; for less, no rival is asked
RATIO, RIVAL = 0.2, 4  # of the difference from the nearest other image but 4
SHORTLIST = 8  # images, alike in their low frequencies, that are compared in pixels
BLOCK = 256  # images or pairs at a time
ROWS, COLUMNS = 256, 2048  # of the products that tell likeness; they fit into a core's cache
GROUP = 16  # values of which the largest is compared first
PENDING = 500_000  # pairs that are collected before the shortlists are made short again

Floats = NDArray[np.float32]
Places = NDArray[np.intp]
Pair = tuple[int, int]
Pairs = tuple[Pair, ...]


def find_leaks(train: LabelledImages, other: LabelledImages) -> Pairs:
    """(i, j) for each training image i that is in `other` too, pixel for pixel; j is the first place there."""
    places = find_copies(other)
    return tuple((i, places[digest][0]) for i, digest in enumerate(_digests(train)) if digest in places)


def find_copies(data: LabelledImages) -> dict[bytes, list[int]]:
    """The places of each distinct image, in order, by its digest."""
    places: dict[bytes, list[int]] = {}
    for i, digest in enumerate(_digests(data)):
        places.setdefault(digest, []).append(i)
    return places


def _digests(data: LabelledImages) -> list[bytes]:
    shape = repr(data.images.shape[1:]).encode()
    return [hashlib.blake2b(shape + image.tobytes(), digest_size=16).digest() for image in data.images]


def near_duplicates(data: LabelledImages) -> Pairs:
    """The pairs of `measure_duplicates`."""
    return tuple(measure_duplicates(data))


def measure_duplicates(data: LabelledImages) -> dict[Pair, float]:
    """(i, j), i < j, of images that are nearly the same or nearly mirror images, with their difference, in order.

    Of exact copies the first counts. In a group of more than five near copies the copies are each other's rivals, and a
    pair is told only if its difference is below 0.005.
    """
    firsts = np.array([places[0] for places in find_copies(data).values()])
    everything = np.arange(len(firsts))
    i, j, difference = _near_pairs(_reduced(data.images)[firsts], everything, everything)
    found: dict[Pair, float] = {}
    for one, other, d in zip(firsts[i].tolist(), firsts[j].tolist(), difference.tolist(), strict=True):
        pair = (min(one, other), max(one, other))
        found[pair] = min(d, found.get(pair, np.inf))
    return dict(sorted(found.items()))


def near_matches(train: LabelledImages, other: LabelledImages) -> Pairs:
    """The pairs of `measure_matches`."""
    return tuple(measure_matches(train, other))


def measure_matches(train: LabelledImages, other: LabelledImages) -> dict[Pair, float]:
    """(i, j) for each training image i that has a near duplicate in `other`, with their difference, in order.

    j is the one that differs least from it. Both have images of one shape. Training images that are in `other` pixel
    for pixel are left to `find_leaks`.
    """
    digests = np.array([*_digests(train), *_digests(other)])
    _, firsts, distinct = np.unique(digests, return_index=True, return_inverse=True)
    pool = np.concatenate([_reduced(train.images), _reduced(other.images)])[firsts]
    mine, others = distinct[: len(train)], distinct[len(train) :]
    i, j, difference = _near_pairs(pool, np.setdiff1d(mine, others), np.unique(others))
    order = np.argsort(-difference)  # the least difference comes last and stays
    match = {k: (n, d) for k, n, d in zip(*(part[order].tolist() for part in (i, j, difference)), strict=True)}
    place = {k: n for n, k in reversed(list(enumerate(others.tolist())))}
    found = ((n, match[k]) for n, k in enumerate(mine.tolist()) if k in match)
    return {(n, place[nearest]): d for n, (nearest, d) in found}


def _reduced(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most 32 px wide, each pixel the mean of a square of k x k; not copied if the images are that small."""
    count, channels, height, width = images.shape
    k = -(-width // SIZE)
    if k == 1:
        return images
    height, width = height // k, width // k
    out = np.empty((count, channels, height, width), np.uint8)
    for start in range(0, count, BLOCK):
        cut = images[start : start + BLOCK, :, : height * k, : width * k].astype(np.uint16)
        total = sum((cut[..., top::k, left::k] for top in range(k) for left in range(k)), np.uint16(k * k // 2))
        out[start : start + BLOCK] = total // (k * k)
    return out


def _near_pairs(pool: NDArray[np.uint8], left: Places, right: Places) -> tuple[Places, Places, Floats]:
    """Near duplicates i of `left` and j of `right`, places in a pool of distinct images, and their differences."""
    plain, mirrored = _low_frequencies(pool)
    i, j = _candidates(plain, plain, left, right)
    p, q = _candidates(mirrored, plain, left, right)
    difference = _differences(pool, pool, i, j)
    others = np.full(len(pool), np.inf, np.float32)
    fifth = _ranks(i, difference) == RIVAL
    others[i[fifth]] = difference[fifth]  # an upper bound, from the candidates; it spares most of the exact figures
    i, j = np.concatenate([i, p]), np.concatenate([j, q])
    difference = np.concatenate([difference, _differences(pool[..., ::-1], pool, p, q)])
    keep = (difference <= LARGEST) & (difference <= np.maximum(RATIO * others[i], CERTAIN))
    i, j, difference = i[keep], j[keep], difference[keep]
    rows = np.unique([i, j])
    others[rows] = _differences_from_fifth(pool, plain, rows)
    keep = difference <= np.maximum(RATIO * np.minimum(others[i], others[j]), CERTAIN)
    return i[keep], j[keep], difference[keep]


def _low_frequencies(images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """N x C x H x W to N x 63, of length 1: of the grey image without its mean, and of its mirror image."""
    from scipy.fft import dctn

    low = np.empty((len(images), LOW, LOW), np.float32)
    for start in range(0, len(images), BLOCK):
        grey = images[start : start + BLOCK].mean(1, dtype=np.float32)
        low[start : start + BLOCK] = dctn(grey, axes=(1, 2), norm="ortho")[:, :LOW, :LOW]
    low[:, 0, 0] = 0
    low /= np.maximum(np.linalg.norm(low, axis=(1, 2), keepdims=True), 1e-6)
    mirrored = low * (-1) ** np.arange(LOW, dtype=np.float32)  # odd cosines change their sign
    return low.reshape(len(low), -1)[:, 1:], mirrored.reshape(len(low), -1)[:, 1:]


def _hashes(frequencies: Floats) -> NDArray[np.uint64]:
    """N x 63 to N: a bit for each frequency, set above the median of its image."""
    bits = np.zeros((len(frequencies), LOW * LOW), np.bool_)
    bits[:, 1:] = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _candidates(first: Floats, second: Floats, left: Places, right: Places) -> tuple[Places, Places]:
    """Pairs of an i of `left` and a j of `right` with like hashes: for each i, the most alike in their frequencies.

    Frequencies must be alike by 1 - `LARGEST` at least, which one product of matrices tells of a block of pairs; the
    hashes are compared only of pairs that would enter a shortlist. Where both sides are one array, and frequencies of
    (i, j) therefore as alike as those of (j, i), half of the products are enough.
    """
    lists = _Shortlists(_hashes(first), _hashes(second))
    space, symmetric = np.empty((ROWS, COLUMNS), np.float32), left is right
    for start in range(0, len(left), ROWS):
        rows = left[start : start + ROWS]
        for at in range(start if symmetric else 0, len(right), COLUMNS):
            columns = right[at : at + COLUMNS]
            likeness = np.matmul(first[rows], second[columns].T, out=space[: len(rows), : len(columns)])
            if symmetric and at == start:
                likeness[:, : len(rows)][np.tri(len(rows), dtype=np.bool_)] = -1  # each pair once, and none with itself
            row, column = _at_least(likeness, lists.least[rows][:, None])
            lists.add(rows[row], columns[column], likeness[row, column])
            if symmetric:
                row, column = _at_least(likeness, lists.least[columns])
                lists.add(columns[column], rows[row], likeness[row, column])
    return lists.pairs()


def _at_least(values: Floats, least: Floats) -> tuple[Places, Places]:
    """R x C and what broadcasts to it, to the rows and columns of the values that are not below it."""
    row, column = np.divmod(np.flatnonzero(values >= least), values.shape[1])
    return row, column


class _Shortlists:
    """For each image i of N the `SHORTLIST` images j most like it, with like hashes, of all pairs that were added.

    least: float32, N, the likeness below which a pair would not enter the list of i. It grows as the lists fill, so
    that of all pairs only few are looked at.
    """

    def __init__(self, first: NDArray[np.uint64], second: NDArray[np.uint64]) -> None:
        self.hashes = first, second
        self.least = np.full(len(first), 1 - LARGEST, np.float32)
        self.found: list[tuple[Places, Places, Floats]] = [(np.empty(0, np.intp),) * 2 + (np.empty(0, np.float32),)]
        self.pending = 0

    def add(self, i: Places, j: Places, likeness: Floats) -> None:
        """Pairs that were not added before."""
        alike = np.bitwise_count(self.hashes[0][i] ^ self.hashes[1][j]) <= BITS
        self.found.append((i[alike], j[alike], likeness[alike]))
        self.pending += int(alike.sum())
        if self.pending > PENDING:
            self._shorten()

    def pairs(self) -> tuple[Places, Places]:
        """All that are on a list."""
        self._shorten()
        i, j, _ = self.found[0]
        return i, j

    def _shorten(self) -> None:
        i, j, likeness = (np.concatenate(parts) for parts in zip(*self.found, strict=True))
        ranks = _ranks(i, 1 - likeness)
        last = ranks == SHORTLIST - 1
        self.least[i[last]] = likeness[last]
        keep = ranks < SHORTLIST
        self.found, self.pending = [(i[keep], j[keep], likeness[keep])], 0


def _ranks(i: Places, key: Floats) -> Places:
    """N and N to N: how many entries of the same i have a smaller key, of at least 0 but for rounding."""
    key = np.maximum(key, 0)
    order = np.argsort(i + key / (1 + key.astype(np.float64)))  # by i, then by key, several times as fast as lexsort
    ranks = np.empty(len(i), np.intp)
    ranks[order] = np.arange(len(i)) - np.searchsorted(i[order], i[order])
    return ranks


def _differences(first: NDArray[np.uint8], second: NDArray[np.uint8], i: Places, j: Places) -> Floats:
    """Of first[i] and second[j], without their means: half the squared distance, over the product of the lengths.

    0 for equal pictures, 1 for unrelated ones; 1 less the correlation if both have the same contrast. The least of 9
    figures, the first picture moved by -1, 0 or 1 px in both directions. Images without contrast differ from all.
    """
    out = np.empty(len(i), np.float32)
    height, width = first.shape[2] - 2, first.shape[3] - 2
    windows = [np.s_[..., top : top + height, left : left + width] for top in range(3) for left in range(3)]
    inside = np.zeros((len(windows), *first.shape[1:]), np.float32)
    for window, weights in zip(windows, inside, strict=True):
        weights[window] = 1
    sums = inside.reshape(len(windows), -1).T  # C H W x 9: its product with flat pictures is the sums over the windows
    for start in range(0, len(i), BLOCK):
        pairs = slice(start, start + BLOCK)
        x, y = first[i[pairs]].astype(np.float32), second[j[pairs], :, 1:-1, 1:-1].astype(np.float32)
        x -= x.mean((1, 2, 3), keepdims=True)  # for the sake of precision
        y -= y.mean((1, 2, 3), keepdims=True)
        flat = x.reshape(len(x), -1)
        xx = np.square(flat) @ sums - np.square(flat @ sums) / y[0].size
        yy = np.einsum("nchw,nchw->n", y, y)[:, None]
        xy = np.stack([np.einsum("nchw,nchw->n", x[window], y) for window in windows], axis=1)  # y has the mean 0
        out[pairs] = (((xx + yy) / 2 - xy) / np.sqrt(np.maximum(xx * yy, 1))).min(1)
    return out


def _differences_from_fifth(pool: NDArray[np.uint8], frequencies: Floats, rows: Places) -> Floats:
    """What each of the images `rows` differs from the fifth nearest, or the farthest if fewer, of the others."""
    count = min(SHORTLIST, len(pool) - 1)
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        i = rows[start : start + BLOCK]
        likeness = frequencies[i] @ frequencies.T
        likeness[np.arange(len(i)), i] = -np.inf
        nearest = _largest(likeness, count)
        differences = _differences(pool, pool, np.repeat(i, count), nearest.ravel()).reshape(len(i), count)
        out[start : start + BLOCK] = np.sort(differences, axis=1)[:, min(RIVAL, count - 1)]
    return out


def _largest(values: Floats, count: int) -> Places:
    """R x N to R x count: the places of the largest values of each row, in no order.

    They lie in the `count` groups of the largest maxima, so that a sixteenth of the values is sorted through.
    """
    rows, width = values.shape
    if width <= count * GROUP:
        return np.argpartition(values, -count, axis=1)[:, -count:]
    groups = -(-width // GROUP)
    padded = np.full((rows, GROUP * groups), -np.inf, np.float32)
    padded[:, :width] = values
    grouped = padded.reshape(rows, GROUP, groups)
    best = np.argpartition(grouped.max(1), -count, axis=1)[:, -count:]  # R x count
    places = (best[:, None] + groups * np.arange(GROUP)[:, None]).reshape(rows, -1)
    among = np.argpartition(np.take_along_axis(padded, places, axis=1), -count, axis=1)[:, -count:]
    return np.take_along_axis(places, among, axis=1)
