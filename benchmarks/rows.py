"""The rows of the benchmark: what is computed, on which arrays. How, is said by each peer.

A row is data. Its `kind` names one builder in each module of `benchmarks.peers`; a peer without a
builder of that kind has no cell in the row. Arrays come from a seed, so all peers get the same.
"""

from __future__ import annotations

import fnmatch
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.convnets import CONVNETS
from benchmarks.fft import specifications
from benchmarks.models import SIZES, WIDTH, parameter_count
from benchmarks.nets import DEPTHS, NETS, PRODUCTS, UPDATE, Net, NetData, make_net
from benchmarks.recurrences import RECURRENCES
from benchmarks.simulations import DRAWS, END, EXAMPLES, FEATURES, FIXED_STEP

# ("fc", width), ("conv", channels, kernel, padding) or ("pool", size)
Layer = tuple[str | int, ...]
RATE = 0.01  # step size of SGD


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    shapes: of the inputs (expressions), all of type `dtype`. indices: how many integers follow
    them, and the number below which they are. window: stride, padding and groups of a convolution.
    net, batch, image: the network, the rows of a batch and the shape of one example (kinds "train"
    and "hvp"). model: a whole model (kinds "step", "update", "net_hvp" and "ggn"). start: "cold" or
    "warm" for rows that time the start in a fresh process, "memory" for its peak memory in bytes.
    after: a row whose function is compiled first. turns: how many functions with operands of their
    own run in turn, so that none finds its operands in a near cache; the time is that of one.
    """

    name: str
    kind: str
    text: str
    shapes: tuple[tuple[int, ...], ...] = ()
    indices: tuple[int, int] = (0, 0)
    window: tuple[int, int, int] = (1, 0, 1)
    net: tuple[Layer, ...] = ()
    batch: int = 0
    image: tuple[int, ...] = ()
    model: Net | None = None
    start: str = ""
    after: str = ""
    dtype: str = "float32"
    turns: int = 1

    @property
    def group(self) -> str:
        """Return the part of the name before the first dot."""
        return self.name.split(".")[0]


@dataclass(frozen=True, slots=True)
class Data:
    """Arrays of a row: inputs, int64 labels, parameters and a direction like them, or a model's."""

    inputs: list[np.ndarray]
    labels: np.ndarray
    params: list[np.ndarray]
    direction: list[np.ndarray]
    net: NetData | None = None


def dense(*widths: int) -> tuple[Layer, ...]:
    """Return the layers of a multi-layer perceptron with these widths after the input."""
    return tuple(("fc", w) for w in widths)


LENET = (("conv", 6, 5, 2), ("pool", 2), ("conv", 16, 5, 0), ("pool", 2), *dense(120, 84, 10))
DIGITS = (("conv", 16, 3, 1), ("pool", 2), ("conv", 32, 3, 1), ("pool", 2), *dense(10))
SQUARE = (4096, 4096)
TALL = (4096, 1024)
CHAIN = "log1p(exp(-tanh(x*y + 1)**2))*x - y*0.5"


def _same(kind: str, text: str, **variants: tuple[tuple[int, ...], ...]) -> list[Row]:
    return [Row(k.replace("__", "."), kind, text, shapes) for k, shapes in variants.items()]


def _far(m: int, k: int, n: int, turns: int) -> Row:
    """A product whose weights come from a far cache, as in a step that has others between."""
    text = f"x @ y, {turns} pairs of operands in turn"
    return Row(f"matmul.far_{m}x{k}x{n}", "matmul", text, ((m, k), (k, n)), turns=turns)


def _starts() -> list[Row]:
    pair = ((256, 256), (256, 256))
    found = []
    for start in ("cold", "warm"):
        note = "empty cache" if start == "cold" else "cache filled by an earlier process"
        found += [
            Row(
                f"compile.tanh_sum.{start}",
                "tanh_sum",
                f"tanh(x*y+1).sum(), {note}",
                pair,
                start=start,
            ),
            Row(
                f"compile.second.{start}",
                "second_sum",
                f"tanh(x-y*2).sum() after the one above, {note}",
                pair,
                start=start,
                after=f"compile.tanh_sum.{start}",
            ),
            Row(
                f"compile.mlp.{start}",
                "train",
                f"SGD step of the MLP 784-500-500-10, {note}",
                net=dense(500, 500, 10),
                batch=128,
                image=(784,),
                start=start,
            ),
            Row(
                f"compile.conv.{start}",
                "train",
                f"SGD step of the small convolutional network, {note}",
                net=DIGITS,
                batch=32,
                image=(1, 8, 8),
                start=start,
            ),
        ]
    return found


