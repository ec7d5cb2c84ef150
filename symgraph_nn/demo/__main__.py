"""Command line of the demo: parse, run each part, print what came out."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

import symgraph as sg
import symgraph_nn as nn
from symgraph.debug.draw import draw
from symgraph_nn.demo import against_torch, checks, figures, nets
from symgraph_nn.train import History

BATCH = 32
GOAL = 0.97
MNIST_BATCH, MNIST_EPOCHS = 128, 5
EXAMPLE = "example:  python -m symgraph_nn.demo --quick --out /tmp/demo"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 fine, 1 where a check fails, 2 for wrong usage or missing packages."""
    options = _parser().parse_args(arguments)
    start = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        data = nn.data.digits()
    except nn.data.MissingData as error:
        print(error, file=sys.stderr)
        return 2
    if options.torch and against_torch.torch_version() is None:
        print(
            'torch is not installed: ./dev demo --torch, or pip install "symgraph[bench]"',
            file=sys.stderr,
        )
        return 2
    sg.set_threads(options.threads)
    _introduce(data, options)
    good = True
    runs: dict[str, list[History]] = {}
    for title, build, lr, epochs, picture in (
        ("MLP", nets.mlp, 3e-3, 30, "graph"),
        ("conv net", nets.convnet, 2e-3, 10, ""),
    ):
        count = max(2, epochs // 4) if options.quick else epochs
        task, histories = _train(title, build, lr, count, data, options)
        runs[title] = histories
        good &= _judge(title, histories, options.quick)
        good &= _check_gradient(build, data)
        if picture:
            _draw_graph(task, options.out, picture)
        good &= _beside_torch(task, lr, data, options)
    good &= _mnist(options)
    _overhead()
    path = figures.learning_curves(runs, data.source, options.out / "curves.png")
    _section("pictures")
    print(f"  {path}, {options.out}/graph.svg, {options.out}/graph.png")
    print(f"\n{'done' if good else 'FAILED (see above)'} in {time.perf_counter() - start:.0f} s")
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m symgraph_nn.demo",
        description="Train an MLP and a convolutional net on real digits; show what is compiled.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--torch", action="store_true", help="fail where torch is not installed")
    parser.add_argument("--quick", action="store_true", help="a quarter of the epochs, one seed")
    parser.add_argument("--seed", type=int, default=0, help="first of the three seeds (default 0)")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all"
    )
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder of the pictures")
    return parser


def _section(title: str) -> None:
    print(f"\n== {title} " + "=" * max(0, 90 - len(title)), flush=True)


def _indent(text: str, lines: int | None = None) -> str:
    rows = text.splitlines()
    shown = rows if lines is None or len(rows) <= lines else rows[:lines]
    rest = [] if shown is rows else [f"... {len(rows) - len(shown)} more lines"]
    return "\n".join("  " + row[:116] for row in [*shown, *rest])


