"""Memory on every node: programs that must not load the `kubernetes` client, which the image has for the controller."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CLIENTS = ("kubernetes", "kubernetes_asyncio", "pykube")

# Ends the process at once: an orderly end of the watch takes seconds.
_REPORT = """
import os, sys
print(sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1:])), flush=True)
os._exit(0)
"""
_AGENT = "import static_route_operator.agent"
_RUN = "import static_route_operator.standalone"
_COMMAND_LINE = """
import click
from static_route_operator.cli.program import program
context = click.Context(program)
for name in program.list_commands(context):
    program.get_command(context, name)
"""
# Kopf looks for clients at its import, and may do so again when an operator starts and logs in.
_WATCH = """
import asyncio, json, os
from static_route_operator.cluster.engine import Engine, engine_settings
from static_route_operator.observability.metrics import ApiMetrics

class Plain(Engine):
    def handlers(self):
        return ()

async def watch():
    asked = asyncio.Event()

    def refuse(_, writer):
        writer.close()
        asked.set()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    with open(os.environ["KUBECONFIG"], "w") as file:
        json.dump(config, file)
    plain = Plain("test", frozenset(), lambda: engine_settings({}), ApiMetrics())
    plain.start()
    await asyncio.wait_for(asked.wait(), 30)

asyncio.run(watch())
"""


@pytest.mark.parametrize(
    "program", [_AGENT, _RUN, _COMMAND_LINE, _WATCH], ids=["agent", "run", "command line", "watch"]
)
def test_client_is_not_loaded(program: str, tmp_path: Path) -> None:
    """With the client installed, neither an agent nor `run` nor the command line has it in memory."""
    assert find_spec("kubernetes") is not None
    done = subprocess.run(
        [sys.executable, "-c", program + _REPORT, *CLIENTS],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)},
    )

    assert done.stdout == "[]\n"


def test_controller_without_the_client_names_the_extra() -> None:
    """Where the client is not installed, the verb says how to install it."""
    program = "import sys; sys.modules['kubernetes'] = None; from static_route_operator.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "controller"], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, "pip install 'static-route-operator[controller]'" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_controller_loads_the_client() -> None:
    """The client is kept from Kopf, not from the controller."""
    program = "import static_route_operator.controller.main" + _REPORT
    done = subprocess.run(
        [sys.executable, "-c", program, *CLIENTS], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "['kubernetes']\n"
