"""The life of a server: start, crash, reload, drain, end; and what it costs while nothing happens."""
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import time
import urllib.request

import pytest

from tests.support.argon import ARGON, Server, wait_for
from tests.support.forge import push

HELLO = """\
version: 1
jobs:
  hello: { image: x, steps: [ { run: echo hello } ] }
"""


@pytest.fixture
def up(tmp_path):
    """Servers that may end in any way; whatever is left of them is killed."""
    made = []

    def start(**options):
        made.append(Server(tmp_path, **options))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_the_first_start_makes_secrets_that_only_the_owner_may_read(up):
    one = up(WEBHOOK_SECRET="")
    for name in ("token", "webhook-secret"):
        path = one.data / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert re.fullmatch("[0-9a-f]{64}\n", path.read_text())
    assert stat.S_IMODE(one.data.stat().st_mode) == 0o700
    assert str(one.data / "webhook-secret") in one.log()
    assert f"listening on {one.url}\n" in one.log()
    token = one.token
    one.stop()
    one.start()
    assert one.token == token
    one.stop()


def test_a_second_server_on_the_same_folder_is_refused_and_names_the_first(server):
    one = server()
    done = one.command("up", "--listen", "127.0.0.1:0")
    assert done.returncode not in (0, 2)
    assert f"pid {one.process.pid}" in done.stderr and str(one.data) in done.stderr


def test_an_address_in_use_is_an_error_that_names_it(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run([ARGON, "up", "--listen", address, "--data", str(tmp_path / "d")],
                              env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
                              capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode not in (0, 2) and address in done.stderr


def test_it_listens_on_several_addresses(tmp_path):
    process = subprocess.Popen(
        [ARGON, "up", "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--engine", "local"],
        stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ARGON_DATA": str(tmp_path / "d"),
             **{key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")}})
    addresses = []
    while len(addresses) < 2:
        line = process.stderr.readline()
        assert line, "it ended"
        addresses += re.findall(r"^listening on (http://\S+)$", line)
    assert addresses[0].startswith("http://127.0.0.1:") and addresses[1].startswith("http://[::1]:")
    for address in addresses:
        with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:
            assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_an_unknown_variable_or_a_secret_file_that_is_missing_is_told(tmp_path):
    done = subprocess.run([ARGON, "up", "--listen", "127.0.0.1:0"], capture_output=True, text=True,
                          timeout=30, check=False, env={
                              "PATH": os.environ["PATH"], "HOME": str(tmp_path),
                              "ARGON_WEBHOOK_SECRET_FILE": str(tmp_path / "nowhere")})
    assert done.returncode == 5
    assert "ARGON_WEBHOOK_SECRET_FILE" in done.stderr and "nowhere" in done.stderr


def test_a_wrong_setting_ends_the_start_with_its_place(tmp_path):
    config = tmp_path / "argon.conf"
    config.write_text("slots = many\n")
    done = subprocess.run([ARGON, "up", "--config", str(config)],
                          env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert f"{config}:1: slots: 'many'" in done.stderr and "1 to 1024" in done.stderr


def test_a_child_that_dies_is_started_again_on_the_same_port(server, repository):
    one = server()
    child = one.child()
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: one.ready() and one.child() != child, why=one.log())
    push(one, repository({".runnerci.yml": HELLO}))
    assert one.wait_build()["state"] == "success"
    assert "ended by signal 9" in one.log()


def test_a_request_sent_while_the_child_is_away_is_answered_by_the_next(server):
    one = server()
    os.kill(one.child(), signal.SIGKILL)
    status, _, _ = one.request("/healthz", timeout=20)
    assert status == 200


def test_it_gives_up_after_five_crashes_within_a_minute(up):
    one = up()
    killed = []

    def next_child():
        child = one.child()
        return child if child not in killed and one.ready() and child == one.child() else None

    def look():
        try:
            return next_child()
        except (OSError, IndexError):
            return None

    for _ in range(5):
        assert one.process.poll() is None, one.log()
        killed.append(wait_for(look, 30, why=one.log()))
        os.kill(killed[-1], signal.SIGKILL)
    assert one.process.wait(20) == 3
    assert "given up" in one.log()


def test_a_killed_parent_takes_the_child_along_and_the_next_start_works(up):
    one = up()
    child = one.child()
    one.process.kill()
    one.process.wait()
    wait_for(lambda: not pathlib.Path(f"/proc/{child}").exists(), 10)
    one.start()
    one.stop()


def test_sighup_reads_the_settings_again_and_keeps_them_when_they_are_wrong(up, tmp_path):
    config = tmp_path / "argon.conf"
    config.write_text("slots = 1\n")
    one = up(arguments=["--config", str(config)])
    assert one.get("/api/v1/executors")["executors"][0]["slots"] == 1
    child = one.child()
    config.write_text("slots = many\n")
    one.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "kept as they were" in one.log())
    assert one.child() == child
    config.write_text("slots = 3\n")
    one.process.send_signal(signal.SIGHUP)
    wait_for(lambda: one.ready() and
             one.get("/api/v1/executors")["executors"][0]["slots"] == 3, why=one.log())
    one.stop()


def test_sigterm_drains_and_ends_with_0_and_a_running_job_goes_on_afterwards(server, repository):
    one = server(GRACE="1s")
    push(one, repository({".runnerci.yml": """\
version: 1
jobs:
  long: { image: x, steps: [ { run: "echo begun; sleep 8; echo done" } ] }
"""}))
    build = one.wait_build(state="running")
    job = build["jobs"][0]["id"]
    wait_for(lambda: b"begun" in one.log_text(job))
    one.stop(expect=0)
    one.start()
    build = one.wait_build()
    assert build["state"] == "success" and build["jobs"][0]["attempt"] == 1
    assert one.log_text(job).endswith(b"begun\ndone\n")


def test_systemd_is_told(up, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(path))
        told.settimeout(30)
        one = up()
        one.stop()
        one.environment["NOTIFY_SOCKET"] = str(path)
        one.start()
        assert told.recv(4096).startswith(b"READY=1")
        one.stop()
        assert told.recv(4096).startswith(b"STOPPING=1")


def context_switches(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text()
        total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1))
    return total


def test_an_idle_server_sleeps(server):
    one = server()
    wait_for(one.ready)
    time.sleep(3)
    pids = [one.process.pid, one.child()]
    before = sum(context_switches(pid) for pid in pids)
    time.sleep(10)
    woken = sum(context_switches(pid) for pid in pids) - before
    assert woken < 10, f"{woken} wake-ups in 10 s"
