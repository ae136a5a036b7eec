"""The Kubernetes manifests as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CLUSTER = {
    "RayJob": "rayClusterSpec",
    "RayService": "rayClusterConfig",
    "RayCronJob": "rayClusterSpec",
}
"""By kind of KubeRay's resources: where the cluster is described."""


def read_manifests(root: Path, name: str) -> list[dict[str, Any]]:
    """Return the documents of a file."""
    text = (root / "deploy" / "kuberay" / name).read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def read_manifest(root: Path, name: str) -> dict[str, Any]:
    """Return the only resource of KubeRay in a file."""
    (document,) = [each for each in read_manifests(root, name) if each["kind"] in CLUSTER]
    return document


def job_of(resource: dict[str, Any]) -> dict[str, Any]:
    """Return what a KubeRay resource starts: that of a cron job is a template."""
    spec: dict[str, Any] = resource["spec"]
    return spec["jobTemplate"] if resource["kind"] == "RayCronJob" else spec


def groups(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the head's and the workers' group of a KubeRay resource."""
    cluster = job_of(resource)[CLUSTER[resource["kind"]]]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
