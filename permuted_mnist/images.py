"""The images: MNIST from a folder of idx files, and scikit-learn's small digits.

The idx format is that of Yann LeCun's MNIST page: two zero bytes, the type of a number (8: unsigned
byte), the number of dimensions, their sizes as big-endian 32-bit integers, and then the numbers.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.errors import UsageError
from configs.permuted_mnist.schema import Scaling

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""The four files of MNIST, unpacked, and their MD5 sums."""
_LARGEST_BYTES = 60_000 * 28 * 28 + 16


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Attributes:
        name: of the data, for reports: results on other data are never comparable.
        train, test: `[n, pixels]` float32.
        train_labels, test_labels: `[n]` int64.
    """

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def mnist(folder: Path, scaling: Scaling) -> Images:
    """MNIST from the four idx files in a folder, packed (`.gz`) or not: 28 x 28, without padding.

    `scaling`: see `scaled`.

    Raises:
        UsageError: a file is missing, damaged, or not MNIST's.
    """
    arrays = [_read(folder, name) for name in MNIST_MD5]
    images = [torch.from_numpy(array).flatten(1).float().div_(255) for array in arrays[::2]]
    labels = [torch.from_numpy(array).long() for array in arrays[1::2]]
    return scaled(Images("MNIST, 28 x 28", images[0], labels[0], images[1], labels[1]), scaling)


def digits(scaling: Scaling) -> Images:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; the last fifth, by other writers, is the test set.

    `scaling`: see `scaled`.
    """
    from sklearn.datasets import load_digits  # takes a second

    data, labels = load_digits(return_X_y=True)
    images, classes = torch.from_numpy(data).float(), torch.from_numpy(labels).long()
    last = len(images) - len(images) // 5
    parts = images[:last], classes[:last], images[last:], classes[last:]
    return scaled(Images("digits of scikit-learn, 8 x 8", *parts), scaling)


def held_back(images: Images) -> Images:
    """A sixth of the training images in the place of the test images, which are then not looked at."""
    kept = len(images.train) - len(images.train) // 6
    return Images(
        f"{images.name}, validation",
        images.train[:kept],
        images.train_labels[:kept],
        images.train[kept:],
        images.train_labels[kept:],
    )


def scaled(images: Images, scaling: Scaling) -> Images:
    """Mean 0 and spread 1: over all pixels of all training images, or over the pixels of each image."""
    everything = images.train.mean(), images.train.std(correction=0)

    def scale(pixels: Tensor) -> Tensor:
        mean, spread = everything
        if scaling == "each_image":
            mean, spread = pixels.mean(1, keepdim=True), pixels.std(1, correction=0, keepdim=True)
        return (pixels - mean) / spread

    return replace(images, train=scale(images.train), test=scale(images.test))


def _read(folder: Path, name: str) -> NDArray[np.uint8]:
    """One of MNIST's files, checked."""
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise UsageError(
            f"{folder}: no {name} or {name}.gz there; give the folder with MNIST's files "
            "(--data.folder)"
        )
    return parse_idx(checked_bytes(path, name))


def checked_bytes(path: Path, name: str) -> bytes:
    """What is in a file, unpacked, if it is the file of MNIST with this name.

    Raises:
        UsageError: it can't be read, or is another one.
    """
    data = _bytes(path)
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != MNIST_MD5[name]:
        raise UsageError(f"{path}: {_what_is_wrong(data)}; get the file again")
    return data


def _bytes(path: Path) -> bytes:
    """What is in a file, unpacked: never more than the largest file of MNIST has."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(_LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: can't be read ({error}); get the file again") from error


def parse_idx(data: bytes) -> NDArray[np.uint8]:
    """The array in idx data of unsigned bytes.

    Raises:
        ValueError: it is something else, or has too few or too many bytes.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise ValueError("not an idx file")
    if data[2] != 8:
        raise ValueError("not of unsigned bytes")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError("cut off within its header")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) != start + math.prod(shape):
        raise ValueError(f"{len(data) - start} bytes of data for the shape {list(shape)}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def _what_is_wrong(data: bytes) -> str:
    try:
        shape = parse_idx(data).shape
    except ValueError as error:
        return str(error)
    return f"not the file of MNIST (its MD5 sum is another one; shape {list(shape)})"