def _nets() -> list[Row]:
    small, large = dense(64, 64, 10), dense(500, 500, 10)
    step, hvp = "SGD step, cross-entropy, ", "Hessian-vector product, tanh, cross-entropy, "
    return [
        _net("train.mlp_small_b1", step + "32-64-64-10, batch 1", small, 1, 32),
        _net("train.mlp_small_b32", step + "32-64-64-10, batch 32", small, 32, 32),
        _net("train.mlp_b128", step + "784-500-500-10, batch 128", large, 128, 784),
        _net("train.lenet_b32", step + "LeNet, batch 32", LENET, 32, 1, 28, 28),
        _net("train.digits_b32", step + "2 conv, 8x8, batch 32", DIGITS, 32, 1, 8, 8),
        _net("hvp.mlp_small_b32", hvp + "32-64-64-10, batch 32", small, 32, 32),
        _net("hvp.mlp_b128", hvp + "784-500-500-10, batch 128", large, 128, 784),
    ]


def _net(name: str, text: str, net: tuple[Layer, ...], batch: int, *image: int) -> Row:
    return Row(name, name.split(".", maxsplit=1)[0], text, net=net, batch=batch, image=image)


def _models() -> list[Row]:
    """Whole models: steps, products with second derivatives, and their compilation."""
    models = {**NETS, **CONVNETS}
    rows = [
        Row("train.adam_1e7", "update", "Adam update of 10^7 parameters", model=UPDATE),
        *(Row(f"train.{n}", "step", text, model=net) for n, (text, net) in models.items()),
        *(Row(f"hvp.{n}", kind, text, model=net) for n, (kind, text, net) in PRODUCTS.items()),
    ]
    for name, (text, net) in models.items():
        what = f"peak memory of three steps above that of the imports, {text}"
        rows.append(Row(f"memory.{name}", "step", what, model=net, start="memory"))
    for name, (text, net) in {**models, **DEPTHS}.items():
        for start, note in (("cold", "empty cache"), ("warm", "cache filled earlier")):
            row = f"compile.{name}.{start}"
            rows.append(Row(row, "step", f"step, {text}, {note}", model=net, start=start))
    return rows


