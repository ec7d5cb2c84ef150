"""A small compiled function for tests of the native entry."""

from symgraph.cpu.entry.call import ArraySpec, Entry, EntrySpec, Slot, emit_entry, entry_names
from symgraph.cpu.native import jit

N = Slot(0, defines=True)
ELEMENT = {
    "bool": "i8",
    "float16": "half",
    "float32": "float",
    "float64": "double",
    "complex64": "i64",
    "complex128": "i128",
}


def element(dtype):
    return ELEMENT.get(dtype) or "i" + dtype.lstrip("uint")


def loop_text(dtype, source=0, target=1, n_index=0, plus_one=True, prologue="", check=""):
    """LLVM text of run: target[i] = source[i] (+ 1), i < dims[n_index]."""
    kind = element(dtype)
    change = "%y = bitcast KIND %x to KIND"
    if plus_one and dtype not in ("bool", "complex64", "complex128"):
        change = "%y = fadd KIND %x, 1.0" if dtype.startswith("float") else "%y = add KIND %x, 1"
    return f"""
define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) {{
entry:
  {prologue}
  %n.at = getelementptr i64, ptr %dims, i64 {n_index}
  %n = load i64, ptr %n.at
  %src.at = getelementptr ptr, ptr %bufs, i64 {source}
  %src = load ptr, ptr %src.at
  %dst.at = getelementptr ptr, ptr %bufs, i64 {target}
  %dst = load ptr, ptr %dst.at
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %p = getelementptr {kind}, ptr %src, i64 %i
  %q = getelementptr {kind}, ptr %dst, i64 %i
  %x = load {kind}, ptr %p, align 1
  {change.replace("KIND", kind)}
  store {kind} %y, ptr %q, align 1
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %loop, label %done
done:
  {check}
  ret i32 0
}}
"""


DERIVE = "define void @derive(ptr %dims) {\n  ret void\n}\n"


class Slow:
    """A slow path that records its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        return "slow"


def fail(status):
    raise ArithmeticError(status)


def make(spec, text, cells=(), slow=None, on_error=fail, derive=DERIVE, **options):
    text = emit_entry(spec) + text + (derive if spec.n_dims else "")
    loaded = jit.build(text, entry_names(spec), verify=True)
    return Entry(loaded, spec, cells, slow or Slow(), on_error, **options)


def vector_spec(dtype="float32", **options):
    out = ArraySpec(dtype, (Slot(0),))
    return EntrySpec((ArraySpec(dtype, (N,)),), outputs=(out,), single=True, n_dims=1, **options)


def add_one(dtype="float32", portable=None, slow=None, **options):
    return make(vector_spec(dtype, **options), loop_text(dtype), slow=slow, portable=portable)
