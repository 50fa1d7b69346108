"""The device itself: torch believes in two GPUs on a machine that has none.

Inside `FakeTensorMode` tensors claim to be on "cuda": operations check devices and dtypes as on a
GPU, and autocast goes by CUDA's own lists of operations.  Nothing is computed.  torch's C++ side is
told by a stub of its CUDA hooks (stub.cpp), compiled once with the system's compiler and kept in
build/; its Python side by the stand-ins of cuda.py.
"""

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["compiler", "load"]

COMPILERS = ("c++", "g++", "clang++")
BUILD = Path(__file__).resolve().parents[2] / "build" / "fakegpu"
SOURCE = Path(__file__).with_name("stub.cpp")


def compiler() -> str:
    """The path of the system's C++ compiler; empty if there is none."""
    return next((found for name in COMPILERS if (found := shutil.which(name))), "")


def load() -> None:
    """Makes torch believe; it comes before anything imports torch.

    Raises:
        RuntimeError: torch is imported already, or there is no C++ compiler.
    """
    if "torch" in sys.modules:
        raise RuntimeError("torch is imported already: it has asked for its GPUs and found none")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    stub = ctypes.CDLL(str(_built()), mode=ctypes.RTLD_GLOBAL)
    from tests.fakegpu.cuda import install

    install(stub)


def _built() -> Path:
    """The stub for the torch that is installed."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("torch is not installed")
    root = Path(spec.submodule_search_locations[0])
    key = hashlib.sha256(SOURCE.read_bytes() + (root / "version.py").read_bytes()).hexdigest()[:16]
    out = BUILD / f"{key}.so"
    if out.exists():
        return out
    if not compiler():
        raise RuntimeError(f"no C++ compiler is here: looked for {', '.join(COMPILERS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(f".{os.getpid()}")
    subprocess.run(
        [
            *(compiler(), "-shared", "-fPIC", "-O0", "-std=c++20", str(SOURCE), "-o", str(part)),
            *(f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include"),
            *(f"-L{root}/lib", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{root}/lib"),
        ],
        check=True,
    )
    part.replace(out)
    return out
