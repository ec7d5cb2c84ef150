"""Save and load the values of shared variables as a safetensors file."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from symgraph.compile.shared import SharedVariable
from symgraph.core.dtype import as_dtype
from symgraph.core.lazy import lazy

json: Any = lazy("json")

FORMAT = "symgraph"
VERSION = 1


def _safetensors() -> ModuleType:
    """Import the file format package; raises ImportError with the cure."""
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError('saving needs safetensors: pip install "symgraph[nn]"') from None
    return safetensors.numpy


def save(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write named shared variables or arrays to `path`; what was there stays until all is written.

    Keys are flat path names such as "encoder.0.W".
    """
    arrays = {
        name: v.get_value() if isinstance(v, SharedVariable) else np.ascontiguousarray(v)
        for name, v in state.items()
    }
    header = {"format": FORMAT, "version": str(VERSION), "names": json.dumps(sorted(arrays))}
    pairs = [name for name, a in arrays.items() if a.dtype == np.complex128]
    if pairs:  # the format has complex64 only
        header["complex128"] = json.dumps(pairs)
        arrays |= {name: np.stack([arrays[name].real, arrays[name].imag], -1) for name in pairs}
    data = _safetensors().save(arrays, metadata=header)
    target = os.fspath(path)
    temporary = f"{target}.{os.getpid()}.{threading.get_ident()}.part"  # as readable as others
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


_LETTERS = {"F": "float", "I": "int", "U": "uint", "C": "complex", "BF": "bfloat"}


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a file; the reader of the format package lacks bfloat16."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    meta = header.pop("__metadata__", {})
    if not any(entry["dtype"] == "BF16" for entry in header.values()):
        arrays: dict[str, np.ndarray] = _safetensors().load(data)
    else:
        arrays = {name: _array(entry, data[8 + length :]) for name, entry in header.items()}
    for name in json.loads(meta.get("complex128", "[]")):
        pairs = arrays[name]
        arrays[name] = np.ascontiguousarray(pairs).view(np.complex128).reshape(pairs.shape[:-1])
    return arrays


def _array(entry: Mapping[str, Any], data: bytes) -> np.ndarray:
    name = entry["dtype"]
    letters = name.rstrip("0123456789")
    dtype = as_dtype("bool" if name == "BOOL" else _LETTERS[letters] + name[len(letters) :])
    start, end = entry["data_offsets"]
    return np.frombuffer(data[start:end], dtype.numpy).reshape(entry["shape"]).copy()


def load(
    path: str | os.PathLike[str],
    state: Mapping[str, SharedVariable] | None = None,
    strict: bool = True,
) -> Any:
    """Read a file of `save`: into `state` (named shared variables), or as a dict of arrays.

    With `strict`, missing, extra and mis-shaped names are listed in one ValueError and nothing is
    changed; otherwise the list of problems is returned and what fits is set.
    """
    with open(path, "rb") as file:
        data = file.read()
    _safetensors()  # its absence is no fault of the file
    try:
        arrays = _arrays(data)
    except Exception as error:  # the reader's own class, or what a wrong header leads to
        raise ValueError(f"{os.fspath(path)} is no whole safetensors file: {error}") from None
    if state is None:
        return arrays
    problems = [f"missing in the file: {n}" for n in state if n not in arrays]
    problems += [f"not in the state: {n}" for n in arrays if n not in state]
    fitting = {}
    for name, variable in state.items():
        if name in arrays:
            old, new = variable.get_value(borrow=True), arrays[name]
            if old.shape != new.shape or old.dtype != new.dtype:
                problems.append(
                    f"{name}: the file has {new.dtype} {new.shape}, "
                        f"the variable {old.dtype} {old.shape}"
                )
            else:
                fitting[name] = new
    if problems and strict:
        raise ValueError(f"{os.fspath(path)} does not fit:\n  " + "\n  ".join(problems))
    for name, array in fitting.items():
        state[name].set_value(array)
    return problems
