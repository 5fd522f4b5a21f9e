"""Every kind of trouble, from the objects as a cluster gives them, to a state and a sentence."""

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.clusters.diagnosis import WAIT_ANNOTATION, diagnose
from infra.clusters.findings import Diagnosis, given_up

_spec = importlib.util.spec_from_file_location(
    "kubernetes_objects", Path(__file__).with_name("kubernetes_objects.py")
)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

PULL = (
    'failed to pull and unpack image "registry.example.org/roundhouse:1.2.4": unexpected status: '
    "401 from https://robot:s3cret@registry.example.org/v2/token?key=abc"
)
GPUS = (
    "0/5 nodes are available: 2 Insufficient nvidia.com/gpu, 3 node(s) had untolerated taint "
    "{nvidia.com/gpu: present}. preemption: 0/5 nodes are available: 5 Preemption is not helpful."
)
SELECTOR = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
QUOTA = 'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: 8'
SECURITY = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'
PRESSED = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 40Mi. Container "
    "prefect-job was using 6Gi, request is 4Gi, has larger consumption of memory. "
)
OVER = made.failed()
# what the cluster shows, and the kind, the outcome and words that people must find
CASES: dict[str, tuple[dict[str, Any], list[Any], list[Any], str, str, list[str]]] = {
    "container over its limit": (
        made.job(OVER), [made.pod("Failed", state=made.terminated(137, "OOMKilled"))], [],
        "out of memory", "failed", ["limit of 8Gi of memory", "137", "resources: {memory: ...}"],
    ),
    "a child of the container over its limit": (
        made.job(), [made.pod(lastState={}, state=made.terminated(0, "OOMKilled"))], [],
        "out of memory", "failed", ["killed"],
    ),
    "node short of memory": (
        made.job(OVER), [made.pod("Failed", reason="Evicted", message=PRESSED)], [],
        "node pressure", "again", ["gpu-node-2", "short of memory", "asked for 4Gi", "checkpoint"],
    ),
    "too much on disk": (
        made.job(OVER),
        [made.pod("Failed", reason="Evicted",
                  message='Usage of EmptyDir volume "scratch" exceeds the limit "10Gi". ')], [],
        "storage", "failed", ['"scratch" exceeds the limit "10Gi"'],
    ),
    "a pod of higher priority": (
        made.job(OVER), [made.pod("Failed", conditions=made.disrupted("PreemptionByScheduler"))],
        [], "preempted", "again", ["higher priority", "goes on from the last"],
    ),
    "a drained node": (
        made.job(), [made.pod(conditions=made.disrupted("EvictionByEvictionAPI"))], [],
        "preempted", "again", ["spot", "checkpoint"],
    ),
    "a spot machine that shuts down": (
        made.job(OVER),
        [made.pod("Failed", conditions=made.disrupted("TerminationByKubelet"), reason="Terminated",
                  message="Pod was terminated in response to imminent node shutdown.")], [],
        "preempted", "again", ["shutting down"],
    ),
    "a node that is silent": (
        made.job(), [made.pod(conditions=made.disrupted("DeletionByTaintManager"))], [],
        "node lost", "again", ["gpu-node-2", "does not answer"],
    ),
    "a node that is gone": (
        made.job(OVER), [made.pod("Failed", conditions=made.disrupted("DeletionByPodGC"))], [],
        "node lost", "again", ["its node is gone"],
    ),
    "a pod deleted by hand": (
        made.job(OVER), [made.pod(metadata={"deletionTimestamp": made.ago()})], [],
        "pod removed", "again", ["was deleted"],
    ),
    "a pod of which nothing is left": (made.job(OVER), [], [], "pod removed", "again", ["is gone"]),
    "an image that is not there": (
        made.job(), [made.pod("Pending", state=made.waiting("ImagePullBackOff", PULL))], [],
        "image", "waiting", ["roundhouse:1.2.3 cannot be pulled", "401 from https://registry",
                             "ROUNDHOUSE_IMAGE"],
    ),
    "an image that the node will try again": (
        made.job(), [made.pod("Pending", state=made.waiting(
            "ImagePullBackOff", 'Back-off pulling image "x"'))],
        [made.event("Failed", 'Failed to pull image "x": manifest unknown')],
        "image", "waiting", ["manifest unknown"],
    ),
    "an image with no name": (
        made.job(), [made.pod("Pending", state=made.waiting("InvalidImageName", "couldn't parse"))],
        [], "image", "failed", ["couldn't parse"],
    ),
    "a secret that is missing": (
        made.job(), [made.pod("Pending", state=made.waiting(
            "CreateContainerConfigError", 'secret "roundhouse-secrets" not found'))], [],
        "container", "waiting", ['secret "roundhouse-secrets" not found', "Make what it names"],
    ),
    "a command that is not there": (
        made.job(), [made.pod("Failed", state={"terminated": {
            "exitCode": 128, "reason": "StartError", "message": 'exec: "prefect": not found'}})],
        [], "container", "failed", ['exec: "prefect": not found'],
    ),
    "a volume that is missing": (
        made.job(), [made.pod("Pending", state=made.waiting("ContainerCreating", ""))],
        [made.event("FailedMount", 'MountVolume.SetUp failed : configmap "ca" not found')],
        "container", "waiting", ['configmap "ca" not found'],
    ),
    "no free GPU": (
        made.job(), [made.unschedulable(GPUS)], [], "unschedulable", "waiting",
        ["of 5 nodes: 2 nodes with too little nvidia.com/gpu free (it asks for 2); 3 nodes kept "
         "for others (taint nvidia.com/gpu=present)", "ask for less"],
    ),
    "no node of that kind": (
        made.job(), [made.unschedulable(SELECTOR)],
        [made.event("NotTriggerScaleUp", "pod didn't trigger scale-up")], "unschedulable",
        "waiting", ["1 node without the labels that it asks for (accelerator=nvidia-l4)",
                    "no kind of node"],
    ),
    "a node on its way": (
        made.job(), [made.unschedulable(GPUS)], [made.event("TriggeredScaleUp", "pod triggered")],
        "unschedulable", "waiting", ["on its way"],
    ),
    "no nodes at all": (
        made.job(), [made.unschedulable("no nodes available to schedule pods")], [],
        "unschedulable", "waiting", ["no nodes available"],
    ),
    "a full quota": (
        made.job(), [], [made.event("FailedCreate", f"Error creating: {QUOTA}", "j1")],
        "refused", "waiting", ["exceeded quota: gpus", "quota raised"],
    ),
    "a rule of the namespace": (
        made.job(), [], [made.event("FailedCreate", f"Error creating: {SECURITY}", "j1")],
        "refused", "waiting", ["violates PodSecurity"],
    ),
    "over its deadline": (
        made.job(made.failed("DeadlineExceeded")), [made.pod("Failed")], [],
        "deadline", "failed", ["longer than the 86400 s", "activeDeadlineSeconds"],
    ),
    "an end without a word": (
        made.job(OVER), [made.pod("Failed", state=made.terminated(1))], [],
        "ended", "failed", ["exit code 1", "log"],
    ),
    "killed, and nobody says why": (
        made.job(OVER), [made.pod("Failed", state=made.terminated(137))], [],
        "ended", "crashed", ["exit code 137", "memory"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_trouble_is_told_in_a_sentence(name: str) -> None:
    job, pods, events, kind, outcome, words = CASES[name]
    found = diagnose(job, pods, events)
    assert found is not None
    assert (found.kind, found.outcome) == (kind, outcome)
    for part in words:
        assert part in found.sentence
    assert found.sentence.endswith(".")
    assert "s3cret" not in found.sentence
    assert "key=abc" not in found.sentence
    assert (found.until is not None) == (outcome == "waiting")


@pytest.mark.parametrize(
    ("job", "pods"),
    [
        (made.job(), []),
        (made.job(), [made.pod()]),
        (made.job(), [made.pod("Pending", state=made.waiting("ContainerCreating", ""))]),
    ],
)
def test_a_job_that_does_what_it_should_has_no_diagnosis(job: Any, pods: Any) -> None:
    assert diagnose(job, pods, []) is None


def test_a_deadline_says_so_whatever_became_of_the_pod() -> None:
    gone = made.pod("Failed", conditions=made.disrupted("DeletionByPodGC"))
    found = diagnose(made.job(made.failed("DeadlineExceeded")), [gone], [])
    assert found is not None
    assert found.kind == "deadline"


def test_a_pod_waits_for_its_node_as_long_as_its_job_says() -> None:
    def wait(**metadata: Any) -> timedelta:
        job = made.job(seconds=0, **metadata)
        found = diagnose(job, [made.unschedulable(SELECTOR)], [])
        assert found is not None
        assert found.until is not None
        return found.until - datetime.fromisoformat(job["metadata"]["creationTimestamp"])

    assert wait() == timedelta(minutes=15)
    assert wait(annotations={WAIT_ANNOTATION: "90 s"}) == timedelta(seconds=90)


def test_what_was_waited_for_too_long_has_failed_and_says_how_long() -> None:
    now = datetime.now(UTC)
    asked = Diagnosis("unschedulable", "waiting", "No node.", now)
    found = given_up(asked, now - timedelta(minutes=15))
    assert (found.outcome, found.sentence) == ("failed", "No node. Given up after 15 minutes.")


def lost(index: int, seconds: float, code: int = 1, **status: Any) -> Any:
    """A pod of a training over several nodes, which ended so many seconds ago."""
    state = made.terminated(code)
    state["terminated"]["finishedAt"] = made.ago(seconds)
    metadata = {"name": f"training-{index}", **status.pop("metadata", {})}
    return made.pod("Failed", state=state, metadata=metadata, **status)


def deleted(index: int, seconds: float, code: int = 143) -> Any:
    """One that was deleted then, with a grace of 30 seconds."""
    metadata = {"deletionTimestamp": made.ago(seconds - 30), "deletionGracePeriodSeconds": 30}
    return lost(index, seconds - 1, code, metadata=metadata)


PUT_OUT = {"reason": "Evicted", "message": PRESSED}
# the pods of a training over several nodes, and the kind, the outcome and words of its run
SEVERAL: dict[str, tuple[list[Any], str, str, list[str]]] = {
    "one is evicted, the first process notices, Kubernetes deletes the last": (
        [lost(0, 9), lost(1, 7, 137, **PUT_OUT), deleted(2, 8)],
        "node pressure", "again", ["short of memory", "checkpoint"],
    ),
    "one is deleted by hand": (
        [lost(0, 8), deleted(1, 10)], "pod removed", "again", ["was deleted"],
    ),
    "one is deleted, and another ends in the same second": (
        [lost(0, 10), deleted(1, 10)], "pod removed", "again", ["was deleted"],
    ),
    "one is killed, and nobody says why": (
        [deleted(0, 8), lost(1, 9, 137)], "ended", "crashed",
        ["training-1, one of 3 that train together, ended first, with exit code 137", "again"],
    ),
    "one has met what no attempt mends": (
        [deleted(0, 8), lost(1, 9, 78)], "ended", "failed", ["exit code 78"],
    ),
    "one has used up its memory": (
        [lost(0, 9), made.pod("Failed", state=made.terminated(137, "OOMKilled")), deleted(2, 8)],
        "out of memory", "failed", ["more than its limit"],
    ),
    "one has no node yet": (
        [made.pod(), made.unschedulable(GPUS)], "unschedulable", "waiting", ["No node takes"],
    ),
    "one has no node yet, and another is lost": (
        [lost(0, 9), made.unschedulable(GPUS)], "ended", "crashed", ["training-0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_pods_the_one_that_was_the_cause_is_told(name: str) -> None:
    pods, kind, outcome, words = SEVERAL[name]
    job = made.job(OVER)
    job["spec"]["completions"] = 3
    for order in (pods, pods[::-1]):
        found = diagnose(job, order, [])
        assert found is not None
        assert (found.kind, found.outcome) == (kind, outcome)
        for part in words:
            assert part in found.sentence


def test_several_pods_that_train_have_no_diagnosis() -> None:
    job = made.job()
    job["spec"]["completions"] = 2
    ready = made.pod("Succeeded", state=made.terminated(0, "Completed"))
    assert diagnose(job, [made.pod(), made.pod()], []) is None
    assert diagnose(job, [made.pod(), ready], []) is None


def test_what_is_put_beside_our_container_does_not_end_a_run_that_works() -> None:
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    proxy = {"name": "istio-proxy", "state": {"running": {}}, "lastState": killed}
    pod = made.pod(initContainerStatuses=[proxy])
    assert diagnose(made.job(), [pod], []) is None
    proxy.update(state=killed)
    assert diagnose(made.job(), [pod], []) is None


def test_the_exit_code_of_an_end_is_our_containers() -> None:
    prepared = {"name": "istio-init", "state": made.terminated(0)}
    pod = made.pod("Failed", state=made.terminated(139), initContainerStatuses=[prepared])
    found = diagnose(made.job(made.failed()), [pod], [])
    assert found is not None
    assert "exit code 139" in found.sentence


def test_a_volume_that_was_mounted_at_last_is_not_waited_for() -> None:
    pod = made.pod("Pending", state=made.waiting("ContainerCreating", ""))
    failed = made.event("FailedMount", "driver not found in the list of registered CSI drivers")
    assert diagnose(made.job(), [pod], [failed]) is not None
    assert diagnose(made.job(), [pod], [failed, made.event("Pulling", "Pulling image")]) is None


def test_pods_that_a_quota_keeps_back_are_told_of_beside_those_that_work() -> None:
    job = made.job()
    job["spec"] |= {"completions": 4, "parallelism": 4}
    full = made.event("FailedCreate", 'pods "run-2" is forbidden: exceeded quota: gpus', "j1")
    found = diagnose(job, [made.pod(), made.pod()], [full])
    assert found is not None
    assert (found.kind, found.outcome) == ("refused", "waiting")
    assert "exceeded quota: gpus" in found.sentence
    assert diagnose(job, [made.pod() for _ in range(4)], [full]) is None
    assert diagnose(made.job(uid="j2"), [], [full]) is None


def test_an_image_that_was_long_on_its_way_has_its_patience_from_the_failure() -> None:
    pod = made.pod("Pending", state=made.waiting("ErrImagePull", "unexpected EOF"))
    failed = made.event("Failed", "Failed to pull image: unexpected EOF")
    from_the_node = diagnose(made.job(), [pod], [failed])
    from_the_failure = diagnose(made.job(), [pod], [{**failed, "firstTimestamp": made.ago(5)}])
    assert from_the_node is not None
    assert from_the_failure is not None
    assert from_the_node.until is not None
    assert from_the_failure.until is not None
    assert from_the_failure.until - from_the_node.until > timedelta(seconds=20)
