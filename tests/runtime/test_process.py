"""Threads of numerical libraries, and native noise on standard error."""

from __future__ import annotations

import os

import pytest
import torch

from rllib_tactical.runtime.process import (
    disable_uninitialized_memory_fill,
    limit_threads,
    without_expected_noise,
)

NOISE = b"(1) actor X has constructor arguments in the object store and max_restarts > 0\n"


@pytest.fixture
def _threads_as_before() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads_as_before")
def test_a_process_has_one_thread_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "TORCH_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert limit_threads() == torch.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert limit_threads() == torch.get_num_threads() == 2
    monkeypatch.setenv("TORCH_NUM_THREADS", "1")
    assert limit_threads() == torch.get_num_threads() == 1


def test_memory_that_nothing_was_written_to_stays_as_it_is() -> None:
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    disable_uninitialized_memory_fill()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_only_the_known_lines_are_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with without_expected_noise():
        os.write(2, b"before\n" + NOISE + b"a real error, without an end")
    assert capfd.readouterr().err == "before\na real error, without an end"


def test_after_an_error_standard_error_is_there_again(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="boom"), without_expected_noise():
        os.write(2, NOISE + b"why\n")
        raise RuntimeError("boom")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "why\nafter\n"