def _convolutions() -> list[Row]:
    """Layers of known networks: one example of their images, forward and both gradients."""
    layers = {  # channels, size, filters, kernel, stride, padding, groups, batch
        "vgg1": (3, 224, 64, 3, 1, 1, 1, 1),
        "vgg5": (256, 56, 256, 3, 1, 1, 1, 1),
        "alexnet2": (64, 27, 192, 5, 1, 2, 1, 1),
        "stem7x7": (3, 224, 64, 7, 2, 3, 1, 1),
        "resnet18_b16": (64, 32, 64, 3, 1, 1, 1, 16),
        "pointwise_b16": (192, 28, 64, 1, 1, 0, 1, 16),
        "depthwise_b16": (128, 28, 128, 3, 1, 1, 128, 16),
        "policy_b32": (4, 84, 32, 8, 4, 0, 1, 32),
    }
    shapes = {  # of AlexNet, OverFeat, VGG-A, GoogLeNet, ResNet-18 and a policy network
        "alexnet1": (3, 227, 96, 11, 4, 0, 1),
        "overfeat2": (96, 24, 256, 5, 1, 0, 1),
        "vgg2": (64, 112, 128, 3, 1, 1, 1),
        "vgg8": (512, 14, 512, 3, 1, 1, 1),
        "googlenet1x1": (832, 7, 256, 1, 1, 0, 1),
        "googlenet5x5": (16, 28, 32, 5, 1, 2, 1),
        "resnet_down": (64, 56, 128, 3, 2, 1, 1),
        "resnet_last": (512, 7, 512, 3, 1, 1, 1),
        "policy1": (4, 84, 32, 8, 4, 0, 1),
        "policy2": (32, 20, 64, 4, 2, 0, 1),
    }
    for name, shape in shapes.items():
        layers |= {f"{name}_b{batch}": (*shape, batch) for batch in (1, 16)}
    found = []
    for name, (c, n, f, k, stride, pad, groups, batch) in layers.items():
        out = (n + 2 * pad - k) // stride + 1
        x, w, y = (batch, c, n, n), (f, c // groups, k, k), (batch, f, out, out)
        text = f"{batch}x{c}x{n}x{n} by {f} filters {k}x{k}, stride {stride}, groups {groups}"
        for kind, what, shapes in (
            ("conv", "", (x, w)),
            ("conv_dx", "gradient of the images, ", (x, w, y)),
            ("conv_dw", "gradient of the filters, ", (x, w, y)),
        ):
            row = f"conv.{name}{kind.removeprefix('conv')}"
            found.append(Row(row, kind, what + text, shapes, window=(stride, pad, groups)))
    return found


def _memory() -> list[Row]:
    """Rows that are bound by memory or by elementary functions."""
    line, wide, long = (1024,), (1024, 1024), (10**7,)
    table = (8192, 512)
    batch = (64, 64, 28, 28)
    return [
        Row("chain.gelu_1e6", "gelu", "x * (1 + erf(x / sqrt(2))) / 2", ((10**6,),)),
        Row("rows.log_softmax_1024", "log_softmax", "log-softmax of rows", (wide,)),
        Row("rows.rmsnorm_4096", "rmsnorm", "x / sqrt(mean(x^2) + 1e-5) * g of rows", (TALL, line)),
        Row("rows.softmax_grad_1024", "softmax_grad", "gradient through softmax", (wide, wide)),
        Row(
            "rows.layernorm_grad_4096",
            "layernorm_grad",
            "gradients through layer norm",
            (TALL, line, line, TALL),
        ),
        Row("rows.batchnorm_b64", "batchnorm", "batch norm, 64x64x28x28", (batch, (64,), (64,))),
        Row("reduce.sqdiff_1e7", "sqdiff", "sum((x - y)^2), 10^7", (long, long)),
        Row("reduce.sum_strided", "sum_strided", "sum of x[::2, ::2] of 4096x4096", (SQUARE,)),
        Row("reduce.cumsum_ax1", "cumsum", "cumulative sum along axis 1 of 4096x1024", (TALL,)),
        Row("move.transpose_add", "transpose_add", "x + x.T of 2048x2048", ((2048, 2048),)),
        Row("move.concatenate", "concatenate", "three 1024x1024 on axis 1", (wide, wide, wide)),
        Row("move.gather", "gather", "8192 rows of 8192x512", (table,), indices=(8192, 8192)),
        Row(
            "move.scatter_add",
            "scatter_add",
            "8192 rows of 512 added to rows of 8192x512",
            (table, table),
            indices=(8192, 8192),
        ),
    ]


def _loops() -> list[Row]:
    """Recurrences of 1000 steps, and derivatives by all directions or examples at once."""
    steps, n = 1000, WIDTH
    gru = ((steps, n), (n,), (n, 3 * n), (n, 3 * n), (3 * n,))
    shapes: dict[str, tuple[str, tuple[tuple[int, ...], ...]]] = {
        "kalman": ("scalar Kalman filter", ((steps,),)),
        "decay": (f"h = tanh(0.9 h + x), {n} wide", ((steps, n), (n,))),
        "gru": (f"gated recurrent unit, {n} wide", gru),
    }
    found = []
    for kind, (text, inputs) in shapes.items():
        found.append(Row(f"scan.{kind}", kind, f"{text}, {steps} steps", inputs))
        grad = f"gradient of the sum of squared states, {text}, {steps} steps"
        found.append(Row(f"scan.{kind}_grad", f"{kind}_grad", grad, inputs))
    for name, shape in {"1e3": (steps,), "1e5": (100 * steps,), "wide_1e3": (steps, n),
                        "wide_1e5": (100 * steps, n)}.items():  # fmt: skip
        text = f"associative scan of h = a h + x, {shape[0]} steps"
        text += f", {n} wide" * (len(shape) - 1)
        found.append(Row(f"scan.linear_{name}", "linear", text, (shape, shape)))
        grad = "gradient of the sum of squared states, " + text
        found.append(Row(f"scan.linear_{name}_grad", "linear_grad", grad, (shape, shape)))
    sampler = ((EXAMPLES, FEATURES), (EXAMPLES,), (DRAWS, FEATURES), (DRAWS, 2))
    oscillator = f"van der Pol's oscillator to t = {END:.0f} by a while loop"
    found += [
        Row("scan.ode_rk4", "rk4", f"{oscillator}, Runge-Kutta, step {FIXED_STEP}", ((2,),)),
        Row("scan.ode_adaptive", "adaptive", f"{oscillator}, steps by an estimate", ((2,),)),
        Row("scan.mala", "mala", f"{DRAWS} Langevin steps with Metropolis tests", sampler),
    ]
    p = ((parameter_count(),), (32, SIZES[0]), (32, SIZES[-1]))
    what = f"tanh network of {parameter_count()} parameters, 32 examples"
    jacobian = ((1000,), (1000, 100))
    found.append(Row("higher.jacobian", "jacobian", "of tanh(x @ w), 100 by 1000", jacobian))
    found.append(Row("higher.hessian", "hessian", f"full Hessian, {what}", p))
    found.append(Row("higher.per_example", "per_example", f"gradient per example, {what}", p))
    return found


def _all() -> list[Row]:
    wide = (1024, 1024)
    rows = [
        Row("call.add1_n10", "add1", "x + 1 on 10 numbers: the price of a call", ((10,),)),
        *_same(
            "chain",
            f"ten operations: {CHAIN}",
            **{f"chain.1e{k}": ((10**k,), (10**k,)) for k in (3, 5, 7)},
        ),
        *_same(
            "softmax",
            "softmax of rows",
            rows__softmax_1024=(wide,),
            rows__softmax_4096=(TALL,),
        ),
        *_same(
            "layernorm",
            "(x - mean)/sqrt(var + 1e-5)*g + b of rows",
            rows__layernorm_1024=(wide, (1024,), (1024,)),
            rows__layernorm_4096=(TALL, (1024,), (1024,)),
        ),
        *_same(
            "logsumexp",
            "log-sum-exp of rows",
            rows__logsumexp_1024=(wide,),
            rows__logsumexp_4096=(TALL,),
        ),
        Row("reduce.sum_all", "sum_all", "sum of 4096x4096", (SQUARE,)),
        Row("reduce.sum_ax0", "sum_ax0", "sum over axis 0 of 4096x4096", (SQUARE,)),
        Row("reduce.sum_ax1", "sum_ax1", "sum over axis 1 of 4096x4096", (SQUARE,)),
        Row("reduce.max_ax1", "max_ax1", "maximum over axis 1 of 4096x1024", (TALL,)),
        Row("reduce.argmax_ax1", "argmax_ax1", "argmax over axis 1 of 4096x1024", (TALL,)),
        Row("reduce.var_ax1", "var_ax1", "variance over axis 1 of 4096x1024", (TALL,)),
        Row("move.outer_add", "outer_add", "x[:, None] + y, 4096 each", ((4096,), (4096,))),
        Row("move.transpose", "transpose", "transpose of 4096x4096, copied", (SQUARE,)),
        *_same(
            "matmul",
            "x @ y",
            matmul__64=((64, 64), (64, 64)),
            matmul__256=((256, 256), (256, 256)),
            matmul__1024=(wide, wide),
            matmul__batched_1024x16=((1024, 16, 16), (1024, 16, 16)),
            matmul__skinny_32x784x512=((32, 784), (784, 512)),
            matmul__gemv_1024=(wide, (1024,)),
        ),
        _far(128, 784, 512, 8),
        _far(20, 1024, 1024, 5),
        Row(
            "matmul.bias_relu",
            "bias_relu",
            "relu(x @ w + b), 128x784x500",
            ((128, 784), (784, 500), (500,)),
        ),
        *(Row(n, k, t, (shape,), dtype=d) for n, k, t, shape, d in specifications()),
        *_memory(),
        *_convolutions(),
        *_nets(),
        *_models(),
        *_loops(),
        *_starts(),
    ]
    order = list(dict.fromkeys(row.group for row in rows))
    return sorted(rows, key=lambda row: order.index(row.group))


ROWS: dict[str, Row] = {row.name: row for row in _all()}


def recurrence(kind: str, width: int, steps: int, grad: bool) -> Row:
    """Return a row of `benchmarks.loops_sweep`, which is not one of ROWS."""
    made = RECURRENCES[kind]
    name = f"loop.{kind}{'_grad' if grad else ''}.{width}x{steps}"
    text = f"{made.text}, {width} wide, {steps} steps"
    return Row(name, kind, text, made.shapes(width, steps))


def find(name: str) -> Row:
    """Return the row of a name; KeyError where there is none."""
    if name in ROWS or not name.startswith("loop."):
        return ROWS[name]
    _, kind, size = name.split(".")
    width, steps = size.split("x")
    return recurrence(kind.removesuffix("_grad"), int(width), int(steps), kind.endswith("_grad"))


def select(patterns: Sequence[str]) -> list[Row]:
    """Return the rows matched by names, groups or shell patterns; all rows for no pattern.

    Raises KeyError with the pattern that matches nothing.
    """
    chosen: dict[str, Row] = {}
    for pattern in patterns or ["*"]:
        found = [
            r for r in ROWS.values() if r.group == pattern or fnmatch.fnmatch(r.name, pattern)
        ] or [r for r in ROWS.values() if r.name.startswith(pattern)]
        if not found:
            raise KeyError(pattern)
        chosen.update((r.name, r) for r in found)
    return [r for r in ROWS.values() if r.name in chosen]


def make(row: Row, turn: int = 0) -> Data:
    """Return the arrays of a row; equal in every process."""
    seed = zlib.crc32(row.name.encode())
    rng = np.random.default_rng([seed, turn] if turn else seed)

    def normal(shape: tuple[int, ...]) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    if row.model:
        return Data([], np.zeros(0, np.int64), [], [], make_net(row.model, rng))
    if row.dtype != "float32":
        whole = [rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in row.shapes]
        inputs = [(z if row.dtype.startswith("c") else z.real).astype(row.dtype) for z in whole]
        return Data(inputs, np.zeros(0, np.int64), [], [])
    if not row.net:
        count, limit = row.indices
        indices = [rng.integers(0, limit, count)] if count else []
        inputs = [normal(s) for s in row.shapes]
        return Data([*inputs, *indices], np.zeros(0, np.int64), [], [])
    shapes = parameter_shapes(row)
    params = [
        normal(s) / np.float32(math.sqrt(fan)) if fan else np.zeros(s, np.float32)
        for s, fan in shapes
    ]
    inputs = [normal((row.batch, *row.image))]
    labels = rng.integers(0, int(row.net[-1][1]), row.batch)
    return Data(inputs, labels, params, [normal(p.shape) for p in params])


def parameter_shapes(row: Row) -> list[tuple[tuple[int, ...], int]]:
    """Return (shape, fan-in) of weights and biases in order; the fan-in of a bias is 0.

    Dense weights are (in, out), filters are (out, in, kernel, kernel).
    """
    shape, found = tuple(row.image), []
    for layer in row.net:
        size = int(layer[1])
        if layer[0] == "conv":
            kernel, pad = int(layer[2]), int(layer[3])
            found += [((size, shape[0], kernel, kernel), shape[0] * kernel**2), ((size,), 0)]
            shape = (size, *(n + 2 * pad - kernel + 1 for n in shape[1:]))
        elif layer[0] == "pool":
            shape = (shape[0], *(n // size for n in shape[1:]))
        else:
            width = math.prod(shape)
            found += [((width, size), width), ((size,), 0)]
            shape = (size,)
    return found
