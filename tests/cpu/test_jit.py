"""Code generation, loading and the object cache."""

import ctypes
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from symgraph.cpu.native import jit
from symgraph.cpu.native.cache import ObjectCache

ADD = """
@offset = dso_local global i64 0
define i64 @add(i64 %x) {
  %o = load i64, ptr @offset
  %y = add i64 %x, %o
  ret i64 %y
}
"""
VECTOR = """
define void @twice(ptr %p) {
  %v = load <16 x float>, ptr %p, align 4
  %w = fadd <16 x float> %v, %v
  store <16 x float> %w, ptr %p, align 4
  ret void
}
"""


def call(loaded: jit.Loaded, x: int) -> int:
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded.address("add"))(x)


def test_build_runs_and_globals_are_writable(tmp_path):
    loaded = jit.build(ADD, ["add", "offset"], cache=ObjectCache(tmp_path))
    assert call(loaded, 1) == 1
    ctypes.c_int64.from_address(loaded.address("offset")).value = 41
    assert call(loaded, 1) == 42
    assert loaded.times.codegen > 0 and loaded.times.load > 0 and not loaded.times.cached
    with pytest.raises(KeyError):
        loaded.address("other")


def test_two_loads_of_one_object_are_separate():
    code = jit.compile_object(ADD, jit.target())
    first, second = (jit.load(code, ["add", "offset"]) for _ in range(2))
    ctypes.c_int64.from_address(first.address("offset")).value = 10
    assert (call(first, 1), call(second, 1)) == (11, 1)


def test_missing_symbols_raise_instead_of_aborting():
    text = (
        "declare i64 @no_such_symbol(i64)\ndefine i64 @f(i64 %x) {\n"
        "  %y = call i64 @no_such_symbol(i64 %x)\n  ret i64 %y\n}"
    )
    with pytest.raises(jit.LinkError, match="no_such_symbol"):
        jit.build(text, ["f"])
    with pytest.raises(jit.LinkError, match="absent"):
        jit.build(ADD, ["absent"])


def test_bad_text_raises():
    with pytest.raises(RuntimeError):
        jit.build("define i64 @f(", ["f"])
    with pytest.raises(RuntimeError):
        jit.build("define i64 @f() {\n  ret i64 %x\n}", ["f"])
    twice = (
        "define i64 @f(i1 %c) {\n  br i1 %c, label %a, label %b\na:\n  %x = add i64 1, 2\n"
        "  br label %b\nb:\n  ret i64 %x\n}"
    )
    with pytest.raises(RuntimeError, match="dominate"):
        jit.build(twice, ["f"], verify=True)


def test_code_is_freed_with_its_owner():
    code = jit.compile_object(ADD, jit.target())

    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(50):
        jit.load(code, ["add"])
    gc.collect()
    before, memory = mappings(), resident()
    for _ in range(300):
        jit.load(code, ["add"])
    gc.collect()
    assert mappings() - before < 30
    assert resident() - memory < 3_000_000


def test_cross_targets():
    wide = jit.target(features="+avx512f,+avx512vl,+avx512dq,+avx512bw,+avx2,+fma")
    assert wide.vector_bytes == 64 and "zmm" in jit.compile_assembly(VECTOR, wide)
    assert jit.target(cpu="x86-64-v3").vector_bytes == 32
    arm = jit.target(triple="aarch64-unknown-linux-gnu")
    assert arm.vector_bytes == 16 and "v0.4s" in jit.compile_assembly(VECTOR, arm)
    code = jit.compile_object(VECTOR, arm)
    assert code[:4] == b"\x7fELF" and int.from_bytes(code[18:20], "little") == 183
    assert len({jit.cache_key(VECTOR, t) for t in (wide, arm, jit.target())}) == 3


def test_cache_hit_and_corruption(tmp_path):
    cache = ObjectCache(tmp_path / "objects")
    jit.build(ADD, ["add"], cache=cache)
    assert os.stat(cache.folder).st_mode & 0o777 == 0o700
    again = jit.build(ADD, ["add", "offset"], cache=cache)
    assert again.times.cached and call(again, 3) == 3
    (path,) = cache.folder.glob("*.sgo")
    whole = path.read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    for bad in (b"", whole[:20], whole[:-1], whole + b"x", b"XX" + whole[2:], flipped):
        path.write_bytes(bad)
        loaded = jit.build(ADD, ["add"], cache=cache)
        assert not loaded.times.cached and call(loaded, 3) == 3
        assert path.read_bytes() == whole
    assert cache.stats().rejected == 6 and cache.stats().files == 1
    cache.clear()
    assert cache.stats().files == 0


def test_foreign_object_with_good_checksum_is_rebuilt(tmp_path):
    cache = ObjectCache(tmp_path)
    cache.put(jit.cache_key(ADD, jit.target()), b"not an object file")
    assert call(jit.build(ADD, ["add"], cache=cache), 3) == 3
    assert jit.build(ADD, ["add"], cache=cache).times.cached


def test_unwritable_folder_is_harmless(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    cache = ObjectCache(blocker / "objects")
    assert call(jit.build(ADD, ["add"], cache=cache), 3) == 3
    assert cache.get("abc") is None and cache.stats().files == 0
    with pytest.raises(ValueError):
        cache.get("../abc")


def test_least_recently_used_goes_first(tmp_path):
    cache = ObjectCache(tmp_path, limit=3500)
    for index in range(3):
        cache.put(f"k{index}", bytes(1000))
        os.utime(tmp_path / f"k{index}.sgo", (index, index))
    assert cache.get("k0") is not None  # now the most recent
    cache.put("k3", bytes(1000))
    assert {p.stem for p in tmp_path.glob("*.sgo")} == {"k0", "k2", "k3"}


def test_two_processes_share_a_folder(tmp_path):
    script = f"""
import ctypes
from symgraph.cpu.native import jit
from symgraph.cpu.native.cache import ObjectCache
cache = ObjectCache({str(tmp_path)!r})
for i in range(40):
    text = "define i64 @f() {{\\n  ret i64 %d\\n}}" % (i % 10)
    f = jit.build(text, ["f"], cache=cache)
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(f.address("f"))() == i % 10
    if i % 7 == 0:
        cache.clear()
"""
    root = Path(__file__).resolve().parents[2]
    running = [subprocess.Popen([sys.executable, "-c", script], cwd=root) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert not list(tmp_path.glob(".tmp-*"))


def test_import_does_not_load_llvmlite():
    root = Path(__file__).resolve().parents[2]
    script = "import sys, symgraph.cpu.native.jit; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)


def test_cached_build_is_fast(tmp_path):
    cache = ObjectCache(tmp_path)
    jit.build(VECTOR, ["twice"], cache=cache)
    start = time.perf_counter()
    for _ in range(20):
        jit.build(VECTOR, ["twice"], cache=cache)
    assert (time.perf_counter() - start) / 20 < 0.02
