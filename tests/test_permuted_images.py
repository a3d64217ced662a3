"""Images of digits: the idx format, damaged files, permutations."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from configs.errors import UsageError
from permuted_mnist.download import downloaded_mnist
from permuted_mnist.images import MNIST_MD5, digits, held_back, mnist, parse_idx
from permuted_mnist.tasks import permutations


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
            lambda path: path.with_name(f"{path.name}.gz").write_bytes(
                gzip.compress(idx(IMAGES))[:10] + b"\xff" * 40
            ),
            "can't be read",
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
        mnist(tmp_path, "all_images")
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_task_shows_every_pixel_once_and_the_first_in_order() -> None:
    shown = permutations(5, 64, torch.Generator().manual_seed(3))
    assert shown.shape == (5, 64)
    assert shown[0].tolist() == list(range(64))
    assert torch.equal(shown.sort(dim=1).values, torch.arange(64).expand(5, 64))
    assert len(shown.unique(dim=0)) == 5
    assert torch.equal(shown, permutations(5, 64, torch.Generator().manual_seed(3)))


def test_digits_come_with_scikit_learn_and_are_scaled_by_the_training_images() -> None:
    images = digits("all_images")
    assert images.train.shape == (1438, 64)
    assert images.test.shape == (359, 64)
    assert abs(images.train.mean()) < 1e-5
    assert abs(images.train.std(correction=0) - 1) < 1e-5
    assert sorted(images.test_labels.unique().tolist()) == list(range(10))


def test_each_image_may_be_scaled_by_itself() -> None:
    by_itself, together = digits("each_image"), digits("all_images")
    for own, other in ((by_itself.train, together.train), (by_itself.test, together.test)):
        for image, same in zip(own[:20], other[:20], strict=True):
            centred = same.double() - same.double().mean()
            expected = centred / centred.square().mean().sqrt()
            torch.testing.assert_close(image.double(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(by_itself.train_labels, together.train_labels)


def test_a_validation_split_never_touches_the_test_images() -> None:
    images = digits("all_images")
    split = held_back(images)
    assert torch.equal(torch.cat([split.train, split.test]), images.train)
    assert torch.equal(torch.cat([split.train_labels, split.test_labels]), images.train_labels)
    assert len(split.test) == len(images.train) // 6
    assert "validation" in split.name


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a real server shows it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_what_a_mirror_sends_is_kept_only_if_it_is_mnist(
    mirror: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = mirror
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match=r"can't be downloaded .*404.*--data\.folder"):
        downloaded_mnist([address])
    name = next(iter(MNIST_MD5))
    (folder / f"{name}.gz").write_bytes(gzip.compress(idx(IMAGES)))
    with pytest.raises(UsageError, match=r"not the file of MNIST .*--data\.folder"):
        downloaded_mnist([address])
    assert list((tmp_path / "cache/active-dendrites/mnist").iterdir()) == []


def test_files_of_a_mirror_are_fetched_once(
    mirror: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = mirror
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in MNIST_MD5:  # the sums are those of other files: MNIST itself is not at hand
        data = idx(IMAGES) + name.encode()
        monkeypatch.setitem(MNIST_MD5, name, hashlib.md5(data).hexdigest())
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    kept = downloaded_mnist(["http://127.0.0.1:9/", address])  # nobody answers at the first
    assert sorted(path.name for path in kept.iterdir()) == sorted(f"{n}.gz" for n in MNIST_MD5)
    assert downloaded_mnist([]) == kept
    damaged = kept / f"{name}.gz"
    damaged.write_bytes(damaged.read_bytes()[:30])
    assert downloaded_mnist([address]) == kept  # fetched again
    assert damaged.read_bytes() == (folder / damaged.name).read_bytes()
