"""Metadata of the three packages; build system and settings of tools are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (ROOT / "symgraph" / "__init__.py").read_text(), re.MULTILINE
)
assert VERSION is not None

# Results are compared with this release of torch and no other.
TORCH = "torch==2.13.0"

EXTRAS = {
    "nn": ["safetensors>=0.4", "tqdm>=4.60", "scikit-learn>=1.4", "matplotlib>=3.8"],
    "bfloat16": ["ml_dtypes>=0.4"],
    "rl": ["gymnasium>=1.0"],
    "bench": [TORCH, "jax>=0.5", "matplotlib>=3.8", "scikit-learn>=1.4"],
    "cuda": ["pycuda>=2024.1"],
    "onnx": ["onnx>=1.16"],
    "docs": ["matplotlib>=3.8"],
    "dev": [
        "hypothesis>=6.100",
        "matplotlib>=3.8",
        "ml_dtypes>=0.4",
        "mpmath>=1.3",
        "mypy>=1.10",
        "pytest>=8",
        "pytest-xdist>=3.5",
        "ruff>=0.6",
    ],
}

setup(
    name="symgraph",
    version=VERSION.group(1),
    description="A symbolic tensor compiler: graph, derivatives, rewrites, one native function",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="symgraph developers",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["symgraph*", "symgraph_nn*", "symgraph_rl*"]),
    package_data={name: ["py.typed"] for name in ("symgraph", "symgraph_nn", "symgraph_rl")},
    install_requires=["numpy>=2", "llvmlite>=0.49", "networkx>=3", "scipy-openblas32>=0.3.27"],
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Mathematics",
        "Typing :: Typed",
    ],
)
