"""Two bundles, and a copy of one to be spoiled."""

from __future__ import annotations

import shutil

import pytest

from tests.bundle.forgery import actors, export


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """Two bundles, alike but for their weights."""
    folder = tmp_path_factory.mktemp("bundles")
    for seed in (1, 2):
        export(folder / str(seed), actors(seed))
    return folder / "1", folder / "2"


@pytest.fixture
def bundle(originals, tmp_path):
    return shutil.copytree(originals[0], tmp_path / "b")
