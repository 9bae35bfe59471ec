"""The files of cluster/, checked by tools that need no cluster."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
MANIFESTS = sorted((CLUSTER / "kuberay").glob("*.yaml"))


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed: pip install 'raykd[dev]'")
    return found


def documents(path: Path) -> list[dict]:
    return list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))  # the CRDs are large


def manifest(kind: str) -> dict:
    return next(doc for path in MANIFESTS for doc in documents(path) if doc["kind"] == kind)


def constrained(package: str) -> str:
    return re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_ray_accepts_the_cluster_files(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())
    with pytest.raises(jsonschema.ValidationError):  # the validator rejects unknown keys
        validate_config(prepare_config(config | {"idle_timout_minutes": 5}))
    config = prepare_config(config)
    validate_config(config)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0} and types["head"]["max_workers"] == 0
    for kind in (kind for key, kind in types.items() if key != "head"):
        assert kind["min_workers"] == 0 < kind["max_workers"] and kind["resources"]["GPU"] == 1
        assert "spot" in str(kind["node_config"]).lower()
    assert config["idle_timeout_minutes"] <= 10 and config["file_mounts"]["~/.ray/auth_token"]
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in command for command in starts if "ray start" in command)
    assert not any("0.0.0.0" in command for command in starts)


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_kuberay_accepts_the_manifest(kind):
    doc = manifest(kind)
    folder = os.environ.get("RAYKD_KUBERAY_CRDS")
    if not folder:
        pytest.skip("RAYKD_KUBERAY_CRDS names no folder with KubeRay's CRDs: only Ray's partial check is made")
    definitions = [doc for path in Path(folder).glob("*.yaml") for doc in documents(path)]
    crd = next(one for one in definitions if one["spec"]["names"]["kind"] == kind)
    (version,) = [v for v in crd["spec"]["versions"] if f"{crd['spec']['group']}/{v['name']}" == doc["apiVersion"]]
    schema = version["schema"]["openAPIV3Schema"]
    jsonschema.validate(doc, schema)
    unknown = list(_unknown(doc["spec"], schema["properties"]["spec"], "spec"))
    assert not unknown  # the API server would drop these without a word


def _unknown(value, schema, where):
    """Fields that a schema of named properties does not have."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{where}[{i}]")
    elif isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key not in schema["properties"]:
                yield f"{where}.{key}"
            else:
                yield from _unknown(item, schema["properties"][key], f"{where}.{key}")


