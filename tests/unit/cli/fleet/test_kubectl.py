"""The user's kubectl: what it answers, and what its failures mean."""

from pathlib import Path

import pytest

from static_route_operator.cli.fleet.kubectl import ClusterError, ForbiddenError, Kubectl
from tests.unit.cli.fleet.fakekubectl import fake_kubectl

FORBIDDEN = (
    'Error from server (Forbidden): pods "agent-a" is forbidden: User "eve" cannot create resource "pods/exec" in API'
    ' group "" in the namespace "static-routes"\n'
)


def test_answer_is_read_as_json(tmp_path: Path) -> None:
    """An answer of the API server is read; a query stands in the path."""
    kubectl = fake_kubectl(tmp_path, {"get --raw /api/v1/pods?labelSelector=name%3Da": {"items": []}})

    assert kubectl.get("/api/v1/pods", labelSelector="name=a") == {"items": []}


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ("The connection to the server localhost:8080 was refused", "the API server can't be reached: .*--context"),
        ("Unable to connect to the server: dial tcp: lookup x: no such host", "the API server can't be reached"),
        ("Error from server (NotFound): the server could not find the requested resource", "install the operator"),
        ("error: something else", "something else"),
        ("", "kubectl exited with code 1"),
    ],
)
def test_failure_says_what_to_do(tmp_path: Path, errors: str, words: str) -> None:
    """An error of kubectl is passed on, with advice."""
    kubectl = fake_kubectl(tmp_path, {"get": (1, "", errors)})

    with pytest.raises(ClusterError, match=words):
        kubectl.get("/apis/networking.digitalocean.com/v1/staticroutes")


def test_missing_right_is_named(tmp_path: Path) -> None:
    """A user without a right sees which one is missing, in whatever words kubectl puts it."""
    upgrade = FORBIDDEN.replace("Error from server (Forbidden)", "error: unable to upgrade connection")
    kubectl = fake_kubectl(tmp_path, {"exec": (1, "", upgrade), "get": (1, "", FORBIDDEN)})

    words = 'you lack the right to create pods/exec in API group "" in the namespace "static-routes"'
    with pytest.raises(ForbiddenError, match=words):
        kubectl.get("/api/v1/pods")
    with pytest.raises(ForbiddenError, match=words):
        kubectl.exec("static-routes", "agent-a", "true")


def test_program_that_fails_in_a_pod_is_no_error(tmp_path: Path) -> None:
    """The exit code of what ran in the pod is an answer as any other."""
    answer = fake_kubectl(tmp_path, {"exec -n ns agent-a -- sh -c false": (1, "out", "err")}).exec(
        "ns", "agent-a", "sh", "-c", "false"
    )

    assert (answer.code, answer.output, answer.errors) == (1, "out", "err")


def test_kubectl_that_is_not_there_is_told() -> None:
    """Without a kubectl the text says so, and how to do without."""
    with pytest.raises(ClusterError, match=r"/nonexistent is not found: install it, or .* --local"):
        Kubectl(program="/nonexistent").get("/")


def test_text_goes_to_the_program_in_the_pod(tmp_path: Path) -> None:
    """A program in a pod gets its input, and has standard input open only then."""
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\necho "$@"\ncat\n')
    program.chmod(0o755)
    kubectl = Kubectl(program=str(program))

    assert kubectl.exec("ns", "pod", "plan", "-", text="{}").output == "exec --stdin -n ns pod -- plan -\n{}"
    assert kubectl.exec("ns", "pod", "routes").output == "exec -n ns pod -- routes\n"
