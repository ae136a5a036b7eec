"""The Kubernetes manifests as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CLUSTER = {"RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}


def read_manifests(root: Path, name: str) -> list[dict[str, Any]]:
    """Return the documents of a file."""
    text = (root / "deploy" / "kuberay" / name).read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def read_manifest(root: Path, name: str) -> dict[str, Any]:
    """Return the only document of a file."""
    (document,) = read_manifests(root, name)
    return document


def groups(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the head's and the workers' group of a KubeRay resource."""
    cluster = resource["spec"][CLUSTER[resource["kind"]]]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
