"""Images of digits: the idx format, damaged files, permutations."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.errors import UsageError
from continual.images import MNIST_MD5, mnist, parse_idx
from continual.permuted import permutations


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


def test_idx_data_by_hand() -> None:
    data = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])
    assert parse_idx(data).tolist() == [[1, 2, 3], [4, 5, 255]]
    np.testing.assert_array_equal(parse_idx(idx(IMAGES)), IMAGES)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not an idx file"),
        (b"PK\x03\x04 something else", "not an idx file"),
        (idx(IMAGES, kind=13), "not of unsigned bytes"),
        (idx(IMAGES)[:9], "cut off within its header"),
        (idx(IMAGES)[:-1], r"59 bytes of data for the shape \[3, 4, 5\]"),
        (idx(IMAGES) + b"x", r"61 bytes of data for the shape \[3, 4, 5\]"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, r"0 bytes of data for the shape"),
    ],
)
def test_damaged_idx_data_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_idx(data)


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda path: None, "no train-images-idx3-ubyte"),
        (lambda path: path.write_bytes(idx(IMAGES)[:20]), r"4 bytes of data for the shape"),
        (lambda path: path.write_bytes(idx(IMAGES)), r"not the file of MNIST .*shape \[3, 4, 5\]"),
        (
            lambda path: path.with_name(f"{path.name}.gz").write_bytes(
                gzip.compress(idx(IMAGES))[:-9]
            ),
            "can't be read",
        ),
        (
            lambda path: path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(IMAGES))),
            "not the file of MNIST",
        ),
        (
            # unpacked, a thousand times as large: it is not read to its end
            lambda path: path.with_name(f"{path.name}.gz").write_bytes(
                gzip.compress(bytes(300_000_000), 1)
            ),
            "not an idx|not of unsigned",
        ),
    ],
)
def test_a_bad_file_of_mnist_is_one_line_that_names_it(write, problem: str, tmp_path: Path) -> None:
    name = next(iter(MNIST_MD5))
    write(tmp_path / name)
    with pytest.raises(UsageError, match=problem) as error:
        mnist(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_task_shows_every_pixel_once_and_the_first_in_order() -> None:
    shown = permutations(5, 64, torch.Generator().manual_seed(3))
    assert shown.shape == (5, 64)
    assert shown[0].tolist() == list(range(64))
    assert torch.equal(shown.sort(dim=1).values, torch.arange(64).expand(5, 64))
    assert len(shown.unique(dim=0)) == 5
    assert torch.equal(shown, permutations(5, 64, torch.Generator().manual_seed(3)))
