#!/usr/bin/env python3
"""Measures Argon beside the floor, interleaved in one run, and prints tables of medians.

    make bench                       everything
    .cache/venv/bin/python bench/run.py job lines idle webhook

Figures of another machine or day mean little; the ratios in one table do. `build/src/argon` (the
optimised build) is measured, on the Docker daemon that DOCKER_HOST names.
"""
import http.client
import json
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["ARGON"] = str(ROOT / "build" / "src" / "argon")

from tests.support.argon import SECRET, Server, wait_for  # noqa: E402
from tests.support.forge import Repository, deliver, push_payload  # noqa: E402

IMAGE = "argon-test:base"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
LINES = int(os.environ.get("BENCH_LINES", "1000000"))


class Docker:
    """The few calls of the Engine API that a bare job needs: the floor."""

    def __init__(self):
        host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        self.path = urllib.parse.urlparse(host).path

    def connect(self):
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        return connection

    def call(self, method, path, body=None):
        connection = self.connect()
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]!r}")
        return json.loads(data) if data else None

    def job(self, script, network, count=False):
        """create, attach, start, read to the end, wait, remove; (seconds, output bytes)."""
        began = time.monotonic()
        made = self.call("POST", "/containers/create", {
            "Image": IMAGE, "Cmd": ["sh", "-ec", script],
            "HostConfig": {"NetworkMode": network, "LogConfig": {"Type": "none"}}})
        ident = made["Id"]
        connection = self.connect()
        connection.request("POST", f"/containers/{ident}/attach?stream=1&stdout=1&stderr=1",
                           headers={"Upgrade": "tcp", "Connection": "Upgrade"})
        stream = connection.sock.makefile("rb")
        while stream.readline() not in (b"\r\n", b""):
            pass
        self.call("POST", f"/containers/{ident}/start")
        total = 0
        while len(head := stream.read(8)) == 8:
            size = struct.unpack(">I", head[4:])[0]
            total += len(stream.read(size)) if count else len(stream.read(size))
        connection.close()
        self.call("POST", f"/containers/{ident}/wait")
        self.call("DELETE", f"/containers/{ident}?force=1")
        return time.monotonic() - began, total


def job_file(steps, network, image=IMAGE):
    lines = ["version: 1", "jobs:", "  job:", f"    image: {image}"]
    if network == "none":
        lines.append("    network: none")
    lines.append("    steps:")
    return "\n".join(lines + [f"      - run: {step}" for step in steps]) + "\n"


class Bench:
    """One server on one engine, one repository per shape of job."""

    def __init__(self, folder, engine, **settings):
        self.folder = pathlib.Path(folder)
        self.server = Server(self.folder / f"server-{engine}", engine=engine, MAIL="none",
                             **settings)
        self.repositories = {}

    def run(self, name, file):
        """Seconds from the signed webhook to the build's end, and the build."""
        if name not in self.repositories:
            self.repositories[name] = Repository(self.folder / f"{self.server.engine}-{name}",
                                                 {".runnerci.yml": file}, name=name)
        repository = self.repositories[name]
        repository.commit({}, message=f"Run {time.monotonic_ns()}")
        payload = push_payload(repository)
        began = time.monotonic()
        status, answer = deliver(self.server, payload)
        assert status == 202, answer
        build = wait_for(lambda: next(iter(self.server.get(
            f"/api/v1/builds?repo=acme/{name}&commit={repository.head()}&limit=1")["builds"]), None),
            30, 0.002)
        version = 0
        while build["state"] in ("queued", "running"):
            build = self.server.get(f"/api/v1/builds/{build['id']}?since={version}&wait=30s")
            version = build["version"]
        assert build["state"] == "success", build
        return time.monotonic() - began, self.server.build(build["id"])


def table(title, rows, floor):
    print(f"\n{title}\n{'':36} {'median ms':>10} {'min':>8} {'max':>8} {'ratio':>6}")
    base = statistics.median(rows[floor])
    for name, values in rows.items():
        median = statistics.median(values)
        print(f"{name:36} {median * 1000:10.1f} {min(values) * 1000:8.1f} "
              f"{max(values) * 1000:8.1f} {median / base:6.2f}", flush=True)


