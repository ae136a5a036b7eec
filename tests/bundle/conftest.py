"""Two bundles, and a copy of one to be spoiled."""

from __future__ import annotations

import shutil

import pytest

from rllib_tactical.bundle.bundle import load_bundle
from tests.bundle.forgery import actors, export
from tests.lifecycle.conftest import child_of


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


@pytest.fixture(scope="session")
def family(originals, tmp_path_factory):
    """Three bundles, each the parent of the next."""
    made = [load_bundle(originals[0])]
    for number in (2, 3):
        made.append(child_of(made[-1], tmp_path_factory.mktemp("family") / str(number), number))
    return made
