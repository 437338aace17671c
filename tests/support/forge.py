"""A forge as GitHub is one: repositories, payloads in the shape of its webhooks, signatures."""
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import subprocess
import threading
import urllib.parse
import uuid

from tests.support.argon import SECRET

ENVIRONMENT = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada Example", "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada Example", "GIT_COMMITTER_EMAIL": "ada@example.org",
}


class Repository:
    """A real git repository; files is a dict of path to text, None removes."""

    def __init__(self, folder, files, name="demo"):
        self.folder = pathlib.Path(folder)
        self.full_name = f"acme/{name}"
        self.name = name
        self.folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.commit(files)

    def git(self, *arguments):
        done = subprocess.run(["git", "-C", str(self.folder), *arguments], env=ENVIRONMENT,
                              capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, files, message="Change things"):
        for path, text in files.items():
            target = self.folder / path
            if text is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self):
        return self.git("rev-parse", "HEAD")

    @property
    def url(self):
        return f"file://{self.folder}"


def repository_member(repository, url=None):
    return {"id": 7, "name": repository.name, "full_name": repository.full_name, "private": False,
            "fork": False, "clone_url": url or repository.url, "default_branch": "main",
            "language": "C", "html_url": f"https://forge.example/{repository.full_name}"}


def push_payload(repository, ref="refs/heads/main", commit=None, message="Change things", url=None,
                 pusher=("ada", "ada@example.org"), deleted=False):
    commit = commit or repository.head()
    person = {"name": "Ada Example", "email": "ada@example.org", "username": "ada"}
    head = {"id": commit, "tree_id": commit, "message": message, "distinct": True,
            "timestamp": "2026-01-01T12:00:00+01:00", "author": person, "committer": person,
            "added": [], "removed": [], "modified": ["README.md"]}
    return {"ref": ref, "before": "0" * 40, "after": "0" * 40 if deleted else commit,
            "created": False, "deleted": deleted, "forced": False, "base_ref": None,
            "repository": repository_member(repository, url),
            "pusher": {"name": pusher[0], "email": pusher[1]},
            "sender": {"login": "ada", "id": 1}, "compare": "https://forge.example/compare",
            "commits": [] if deleted else [head], "head_commit": None if deleted else head}


def pull_request_payload(repository, action="opened", number=3, commit=None, fork=False, url=None):
    base = repository_member(repository, url)
    head = dict(base, full_name="mallory/demo", id=8, fork=True) if fork else base
    return {"action": action, "number": number, "repository": base,
            "pull_request": {
                "number": number, "title": "Better words", "state": "open", "merged": False,
                "user": {"login": "ada"},
                "head": {"ref": "better", "sha": commit or repository.head(), "repo": head},
                "base": {"ref": "main", "sha": "1" * 40, "repo": base}},
            "sender": {"login": "ada", "id": 1}}


def sign(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def deliver(server, payload, event="push", delivery=None, secret=SECRET, form=False, headers=None,
            signature=None):
    """Posts a payload (dict or bytes) as the forge does; (status, answer)."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    if form:
        body = urllib.parse.urlencode({"payload": body.decode()}).encode()
    all_headers = {
        "Content-Type": "application/x-www-form-urlencoded" if form else "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
        "X-Hub-Signature-256": signature or sign(body, secret),
        "User-Agent": "GitHub-Hookshot/test",
        **(headers or {}),
    }
    status, _, answer = server.request("/webhook", "POST", body, all_headers, token=False)
    return status, json.loads(answer)


def push(server, repository, **options):
    """A push that has to be accepted; returns the delivery's id."""
    status, answer = deliver(server, push_payload(repository, **options))
    assert status == 202, answer
    return answer["delivery"]


class GitHttp:
    """git's own http-backend behind Python's HTTP server: clone URLs as a forge has them.

    With a password, requests without it are answered 401.
    """

    def __init__(self, folder, password=None):
        backend = subprocess.run(["git", "--exec-path"], check=True, capture_output=True,
                                 text=True).stdout.strip() + "/git-http-backend"
        handler = type("Handler", (_GitHandler,), {
            "folder": str(folder), "backend": backend, "password": password})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{path}"

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _GitHandler(http.server.BaseHTTPRequestHandler):
    folder = backend = password = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.serve(b"")

    def do_POST(self):
        self.serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def serve(self, body):
        if self.password and self.headers.get("Authorization") is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.folder, "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run([self.backend], env=environment, input=body, capture_output=True,
                              check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