def bench_job(folder):
    """A cold job of 1, 3 and 10 steps, webhook to end, beside the bare container."""
    docker = Docker()
    one = Bench(folder, "docker")
    bare = "echo 1; echo 2; echo 3"
    rows = {}

    def add(name, seconds):
        rows.setdefault(name, []).append(seconds)

    for _ in range(ROUNDS + 1):
        add("floor: container, bridge", docker.job(bare, "bridge")[0])
        add("floor: container, none", docker.job(bare, "none")[0])
        for steps in (1, 3, 10):
            file = job_file([f"echo {i}" for i in range(steps)], "default")
            add(f"argon: {steps} steps, slot network", one.run(f"slot{steps}", file)[0])
        file = job_file(["echo 1", "echo 2", "echo 3"], "none")
        add("argon: 3 steps, network none", one.run("none3", file)[0])
    one.server.stop()
    for values in rows.values():
        del values[0]  # the first round fills caches
    table("P1 webhook to end of a cold job on Docker (source fetch included)", rows,
          "floor: container, bridge")

    two = Bench(folder, "local")
    rows = {}
    for _ in range(ROUNDS + 1):
        began = time.monotonic()
        subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin",
                        "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
                        "--proc", "/proc", "--dev", "/dev", "sh", "-ec", bare],
                       check=True, stdout=subprocess.DEVNULL)
        rows.setdefault("floor: bare bubblewrap", []).append(time.monotonic() - began)
        file = job_file(["echo 1", "echo 2", "echo 3"], "none")
        rows.setdefault("argon: 3 steps, local", []).append(two.run("local3", file)[0])
    two.server.stop()
    for values in rows.values():
        del values[0]
    table("P1 the same on the local engine", rows, "floor: bare bubblewrap")


def bench_lines(folder):
    """A job of a million lines: webhook to end, beside attach with log driver none."""
    docker = Docker()
    one = Bench(folder, "docker")
    script = f"seq {LINES}"
    rows = {}
    for _ in range(3):
        seconds, total = docker.job(script, "bridge", count=True)
        rows.setdefault("floor: attach, log driver none", []).append(seconds)
        took, build = one.run("lines", job_file([script], "default"))
        rows.setdefault("argon: webhook to end", []).append(took)
        job = build["jobs"][0]
        stored = wait_for(lambda: one.server.get(f"/api/v1/jobs/{job['id']}")["log_lines"] >= LINES
                          and one.server.log_text(job["id"]), 60)
        assert stored.endswith(b"".join(b"%d\n" % i for i in range(1, LINES + 1))), "lines differ"
        assert len(stored) >= total
    memory = pss(one.server)
    one.server.stop()
    table(f"P4 a job of {LINES} lines ({total} bytes), every one stored", rows,
          "floor: attach, log driver none")
    print(f"memory of the server afterwards: {memory / 1024:.1f} MiB PSS")


def pss(server):
    total = 0
    for pid in (server.process.pid, server.child()):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += int(next(line for line in file if line.startswith("Pss:")).split()[1])
    return total


def switches(pid):
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            count += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    return count


def bench_idle(folder):
    """Memory and wake-ups of a server that has nothing to do."""
    print(f"\nP5 idle for 20 s\n{'':12} {'PSS MiB':>8} {'wake-ups/s':>11}")
    for engine in ("local", "docker"):
        one = Server(pathlib.Path(folder) / f"idle-{engine}", engine=engine)
        time.sleep(3)
        before = switches(one.process.pid) + switches(one.child())
        time.sleep(20)
        after = switches(one.process.pid) + switches(one.child())
        print(f"{engine:12} {pss(one) / 1024:8.1f} {(after - before) / 20:11.2f}", flush=True)
        one.stop()


def bench_webhook(folder):
    """Signed pushes of 8 kB, durable before they are answered: as many as go, and 1000 a second."""
    client = ROOT / "build" / "bench" / "webhook_bench"
    subprocess.run(["ninja", "-C", str(ROOT / "build"), "bench/webhook_bench"], check=True,
                   stdout=subprocess.DEVNULL)
    one = Server(pathlib.Path(folder) / "webhook")
    address = one.url.removeprefix("http://")
    print("\nW5 signed pushes of 8 kB")
    for seconds, connections, rate in ((10, 1, ""), (10, 16, ""), (20, 16, "1000")):
        done = subprocess.run([str(client), address, SECRET, str(seconds), str(connections),
                               *([rate] if rate else [])],
                              check=True, stdout=subprocess.PIPE, text=True)
        print(f"{'at ' + rate + '/s: ' if rate else ''}{done.stdout.strip()}", flush=True)
    one.stop()


def main():
    known = {"job": bench_job, "lines": bench_lines, "idle": bench_idle, "webhook": bench_webhook}
    wanted = sys.argv[1:] or list(known)
    host = subprocess.run(["sh", str(ROOT / "tests" / "support" / "servers.sh"), "start"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    os.environ["DOCKER_HOST"] = host
    print(f"{os.uname().sysname} {os.uname().release}, {os.cpu_count()} cores, "
          f"{time.strftime('%Y-%m-%d')}, {ROUNDS} rounds")
    with tempfile.TemporaryDirectory(prefix="argon-bench-") as folder:
        os.chmod(folder, 0o755)
        for name in wanted:
            known[name](folder)


if __name__ == "__main__":
    main()
