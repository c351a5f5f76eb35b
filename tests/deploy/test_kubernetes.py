"""Tests of deploy/kubernetes."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from typer.main import get_command

from app.settings import Settings
from tests.deploy.files import DEPLOY, documents, manifest, manifests
from training.cli import app

# Whose schemas are not part of Kubernetes itself.
FOREIGN = {"Kustomization", "ServiceMonitor"}
OWN = [m for m in manifests() if m["kind"] not in FOREIGN]
PODS = [m for m in OWN if m["kind"] in {"Deployment", "CronJob"}]


def name(m: dict[str, Any]) -> str:
    """As tests are named."""
    return f"{m['kind']}/{m['metadata']['name']}"


def template(m: dict[str, Any]) -> dict[str, Any]:
    """What the pods of a Deployment or a CronJob are made after."""
    spec = m["spec"]["jobTemplate"]["spec"] if m["kind"] == "CronJob" else m["spec"]
    found: dict[str, Any] = spec["template"]
    return found


def containers(m: dict[str, Any]) -> list[dict[str, Any]]:
    """All containers of its pods."""
    pod = template(m)["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
@pytest.mark.parametrize("m", OWN, ids=name)
def test_every_object_is_of_the_schema_of_its_kind(m: dict[str, Any], version: str) -> None:
    """Kubernetes' own schemas, unknown fields refused, take every object: an older, a recent and the newest version."""
    kubernetes_validate.validate(m, version, strict=True)


def test_the_schema_check_can_fail() -> None:
    """A misspelt field is refused."""
    wrong = {**manifest("Service"), "spec": {"selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_the_kustomization_takes_every_file_but_the_examples() -> None:
    """No object is forgotten, and no example is applied."""
    folder = DEPLOY / "kubernetes"
    (kustomization,) = documents(folder / "kustomization.yaml")
    files = {path.name for path in folder.glob("*.yaml")}
    examples = {file for file in files if file.endswith(".example.yaml")}
    assert set(kustomization["resources"]) == files - examples - {"kustomization.yaml"}
    assert len(examples) == 3


@pytest.mark.parametrize("m", manifests(), ids=lambda m: m["kind"])
def test_no_object_names_a_namespace(m: dict[str, Any]) -> None:
    """Where things run is for whoever applies them."""
    assert "namespace" not in m.get("metadata", {})


@pytest.mark.parametrize("m", PODS, ids=name)
def test_pods_are_confined(m: dict[str, Any]) -> None:
    """No root, no capability, no writable root, no escalation, the default system calls, no token, bounded memory."""
    pod = template(m)["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in containers(m):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_the_user_is_that_of_the_image() -> None:
    """The Dockerfile's user and the manifest's are one."""
    text = (DEPLOY.parent / "Dockerfile").read_text(encoding="utf-8")
    user = manifest("Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in text


def test_probes_ask_what_the_service_answers() -> None:
    """Liveness is never readiness: a pod without a bundle must not be restarted, only left out."""
    (container,) = containers(manifest("Deployment"))
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    paths = {probe: container[probe]["httpGet"]["path"] for probe in probes}
    assert paths == {
        "startupProbe": "/health/ready",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }


def test_there_is_time_to_drain() -> None:
    """The pause before SIGTERM and the service's own ten seconds fit into the grace period."""
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= pause + 10


def test_selectors_meet() -> None:
    """Services, autoscaler, budget, policy and monitor reach the Deployment's pods; the monitor scrapes them once."""
    deployment = manifest("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    services = [m for m in manifests() if m["kind"] == "Service"]
    assert all(service["spec"]["selector"] == labels for service in services)
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    scaled = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", deployment["metadata"]["name"])
    chosen = manifest("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    scraped = [s["metadata"]["name"] for s in services if chosen.items() <= s["metadata"]["labels"].items()]
    assert scraped == ["pltv"]


def test_the_monitor_speaks_of_the_service_as_the_rules_do() -> None:
    """`jobLabel` names a label whose value is the job that rules and dashboard select; its port exists."""
    monitor, service = manifest("ServiceMonitor"), manifest("Service")
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "pltv"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_the_policy_lets_in_callers_and_scrapes_and_lets_out_names_and_redis() -> None:
    """Both directions are named, so that everything else is refused."""
    policy = manifest("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] for rule in policy["ingress"])
    assert sorted({port["port"] for rule in policy["egress"] for port in rule["ports"]}) == [53, 6379]
    assert all(rule["to"] for rule in policy["egress"])


def test_settings_in_the_manifests_exist_and_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every PLTV_ variable of the ConfigMap and of the example Secret is a setting, and its value is taken."""
    given = {**manifest("ConfigMap")["data"], **manifest("Secret")["stringData"]}
    known = {f"PLTV_{field.upper()}" for field in Settings.model_fields}
    assert set(given) <= known
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    assert str(Settings().deadline_ms) == given["PLTV_DEADLINE_MS"]


def test_the_schedule_runs_a_command_that_exists() -> None:
    """Each of its options is one of `pltv retrain`; it is let in by the policy, and never runs twice at once."""
    job = manifest("CronJob", "pltv-retrain")
    (container,) = containers(job)
    command, *given = container["args"]
    known = {opt for param in get_command(app).commands[command].params for opt in param.opts}  # type: ignore[attr-defined]
    assert {argument.split("=")[0] for argument in given} <= known
    assert {"--config", "--data"} <= {argument.split("=")[0] for argument in given}
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    policy = manifest("NetworkPolicy")["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert policy.items() <= template(job)["metadata"]["labels"].items()


def test_whatever_the_schedule_writes_lies_on_a_volume() -> None:
    """Its root is read-only: no folder that `pltv retrain` writes is left to a default beside the code."""
    (container,) = containers(manifest("CronJob", "pltv-retrain"))
    assert container["securityContext"]["readOnlyRootFilesystem"]
    given = dict(argument.split("=", 1) for argument in container["args"][1:])
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    for option in ("--data", "--models", "--processed"):
        assert any(given[option].startswith(f"{path}/") for path in mounted), option


def test_the_image_of_training_is_of_the_same_user_and_has_a_compiler() -> None:
    """What the job runs as is what the image has; models are compiled where they are trained."""
    text = (DEPLOY / "training" / "Dockerfile").read_text(encoding="utf-8")
    user = template(manifest("CronJob", "pltv-retrain"))["spec"]["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in text
    assert "gcc" in text
    copied = {source for line in text.splitlines() if line.startswith("COPY") for source in line.split()[1:-1]}
    assert all((DEPLOY.parent / source).exists() for source in copied)