def _introduce(data: nn.data.Dataset, options: argparse.Namespace) -> None:
    print(
        f"symgraph {sg.__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    )
    print(
        f"data: {data.source}; {len(data.x_train)} training and {len(data.x_test)} test images, "
        "stratified"
    )


def _train(
    title: str,
    build: nets.Build,
    lr: float,
    epochs: int,
    data: nn.data.Dataset,
    options: argparse.Namespace,
) -> tuple[nets.Task, list[History]]:
    """Show, compile and train one network for each seed."""
    _section(title)
    task = nets.compile_task(title, build, nn.optim.adam(lr), data, BATCH)
    print(_indent(nn.summary(task.model, (BATCH, *data.x_train.shape[1:]))))
    print("\n  the loss as a graph (sg.dprint):")
    print(_indent(str(sg.dprint(task.loss, file="str")), 14))
    print("\n  what the compiler made of the training step (step.explain()):")
    print(_indent(_excerpt(task.step.explain())))
    print(f"\n  compiled, first step included, in {1e3 * task.compile_seconds:.0f} ms")
    histories = []
    for seed in range(options.seed, options.seed + (1 if options.quick else 3)):
        task.reset(seed)
        history = nn.fit(
            task.step,
            (data.x_train, data.y_train),
            epochs=epochs,
            batch=BATCH,
            seed=seed,
            evaluate=lambda: task.accuracy(data.x_test, data.y_test),
            title=f"{title}, seed {seed}",
        )
        histories.append(history)
        print(
            f"  seed {seed}: loss {history.loss[0]:.3f} -> {history.loss[-1]:.4f} in {epochs} "
            f"epochs ({sum(history.seconds):.2f} s), "
            f"test accuracy {100 * history.metrics[-1]:.2f} %",
            flush=True,
        )
    times = np.concatenate([h.step_seconds for h in histories])
    low, middle, high = 1e6 * np.quantile(times, (0.1, 0.5, 0.9))
    print(
        f"  a training step of {BATCH} images: {middle:.0f} us "
        f"(median of {len(times)}; 10 % below {low:.0f}, 10 % above {high:.0f})"
    )
    return task, histories


def _mnist(options: argparse.Namespace) -> bool:
    """Train a network on all of MNIST where it is there; say how to get it where it is not."""
    try:
        data = nn.data.mnist()
    except nn.data.MissingData as error:
        print(f"\n  {_one_line(error)}")
        return True
    _section("MNIST")
    print(f"  data: {data.source}; {len(data.x_train)} training and {len(data.x_test)} test images")
    task = nets.compile_task("MNIST", nets.mnist_mlp, nn.optim.adam(1e-3), data, MNIST_BATCH)
    task.reset(options.seed)
    history = nn.fit(
        task.step,
        (data.x_train, data.y_train),
        epochs=1 if options.quick else MNIST_EPOCHS,
        batch=MNIST_BATCH,
        seed=options.seed,
        evaluate=lambda: task.accuracy(data.x_test, data.y_test),
        title="MNIST",
    )
    accuracy = float(history.metrics[-1])
    step = 1e6 * float(np.median(history.step_seconds))
    print(
        f"  784-256-128-10: test accuracy {100 * accuracy:.2f} % in {sum(history.seconds):.1f} s, "
        f"a step of {MNIST_BATCH} images {step:.0f} us"
    )
    return accuracy >= (0.9 if options.quick else GOAL)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _excerpt(report: str, kernels: int = 12) -> str:
    """Return the report with the middle of a long kernel list left out."""
    lines = report.splitlines()
    rows = [k for k, line in enumerate(lines) if line.startswith("    ")]
    if len(rows) <= kernels:
        return report
    first, last = rows[kernels], rows[-1]
    return "\n".join([*lines[:first], f"    ... {last - first + 1} more", *lines[last + 1 :]])


def _judge(title: str, histories: list[History], quick: bool) -> bool:
    """Print the median accuracy; True where it reaches the goal, or nothing is judged."""
    median = float(np.median([h.metrics[-1] for h in histories]))
    good = median >= GOAL or quick
    mark = "" if median >= GOAL else ("  (quick: not judged)" if quick else "  below the goal")
    print(f"  {title}: median accuracy {100 * median:.2f} %, goal {100 * GOAL:.0f} %{mark}")
    return good


def _check_gradient(build: nets.Build, data: nn.data.Dataset) -> bool:
    error, tried = checks.gradient_error(build, data)
    good = error < 1e-6
    print(
        f"  gradient against finite differences in float64: {tried} entries, largest relative "
        f"difference {error:.1e} {'(good: below 1e-6)' if good else '(BAD: 1e-6 is allowed)'}"
    )
    return good


def _draw_graph(task: nets.Task, out: Path, name: str) -> None:
    """Draw the loss and the step of plain gradient descent: Adam's has three times the nodes."""
    params = list(task.model.params().values())
    gradients = sg.grad(task.loss, params)
    inputs = [n for n in _leaves(task.loss) if n.op.name == "input"]
    updates = {p: p - 0.1 * g for p, g in zip(params, gradients, strict=True)}
    step = sg.function(inputs, task.loss, updates=updates, name="sgd")
    for suffix in (".svg", ".png"):
        draw(step, out / f"{name}{suffix}", f"{task.title}: loss and one step of gradient descent")


def _leaves(root: sg.Variable) -> list[sg.Variable]:
    seen, stack = {root: None}, [root]
    while stack:
        for node in stack.pop().inputs:
            if node not in seen:
                seen[node] = None
                stack.append(node)
    return [n for n in seen if not n.inputs]


def _beside_torch(
    task: nets.Task, lr: float, data: nn.data.Dataset, options: argparse.Namespace
) -> bool:
    version = against_torch.torch_version()
    if version is None:
        print("  torch is not installed, so nothing is compared; ./dev demo --torch does it")
        return True
    c = against_torch.compare(task, data, BATCH, lr, steps=60 if options.quick else 200)
    sg.set_threads(options.threads)
    good = max(c.loss, c.gradient) < against_torch.TOLERANCE
    print(
        f"  torch {version}, same start and batches, one thread each, taking turns:\n"
        f"    losses differ by {c.loss:.1e}, gradients by {c.gradient:.1e} (relative; allowed "
        f"{against_torch.TOLERANCE:g}){'' if good else '  BAD'}\n"
        f"    a step takes {1e6 * c.ours:.0f} us here, {1e6 * c.torch:.0f} us in torch eager: "
        f"{c.torch / c.ours:.2f} times as fast"
    )
    return good


def _overhead() -> None:
    _section("call overhead")
    ours, numpy = checks.call_overhead()
    print(
        f"  x + 1 on ten float32: {1e6 * ours:.3f} us compiled, {1e6 * numpy:.3f} us in NumPy "
        "(median of 15 rounds of 2000 calls)"
    )


if __name__ == "__main__":
    sys.exit(main())
