"""The demo's networks: trained, checked by finite differences, in debug mode, and against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
import symgraph_nn as nn
from symgraph_nn.demo import __main__ as demo
from symgraph_nn.demo import against_torch, checks, nets

BUILDS = {"mlp": nets.mlp, "convnet": nets.convnet}
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def digits() -> nn.data.Dataset:
    return nn.data.digits()


def test_demo_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--quick", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for part in ("what the compiler made", "finite differences", "us compiled", "scikit-learn"):
        assert part in text
    for name in ("curves.png", "graph.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)
    assert "<svg" in (tmp_path / "graph.svg").read_text()


def test_wrong_option_exits_with_2() -> None:
    with pytest.raises(SystemExit) as error:
        demo.main(["--sed", "1x"])
    assert error.value.code == 2


def test_mlp_reaches_97_percent(digits: nn.data.Dataset) -> None:
    task = nets.compile_task("mlp", nets.mlp, nn.optim.adam(3e-3), digits, 32)
    found = []
    for seed in range(3):
        task.reset(seed)
        nn.fit(task.step, (digits.x_train, digits.y_train), epochs=30, batch=32, seed=seed)
        found.append(float(task.accuracy(digits.x_test, digits.y_test)))
    assert np.median(found) >= 0.97


def test_reset_starts_the_same_run_again(digits: nn.data.Dataset) -> None:
    task = nets.compile_task("mlp", nets.mlp, nn.optim.adam(3e-3), digits, 32)
    runs = []
    for _ in range(2):
        task.reset(5)
        runs.append([float(task.step(digits.x_train[:32], digits.y_train[:32])) for _ in range(5)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("name", BUILDS)
def test_gradient_agrees_with_finite_differences(name: str, digits: nn.data.Dataset) -> None:
    error, tried = checks.gradient_error(BUILDS[name], digits)
    assert tried > 50 and error < 1e-6


@pytest.mark.parametrize("name", BUILDS)
def test_debug_mode_finds_no_disagreement(name: str, digits: nn.data.Dataset) -> None:
    with sg.config.override(mode="debug"):
        task = nets.compile_task(name, BUILDS[name], nn.optim.adam(1e-3), digits, 8)
        for _ in range(2):
            task.step(digits.x_train[:8], digits.y_train[:8])
        task.accuracy(digits.x_test[:8], digits.y_test[:8])


@pytest.mark.torch
@pytest.mark.parametrize("name", BUILDS)
def test_losses_and_gradients_equal_torch(name: str, digits: nn.data.Dataset) -> None:
    task = nets.compile_task(name, BUILDS[name], nn.optim.adam(1e-3), digits, 32)
    c = against_torch.compare(task, digits, 32, 1e-3, steps=25)
    assert max(c.loss, c.gradient) < against_torch.TOLERANCE


@pytest.mark.torch
def test_wrong_step_is_seen_beside_torch(digits: nn.data.Dataset) -> None:
    task = nets.compile_task("mlp", nets.mlp, nn.optim.adam(2e-3), digits, 32)
    assert against_torch.compare(task, digits, 32, 1e-3, steps=25).loss > against_torch.TOLERANCE


@pytest.mark.torch
def test_torch_is_the_pinned_release() -> None:
    setup = (Path(__file__).parents[2] / "setup.py").read_text()
    version: Any = against_torch.torch_version()
    assert f'TORCH = "torch=={version.split("+")[0]}"' in setup
