"""Starts the real binary the way a person does, and speaks to it over HTTP."""
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ARGON = os.environ.get("ARGON", str(ROOT / "build-asan" / "src" / "argon"))
SECRET = "It's a Secret to Everybody"
READY_S = 60
ENDED = ("success", "failed", "error", "cancelled", "skipped", "timeout")


def wait_for(what, seconds=30, step=0.05, why="it did not happen"):
    """Polls until what() is true (its value is returned) or fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"after {seconds} s: {why}"
        time.sleep(step)


class Server:
    """One `argon up` on a free port. Settings are environment variables without ARGON_."""

    def __init__(self, folder, engine="local", arguments=(), **settings):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log_path = self.folder / "server.log"
        self.engine = engine
        self.arguments = list(arguments)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ARGON_DATA": str(self.data),
            "ARGON_WEBHOOK_SECRET": SECRET,
            "ARGON_GIT_ALLOW": "file:http:https",
            **{key: value for key, value in os.environ.items()
               if key.endswith("SAN_OPTIONS") or key in ("DOCKER_HOST", "ARGON_FAIL")},
            **{f"ARGON_{key}": str(value) for key, value in settings.items()},
        }
        self.process = None
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [ARGON, "up", "--listen", "127.0.0.1:0", "--engine", self.engine, *self.arguments],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        listen = self.data / "listen"
        try:
            wait_for(lambda: self.process.poll() is not None or self.ready(), READY_S,
                     why="no ready line\n" + self.log())
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise
        assert self.process.poll() is None, self.log()
        self.url = "http://" + listen.read_text(encoding="utf-8").strip()
        self.token = (self.data / "token").read_text(encoding="utf-8").strip()

    def ready(self):
        try:
            address = (self.data / "listen").read_text(encoding="utf-8").strip()
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (OSError, ValueError):
            return False

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-6000:]

    def stop(self, expect=0):
        """SIGTERM and wait; the exit code has to be the expected one (None: any)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end on SIGTERM\n" + self.log()) from None
        if expect is not None:
            assert code == expect, f"the server ended with {code}\n{self.log()}"
        return code

    def child(self):
        """The pid of the process that does the work (the parent only restarts it)."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="ascii") as children:
            return int(children.read().split()[0])

    def request(self, path, method="GET", body=None, headers=None, token=True, timeout=40):
        """(status, headers, bytes) whatever the status is."""
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {self.token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, answer.read()

    def get(self, path):
        status, _, body = self.request(path)
        assert status == 200, f"GET {path}: {status} {body[:500]}"
        return json.loads(body)

    def post(self, path, body=None):
        status, _, answer = self.request(path, "POST", body if body is not None else {},
                                         {"Content-Type": "application/json"})
        return status, json.loads(answer or b"null")

    def builds(self):
        return self.get("/api/v1/builds")["builds"]

    def build(self, build_id):
        return self.get(f"/api/v1/builds/{build_id}")

    def wait_build(self, seconds=90, number=None, state=None):
        """The newest build (or that number) once it has ended (or is in the state)."""
        def look():
            for build in self.builds():
                if number is not None and build["number"] != number:
                    continue
                if build["state"] == state or (state is None and build["state"] in ENDED):
                    return self.build(build["id"])
                return None
            return None
        return wait_for(look, seconds, why=f"no build ended; {self.builds()}\n{self.log()}")

    def log_text(self, job_id):
        status, _, body = self.request(f"/api/v1/jobs/{job_id}/log.txt")
        assert status == 200
        return body

    def command(self, *arguments, timeout=60, env=None, cwd=None, check=False):
        """Runs the command line against this server's data folder."""
        done = subprocess.run([ARGON, *arguments], env={**self.environment, **(env or {})},
                              cwd=cwd or self.folder, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done