def test_rays_autoscaler_accepts_the_kuberay_cluster():
    """Ray's own code derives the minimum and maximum number of nodes from the manifest."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.util import validate_config

    config = _derive_autoscaling_config_from_ray_cr(manifest("RayCluster"))
    validate_config(config)
    gpu = config["available_node_types"]["gpu"]
    assert (gpu["min_workers"], gpu["max_workers"], gpu["resources"]["GPU"]) == (0, 8, 1)
    assert config["available_node_types"]["headgroup"]["resources"]["CPU"] == 0
    assert config["idle_timeout_minutes"] == 5
    head = manifest("RayCluster")["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    (told,) = [json.loads(one["value"]) for one in head["env"] if one["name"] == "RAYKD_NODE_TYPES"]
    assert told["max_workers"] == config["max_workers"]
    assert told["available_node_types"]["gpu"]["max_workers"] == gpu["max_workers"]
    assert told["available_node_types"]["gpu"]["resources"].items() <= gpu["resources"].items()


def test_the_job_manifest_defines_the_same_cluster():
    assert manifest("RayJob")["spec"]["rayClusterSpec"] == manifest("RayCluster")["spec"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_kubernetes_accepts_pods_and_access_rules(path):
    validate = pytest.importorskip("kubernetes_validate", reason="pip install 'raykd[dev]'")
    for doc in documents(path):
        if doc["kind"] in ("RayCluster", "RayJob"):
            continue
        validate.validate(doc, "1.30", strict=True)
    for pod in pods(path):
        plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": pod}
        validate.validate(plain, "1.30", strict=True)


def pods(path: Path) -> list[dict]:
    found = []
    for doc in documents(path):
        spec = doc.get("spec", {}).get("rayClusterSpec", doc.get("spec", {}))
        if "headGroupSpec" in spec:
            groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
            found += [group["template"]["spec"] for group in groups]
    return found


def test_pods_have_restricted_security_contexts():
    for pod in pods(CLUSTER / "kuberay" / "raycluster.yaml"):
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] != 0
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    role = manifest("Role")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch", "patch"}
    assert "*" not in str(role["rules"]) and "ClusterRole" not in str([documents(path) for path in MANIFESTS])


def test_every_cluster_file_requires_a_token():
    assert manifest("RayCluster")["spec"]["authOptions"] == {"mode": "token"}
    for name in ("aws.yaml", "gcp.yaml", "local.sh", "slurm.sh", "Dockerfile"):
        assert "RAY_AUTH_MODE=token" in (CLUSTER / name).read_text()


def test_all_files_use_the_same_ray_version():
    version = constrained("ray")
    assert f"FROM rayproject/ray:{version}-py311\n" in (CLUSTER / "Dockerfile").read_text()
    assert manifest("RayCluster")["spec"]["rayVersion"] == version


def test_hadolint_accepts_the_dockerfile():
    done = subprocess.run([tool("hadolint"), CLUSTER / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout
    users = re.findall(r"^USER (\S+)$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    assert users[-1].split(":")[0] not in ("0", "root")


def test_the_dockerfile_copies_existing_files():
    """Every COPY source exists and is not ignored, and all files that the installation reads are copied."""
    copied = re.findall(r"^COPY --chown=\S+ (.+) \S+$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    sources = {word for line in copied for word in line.split()}
    allowed = {line[1:] for line in (CLUSTER / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    assert sources == allowed and all((ROOT / source).exists() for source in sources)
    assert {"pyproject.toml", "README.md", "constraints.txt", "raykd"} <= sources


@pytest.mark.parametrize("script", sorted(CLUSTER.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_accepts_the_scripts(script):
    done = subprocess.run([tool("shellcheck"), script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize(("nodes", "ends"), [(1, 0), (3, 5)])
def test_slurm_nodes_use_a_private_folder_that_is_removed(tmp_path, nodes, ends):
    """Stand-ins for SLURM and Ray record their arguments; the folder is inspected during training."""
    (tmp_path / "bin").mkdir()
    stand_ins = {
        "scontrol": "printf 'a\\nb\\nc\\n'",
        "srun": 'echo "srun $*" >> "$LOG"',
        "sleep": ":",
        "ray": 'mkdir -p "$HOME/.ray" && touch "$HOME/.ray/auth_token"',
        "python": f'stat -c "%a %n" "$RAY_TMPDIR" >> "$LOG"; exit {ends}',
    }
    for name, text in stand_ins.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "scratch").mkdir()
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "[a-c]", "SLURM_JOB_NUM_NODES": str(nodes)}
    here = {"LOG": str(tmp_path / "log"), "HOME": str(tmp_path), "RAYKD_TMP": str(tmp_path / "scratch")}
    environment = slurm | here | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", CLUSTER / "slurm.sh", "digits/kd"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == ends, done.stderr
    log = (tmp_path / "log").read_text()
    mode, folder = re.search(r"^(\d+) (/\S+)$", log, re.MULTILINE).groups()
    assert mode == "700" and re.fullmatch(rf"{tmp_path}/scratch/raykd-\w{{8}}", folder)
    assert not any((tmp_path / "scratch").iterdir())
    elsewhere = [line for line in log.splitlines() if "--exclude=a" in line and "ray start" not in line]
    made, removed = (
        f"--nodes={nodes - 1} --ntasks={nodes - 1} --exclude=a {what} {folder}" for what in ("mkdir -m 700", "rm -rf")
    )
    assert [line.removeprefix("srun --overlap ") for line in elsewhere] == [made, removed][: 2 * (nodes > 1)]
