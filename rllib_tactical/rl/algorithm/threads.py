"""Work in steps on several threads: each chain's steps in order, several chains at a time.

PyTorch computes without Python's lock. A step must compute on one thread: with threads inside
PyTorch's operations its results may differ, and under load all of them wait for each other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

Step = Callable[[], object]


class ChainRunner:
    """Threads that run chains of steps. The thread that asks is one of them.

    Args:
        threads: how many steps run at a time, 2 or more.
    """

    def __init__(self, threads: int) -> None:
        # a new thread would take PyTorch's own number of threads from the machine
        self._others = ThreadPoolExecutor(
            threads - 1, "chains", torch.set_num_threads, (torch.get_num_threads(),)
        )
        self._count = threads - 1

    def run(self, chains: Sequence[Sequence[Step]]) -> None:
        """Run every step of every chain, each chain's in order, and return when all are done.

        The first chain goes first whenever it can, of the others the one with most steps left: give
        the longest first, and the threads end together.

        Raises:
            BaseException: what a step raised; steps that have not begun then never do.
        """
        work = _Chains(chains)
        others = [self._others.submit(work.run) for _ in range(min(self._count, len(chains) - 1))]
        try:
            work.run()
        finally:  # also after Ctrl-C: nothing may compute behind the caller's back
            for other in others:
                other.exception()
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads."""
        self._others.shutdown()


class _Chains:
    """The steps of one call that are left, and who takes which."""

    def __init__(self, chains: Sequence[Sequence[Step]]) -> None:
        self._idle = [deque(chain) for chain in chains if chain]
        self._first = self._idle[0] if self._idle else None
        self._lock = threading.Lock()
        self._failed = False

    def run(self) -> None:
        """Run steps until no chain is idle: what is left then belongs to the other threads."""
        while (chain := self._take()) is not None:
            try:
                chain.popleft()()
            except BaseException:
                self._failed = True
                raise
            self._give(chain)

    def _take(self) -> deque[Step] | None:
        with self._lock:
            if self._failed or not self._idle:
                return None
            chosen = max(self._idle, key=lambda chain: (chain is self._first, len(chain)))
            self._idle = [chain for chain in self._idle if chain is not chosen]
            return chosen

    def _give(self, chain: deque[Step]) -> None:
        if chain:
            with self._lock:
                self._idle.append(chain)
