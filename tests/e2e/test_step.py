"""argon-step in real containers: images with nothing in them, limits of the kernel, hostile steps."""
import pathlib
import shutil
import subprocess
import time
import uuid

import pytest

from tests.support.argon import ARGON
from tests.support.step_peer import AttachedPeer, Peer, plan

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STEP = pathlib.Path(ARGON).parent / "step" / "argon-step"
PROBE = ROOT / "tests" / "data" / "step_probe.py"
IMAGE = "argon-test:base"
DEFAULT_CAPS = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "KILL")
STRICT_CAPS = ("SETUID", "SETGID", "KILL")
STRICT = ["--read-only", "--user", "0:0", "--security-opt", "no-new-privileges"]


def docker(*arguments, **options):
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True,
                          **options).stdout.strip()


@pytest.fixture(scope="module")
def base():
    known = subprocess.run(["docker", "image", "inspect", IMAGE], check=False,
                           capture_output=True)
    if known.returncode:
        subprocess.run(["sh", str(ROOT / "tests" / "support" / "image.sh")], check=True)
    return IMAGE


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An image with one text file in it: no C library, no shell, no /tmp."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "hello").write_text("hello\n")
    name = f"argon-test:empty-{uuid.uuid4().hex[:8]}"
    tar = subprocess.run(["tar", "-C", str(folder), "-c", "hello"], check=True,
                         capture_output=True).stdout
    subprocess.run(["docker", "import", "-", name], input=tar, check=True, capture_output=True)
    yield name
    docker("rmi", name)


class Sandbox:
    """A container whose PID 1 is argon-step, and the peer that follows it."""

    def __init__(self, folder):
        self.folder = folder
        self.control = folder / "control"
        self.workspace = folder / "workspace"
        self.control.mkdir(mode=0o755)
        self.workspace.mkdir(mode=0o777)
        self.workspace.chmod(0o777)
        shutil.copy(STEP, self.control / "argon-step")
        self.peer = Peer(self.control)
        self.id = None

    def start(self, image, *arguments, caps=DEFAULT_CAPS, workspace=True):
        command = ["run", "-d", "--network", "none", "--log-driver", "none", "--cap-drop", "ALL",
                   "-v", f"{self.control}:/argon:ro", "--entrypoint", "/argon/argon-step"]
        command += [word for cap in caps for word in ("--cap-add", cap)]
        if workspace:
            command += ["-v", f"{self.workspace}:/workspace"]
        self.id = docker(*command, *arguments, image)

    def code(self):
        return int(docker("wait", self.id))

    def close(self):
        self.peer.close()
        if self.id:
            subprocess.run(["docker", "rm", "-f", self.id], check=False, capture_output=True)


@pytest.fixture
def sandbox(tmp_path):
    one = Sandbox(tmp_path)
    yield one
    one.close()


def test_an_image_without_a_shell_is_told_so(sandbox, empty):
    sandbox.start(empty)
    end = sandbox.peer.follow(plan([{"run": "echo hi"}]))
    assert end["result"] == "failed" and end["cause"] == "start"
    assert end["text"].startswith("this image has no /bin/sh; use an image with a shell, or")
    assert sandbox.code() == 127


def test_an_image_without_c_library_runs_static_programs(sandbox, empty):
    sandbox.start(empty)
    sandbox.peer.follow(plan([{"run": "x", "shell": "/argon/argon-step {0}", "continues": True},
                              {"run": "x", "shell": "/hello {0}"}]))
    assert sandbox.peer.steps[0]["code"] == 64
    assert b"usage: argon-step" in sandbox.peer.errors
    assert "'/hello'" in sandbox.peer.steps[1]["text"]


def test_a_hostile_step_reaches_nothing_of_its_supervisor(sandbox, base):
    sandbox.start(base, "-v", f"{PROBE}:/probe.py:ro")
    end = sandbox.peer.follow(plan([{"run": "python3 /probe.py"}, {"run": "echo still here"}],
                                   secrets={"TOKEN": "canary"}))
    assert sandbox.peer.out == b"done\nstill here\n", sandbox.peer.errors
    assert end["result"] == "success"


def test_a_hostile_strict_step_reaches_nothing_either(sandbox, base):
    sandbox.start(base, *STRICT, "-v", f"{PROBE}:/probe.py:ro", caps=STRICT_CAPS)
    end = sandbox.peer.follow(plan(
        [{"run": "python3 /probe.py; ! prlimit --pid 1 --nofile=1 2>/dev/null; "
                 "! su -c id 2>/dev/null; ! touch /x 2>/dev/null; id -u; "
                 "grep CapEff /proc/self/status"}],
        uid=65534, supervisor=900, strict=True))
    assert end["code"] == 0, (end, sandbox.peer.errors)
    assert sandbox.peer.out == b"done\n65534\nCapEff:\t0000000000000000\n"


