"""A folder of compiled object files, addressed by the hash of what they were made from."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path

from symgraph.core.record import dataclass
from symgraph.cpu.native.digest import digest

MAGIC = b"SGOBJ\x00\x00\x02"
_HEADER = struct.Struct("<8s32sQ")  # magic, digest of the payload, payload length in bytes
_SUFFIX = ".sgo"
_PUTS_PER_SCAN = 32  # the folder is measured once per so many writes, not at each


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counters of one `ObjectCache` and the present size of its folder."""

    hits: int
    misses: int
    rejected: int
    files: int
    bytes: int


class ObjectCache:
    """Keep object files in a folder, least recently used out first.

    folder: created with owner-only permissions, since its content is run as code.
    limit: cap on the total size in bytes, enforced at writes.

    Every failure of the file system is silent: the cache then simply does not remember.
    A file whose header, length or checksum is wrong is removed and reported as absent.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int = 1 << 30) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._lock = threading.Lock()
        self._hits = 0
        self._misses = 0
        self._rejected = 0
        self._puts = 0

    def get(self, key: str) -> bytes | None:
        """Return the payload stored under `key`, or None."""
        path = self._path(key)
        try:
            raw = path.read_bytes()
        except OSError:
            self._count(misses=1)
            return None
        payload = _unpack(raw)
        if payload is None:
            self._count(misses=1, rejected=1)
            _remove(path)
            return None
        self._count(hits=1)
        try:  # noqa: SIM105 - contextlib costs start time
            os.utime(path)  # the time of last use orders the eviction
        except OSError:
            pass
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Store `payload` under `key`; written beside and renamed: readers see all or nothing."""
        header = _HEADER.pack(MAGIC, digest(payload), len(payload))
        name = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self.folder / f".tmp-{os.getpid()}-{time.time_ns()}"
            with open(new, "xb") as file:
                name = new
                file.write(header)
                file.write(payload)
            os.replace(name, self._path(key))
        except OSError:
            if name is not None:
                _remove(name)
            return
        with self._lock:
            self._puts += 1
            scan = self._puts % _PUTS_PER_SCAN == 1 or len(payload) > self.limit // 4
        if scan:
            self._evict()

    def stats(self) -> CacheStats:
        """Return the counters of this process and the size of the folder now."""
        files = self._files()
        return CacheStats(
            self._hits, self._misses, self._rejected, len(files), sum(size for _, size, _ in files)
        )

    def clear(self) -> None:
        """Remove every object file of the folder."""
        for _, _, path in self._files():
            _remove(path)

    def _path(self, key: str) -> Path:
        if not key or not all(c.isalnum() or c in "-_" for c in key):
            raise ValueError(f"a cache key has only letters, digits, '-' and '_', got {key!r}")
        return self.folder / (key + _SUFFIX)

    def _count(self, hits: int = 0, misses: int = 0, rejected: int = 0) -> None:
        with self._lock:
            self._hits += hits
            self._misses += misses
            self._rejected += rejected

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return (time of last use, size, path) of each object file."""
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(_SUFFIX):
                        try:
                            status = entry.stat()
                        except OSError:
                            continue  # another process removed it meanwhile
                        found.append((status.st_mtime, status.st_size, Path(entry.path)))
        except OSError:
            pass
        return found

    def _evict(self) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files, key=lambda item: item[0]):
            if total <= self.limit:
                return
            _remove(path)
            total -= size


def _unpack(raw: bytes) -> bytes | None:
    """Return the payload of a cache file, or None if the file is not whole and ours."""
    if len(raw) < _HEADER.size:
        return None
    magic, expected, length = _HEADER.unpack_from(raw)
    payload = raw[_HEADER.size :]
    if magic != MAGIC or length != len(payload):
        return None
    return payload if digest(payload) == expected else None


def _remove(path: Path) -> None:
    try:  # noqa: SIM105
        path.unlink()
    except OSError:
        pass
