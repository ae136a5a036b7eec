"""Settings of the process itself: threads of numerical libraries, noise of native code."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_EXPECTED_NOISE = (
    # RLlib passes its configuration to env runners as an object that the driver keeps alive
    b"has constructor arguments in the object store and max_restarts > 0",
)


def limit_threads() -> int:
    """Give numerical libraries one thread per process unless OMP_NUM_THREADS says otherwise.

    Ray runs one process per core already; with more threads than cores an iteration of training
    takes several times as long. TORCH_NUM_THREADS overrides the number for PyTorch alone.

    Returns:
        The number of PyTorch threads.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    threads = int(os.environ.get("TORCH_NUM_THREADS", os.environ["OMP_NUM_THREADS"]))
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return threads


def disable_uninitialized_memory_fill() -> None:
    """Keep PyTorch from writing NaN into all memory that it allocates.

    It does so while only deterministic algorithms are allowed, which a seed makes RLlib ask for: to
    show reads of memory that nothing was written to. Nothing here reads such memory, and the
    writing takes 4% of an update and 10% of a forward pass.
    """
    import torch

    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def without_expected_noise() -> Iterator[None]:
    """Hold back what native code writes to stderr and pass it on without known harmless lines.

    Ray's core logs the line at its level ERROR, past Python's logging and ``sys.stderr``, for each
    env runner that RLlib creates. RAY_BACKEND_LOG_LEVEL=fatal alone would silence it, and every
    other error of Ray with it; so descriptor 2 itself is redirected while they are created.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught.read().splitlines(keepends=True):
                if not any(noise in line for noise in _EXPECTED_NOISE):
                    os.write(2, line)