def test_scripts_find_a_place_in_a_read_only_sandbox(sandbox, base):
    """Larger than an argument, and with {0}: with no folder to write to, in memory."""
    long = ": nothing\n" * 20000 + "echo long"
    sandbox.start(base, *STRICT, caps=STRICT_CAPS)
    sandbox.peer.follow(plan([{"run": long}, {"run": long, "shell": "bash"},
                              {"run": "import sys; print(sys.argv[0])", "shell": "python3 {0}"}],
                             uid=65534, supervisor=900, strict=True))
    lines = sandbox.peer.out.decode().splitlines()
    assert lines[:2] == ["long", "long"], (sandbox.peer.steps, sandbox.peer.errors)
    # Docker gives every container a /dev/shm, read-only root or not.
    assert lines[2].startswith(("/dev/shm/argon-step-", "/proc/self/fd/"))


def test_out_of_memory_is_named_with_its_limit(sandbox, base):
    sandbox.start(base, "--memory", "64m", "--memory-swap", "64m")
    end = sandbox.peer.follow(plan([
        {"run": "python3 -c 'x = bytearray(200 << 20)' || true", "name": "only a child"},
        {"run": "exec python3 -c 'x = bytearray(200 << 20)'"}]))
    first, second = sandbox.peer.steps
    assert first["cause"] == "" and first["code"] == 0
    assert "was killed: out of memory (64 MiB)" in first["warning"]
    assert second["cause"] == "oom" and second["text"] == "out of memory (64 MiB)"
    assert second["signal"] == 9
    assert end["result"] == "failed" and "out of memory" in end["warning"]


def test_a_fork_bomb_ends_by_the_process_limit(sandbox, base):
    sandbox.start(base, "--pids-limit", "32")
    end = sandbox.peer.follow(plan([
        {"run": "for i in $(seq 100); do sleep 30 & done; wait", "timeout_ms": 20000}]))
    assert end["cause"] == "pids" and end["text"] == "process limit reached (32)"
    assert end["killed"] >= 20
    assert sandbox.code() != 0


def test_a_full_workspace_is_named(sandbox, base):
    sandbox.start(base, "--tmpfs", "/workspace:size=4m", workspace=False)
    end = sandbox.peer.follow(plan([{"run": "head -c 9000000 /dev/zero >big"}]))
    assert end["cause"] == "disk"
    assert end["text"] == "disk full: no space left in /workspace (4 MiB)"


def test_docker_stop_is_told(sandbox, base):
    sandbox.start(base)

    def stop(peer):
        if b"up" in peer.out:
            subprocess.Popen(["docker", "stop", sandbox.id], stdout=subprocess.DEVNULL)

    end = sandbox.peer.follow(plan([{"run": "echo up; exec sleep 60"}]), on_output=stop)
    assert end["result"] == "stopped"
    assert sandbox.code() == 125


def test_daemons_die_with_their_job_and_the_container_ends(sandbox, base):
    sandbox.start(base)
    began = time.monotonic()
    end = sandbox.peer.follow(plan([
        {"run": "for i in 1 2 3 4 5; do setsid sh -c \"trap '' TERM INT HUP; "
                "while :; do sleep 1; done\" & done; sleep 0.3"}]))
    assert end["result"] == "success" and end["killed"] >= 5
    assert sandbox.code() == 0
    assert time.monotonic() - began < 10


def test_under_bubblewrap_it_is_pid_1_too(sandbox):
    command = ["bwrap", "--unshare-pid", "--as-pid-1", "--ro-bind", "/usr", "/usr",
               "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
               "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
               "--tmpfs", "/tmp", "--bind", str(sandbox.workspace), "/workspace",
               "--ro-bind", str(sandbox.control), "/argon", "--clearenv",
               "--setenv", "PATH", "/usr/bin:/bin", "--", "/argon/argon-step"]
    with subprocess.Popen(command) as process:
        end = sandbox.peer.follow(plan([{"run": "echo $PPID; setsid sleep 60 & sleep 0.1"},
                                        {"run": "exit 7"}]))
        assert sandbox.peer.out == b"1\n"
        assert end["result"] == "failed" and end["code"] == 7 and end["killed"] == 1
        assert process.wait(10) == 7


def test_over_attach_clients_may_be_killed(sandbox, base):
    """A daemon elsewhere: frames over docker attach, each client killed in the middle of a flood."""
    sandbox.id = docker("run", "-d", "-i", "--network", "none", "--log-driver", "none", "-v",
                        f"{sandbox.control}:/argon:ro", "--entrypoint", "/argon/argon-step", base,
                        "--stdio")
    peer = AttachedPeer(sandbox.id)
    encoded = plan([{"run": "seq 1 300000; sleep 0.3; seq 300001 300100"}, {"run": "exit 7"}],
                   workspace="/tmp")
    clients = 1
    limit = 100_000
    while not peer.follow(encoded, lambda one, most=limit: len(one.out) > most):
        limit = len(peer.out) + 400_000
        clients += 1
        assert clients < 50, "docker attach ends again and again"
    assert clients >= 4
    assert peer.out == b"".join(b"%d\n" % n for n in range(1, 300101))
    assert peer.end["code"] == 7
    assert sandbox.code() == 7
