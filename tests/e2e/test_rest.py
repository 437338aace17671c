"""REST as programs see it: every route, its limits, its errors, long polls."""
import base64
import threading
import time
import urllib.parse

import pytest

from tests.support.argon import wait_for
from tests.support.forge import deliver, push

TWO_JOBS = """\
version: 1
jobs:
  good:
    image: x
    steps:
      - { name: Count, run: "seq 1 50" }
      - { run: "echo to-stderr >&2" }
  bad:
    image: x
    needs: [good]
    steps:
      - { name: Break, run: "echo broken; exit 4" }
"""
SLOW = """\
version: 1
jobs:
  slow:
    image: x
    steps:
      - { run: "echo begun; sleep 60" }
"""
BUILD_MEMBERS = {
    "id", "version", "round", "number", "repo", "ref", "branch", "commit", "message", "author",
    "pusher", "event", "state", "reason_code", "reason", "created_at", "started_at", "finished_at",
    "queued_ms", "duration_ms", "url", "jobs"}
JOB_MEMBERS = {
    "id", "name", "state", "reason_code", "reason", "image", "attempt", "exit_code", "executor",
    "needs", "started_at", "finished_at", "duration_ms", "log_lines", "log_bytes", "steps"}
STEP_MEMBERS = {
    "index", "id", "name", "state", "reason_code", "reason", "exit_code", "signal", "started_at",
    "duration_ms", "cpu_ms", "max_rss_bytes", "first_line", "last_line"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One server with one ended build, for all tests that only read."""
    from tests.support.argon import Server
    from tests.support.forge import Repository
    one = Server(tmp_path_factory.mktemp("rest"))
    repo = Repository(tmp_path_factory.mktemp("repo") / "r", {".runnerci.yml": TWO_JOBS})
    push(one, repo, message="Say \u201chello\u201d")
    one.wait_build()
    yield one
    one.stop()


def newest(one):
    return one.build(one.builds()[0]["id"])


def job_of(build, name):
    return next(job for job in build["jobs"] if job["name"] == name)


def problem(one, path, status, method="GET", body=None):
    code, headers, answer = one.request(path, method, body)
    assert code == status, (path, code, answer)
    assert headers["Content-Type"].startswith("application/problem+json")
    import json
    told = json.loads(answer)
    assert told["status"] == status and told["title"] and told["detail"]
    return told["detail"]


def test_builds_jobs_and_steps_have_their_members(built):
    build = newest(built)
    assert BUILD_MEMBERS <= set(build)
    assert build["message"] == "Say \u201chello\u201d"
    assert build["state"] == "failed"
    assert build["url"] == f"{built.url}/r/acme/demo/builds/1"
    for job in build["jobs"]:
        assert JOB_MEMBERS <= set(job)
        for step in job["steps"]:
            assert STEP_MEMBERS <= set(step)
    assert built.get(f"/api/v1/jobs/{build['jobs'][0]['id']}") == build["jobs"][0]
    assert built.get("/api/v1/repos/acme/demo/builds/1") == build
    assert "jobs" not in built.builds()[0] or not built.builds()[0]["jobs"]


def test_lists_filter_page_and_refuse_what_they_do_not_know(built):
    for query, n in (("repo=acme/demo", 1), ("repo=acme/other", 0), ("branch=main", 1),
                     ("branch=x", 0), ("state=failed", 1), ("state=success", 0), ("event=push", 1),
                     ("event=tag", 0), (f"commit={newest(built)['commit']}", 1)):
        assert len(built.get(f"/api/v1/builds?{query}")["builds"]) == n, query
    assert built.get("/api/v1/builds?limit=1")["next"] is None
    for query, word in (("limit=0", "limit"), ("limit=x", "limit"), ("limit=100000", "limit"),
                        ("state=green", "state")):
        assert word in problem(built, f"/api/v1/builds?{query}", 400)


def test_what_is_not_there_is_404_as_a_problem(built):
    nobody = "01998c2e-7a5b-7c3d-8e4f-0123456789ab"
    for path in (f"/api/v1/builds/{nobody}", "/api/v1/builds/x", f"/api/v1/jobs/{nobody}",
                 f"/api/v1/jobs/{nobody}/log", f"/api/v1/jobs/{nobody}/log.txt",
                 "/api/v1/repos/acme/demo/builds/99", "/api/v1/repos/acme/demo/builds/x",
                 "/api/v1/nothing", "/r/acme/nothing", "/r/acme/demo/builds/99",
                 "/r/acme/demo/builds/1/jobs/nothing"):
        problem(built, path, 404)


def test_everything_but_health_and_version_needs_the_token(built):
    for path in ("/healthz", "/readyz", "/version"):
        assert built.request(path, token=False)[0] == 200
    job = newest(built)["jobs"][0]["id"]
    closed = ["/metrics", "/api/v1/builds", f"/api/v1/builds/{newest(built)['id']}",
              f"/api/v1/jobs/{job}", f"/api/v1/jobs/{job}/log", f"/api/v1/jobs/{job}/log.txt",
              "/api/v1/logs", "/api/v1/deliveries", "/api/v1/executors", "/api/v1/backup", "/",
              "/r/acme/demo", "/r/acme/demo/builds/1", "/r/acme/demo/builds/1/jobs/good"]
    for path in closed:
        status, headers, _ = built.request(path, token=False)
        assert status == 401, path
        assert headers["WWW-Authenticate"], path
        status, _, _ = built.request(path, token=False,
                                     headers={"Authorization": "Bearer " + "0" * 64})
        assert status == 401, path
        status, _, _ = built.request(f"{path}?token={built.token}", token=False)
        assert status == 401, path


def test_a_browser_opens_a_page_with_the_token_as_password(built):
    def basic(text):
        encoded = base64.b64encode(text.encode()).decode()
        return built.request("/r/acme/demo/builds/1", token=False,
                             headers={"Authorization": f"Basic {encoded}"})

    status, headers, body = basic(f"anyone:{built.token}")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    assert b"acme/demo #1  failed" in body
    for wrong in ("anyone:", "anyone:x", built.token, f"anyone:{built.token}x", ""):
        assert basic(wrong)[0] == 401
    for garbage in ("Basic", "Basic !!!!", "Basic " + "A" * 5000, "Digest x"):
        status, _, _ = built.request("/", token=False, headers={"Authorization": garbage})
        assert status == 401


def test_pages_stand_at_the_addresses_that_links_name(built):
    build = newest(built)
    _, _, home = built.request("/")
    assert build["url"].encode() in home
    _, _, repo = built.request("/r/acme/demo")
    assert b"#1" in repo
    status, headers, page = built.request("/r/acme/demo/builds/1/jobs/bad")
    assert status == 200 and headers["X-Content-Type-Options"] == "nosniff"
    assert b"Break" in page and page.endswith(b"broken\n")
    _, _, text = built.request("/r/acme/demo/builds/1")
    assert f"{build['url']}/jobs/bad".encode() in text


def test_windows_of_a_log_have_stable_numbers(built):
    import json
    job = job_of(newest(built), "good")
    path = f"/api/v1/jobs/{job['id']}/log"

    def window(query=""):
        status, _, body = built.request(path + query)
        assert status == 200
        return [json.loads(line) for line in body.decode().splitlines()]

    lines = window()
    assert [line[0] for line in lines] == list(range(1, len(lines) + 1))
    assert len(lines) == job["log_lines"]
    texts = [line[4] for line in lines]
    at = texts.index("1")
    assert texts[at:at + 50] == [str(n) for n in range(1, 51)]
    assert lines[at][2] == 1 and lines[-1][2] == 2 and lines[-1][4] == "to-stderr"
    assert lines[-1][3] == 1
    assert window(f"?from={at + 11}&n=5") == lines[at + 10:at + 15]
    assert window(f"?from={len(lines) + 1}") == []
    began = time.monotonic()
    assert window(f"?from={len(lines) + 1}&wait=20s") == []
    assert time.monotonic() - began < 5, "the log is complete: there is nothing to wait for"
    for query in ("?from=0", "?from=x", "?n=0", "?n=1000000", "?wait=x", "?attempt=0"):
        problem(built, path + query, 400)
    problem(built, path + "?attempt=9", 404)


def test_the_whole_log_is_bytes_and_obeys_ranges(built):
    job = job_of(newest(built), "good")
    path = f"/api/v1/jobs/{job['id']}/log.txt"
    status, headers, whole = built.request(path)
    assert status == 200 and len(whole) == job["log_bytes"]
    assert int(headers["Content-Length"]) == len(whole)
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    status, headers, part = built.request(path, headers={"Range": "bytes=3-9"})
    assert status == 206 and part == whole[3:10]
    assert headers["Content-Range"] == f"bytes 3-9/{len(whole)}"
    status, _, part = built.request(path, headers={"Range": "bytes=-4"})
    assert status == 206 and part == whole[-4:]
    status, _, _ = built.request(path, headers={"Range": f"bytes={len(whole)}-"})
    assert status == 416


def test_logs_of_services_filter(built):
    build = newest(built)
    logs = built.get("/api/v1/logs?limit=200")["logs"]
    assert logs and {"timestamp", "service", "job_id", "message", "severity"} <= set(logs[0])
    job = job_of(build, "bad")["id"]
    mine = built.get(f"/api/v1/logs?job_id={job}&limit=200")["logs"]
    assert mine and {entry["job_id"] for entry in mine} == {job}
    assert any(entry["message"] == "Starting job execution" for entry in mine)
    errors = built.get("/api/v1/logs?severity=ERROR&limit=200")["logs"]
    assert all(entry["severity"] == "ERROR" for entry in errors)
    assert built.get("/api/v1/logs?since=2099-01-01T00:00:00Z")["logs"] == []
    assert built.get("/api/v1/logs?since=1h")["logs"]
    problem(built, "/api/v1/logs?since=yesterday", 400)
    first = built.get("/api/v1/logs?limit=2")
    assert len(first["logs"]) == 2 and first["next"]
    second = built.get(f"/api/v1/logs?limit=2&cursor={urllib.parse.quote(first['next'])}")
    assert second["logs"] and second["logs"][0] not in first["logs"]


def test_deliveries_tell_what_came_of_them(built):
    deliver(built, {"zen": "x", "hook_id": 1, "hook": {}}, event="ping")
    deliver(built, {"ref": "x", "ref_type": "branch", "repository": {
        "id": 1, "name": "demo", "full_name": "acme/demo", "clone_url": "https://x/y.git"},
        "master_branch": "main", "pusher_type": "user", "sender": {"login": "a", "id": 1}},
        event="create")
    listed = built.get("/api/v1/deliveries")["deliveries"]
    pushed = next(one for one in listed if one["event"] == "push")
    assert pushed["result"] == "built" and pushed["builds"] == [newest(built)["id"]]
    assert pushed["repository"] == "acme/demo" and pushed["received_at"].endswith("Z")
    created = [one for one in listed if one["event"] == "create"]
    assert all(one["result"] == "ignored" and one["reason"] for one in created)


def test_executors_and_metrics_and_version(built):
    executors = built.get("/api/v1/executors")["executors"]
    assert len(executors) == 1
    assert {"id", "name", "labels", "slots", "jobs", "last_seen"} <= set(executors[0])
    status, headers, body = built.request("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = body.decode()
    assert 'argon_webhook_deliveries_total{result="accepted"} 1\n' in text
    assert 'argon_queue_ready{queue="webhook.queue"} 0\n' in text
    assert 'argon_builds{state="failed"} 1\n' in text
    assert "argon_scrape_errors 0\n" in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)), "a metric is announced twice"
    assert {"version", "api", "time", "url", "instance"} <= set(built.get("/version"))


def test_the_description_agrees_with_the_answers(built):
    told = built.get("/api/v1/openapi.json")
    schemas = told["components"]["schemas"]

    def members(name):
        return set(schemas[name]["properties"])

    build = newest(built)
    assert set(build) == members("Build")
    for job in build["jobs"]:
        assert set(job) == members("Job")
        assert all(set(step) == members("Step") for step in job["steps"])
        assert all(set(attempt) == members("Attempt") for attempt in job["attempts"])
    for path, name in (("builds", "Builds"), ("logs", "Logs"), ("deliveries", "Deliveries"),
                       ("executors", "Executors")):
        assert set(built.get(f"/api/v1/{path}")) == members(name)
    assert set(built.get("/api/v1/deliveries")["deliveries"][0]) == members("Delivery")
    assert set(built.get("/api/v1/executors")["executors"][0]) == members("Executor")
    assert set(built.get("/version")) == members("Version")
    assert set(built.get("/readyz")) == members("Ready")
    names = {"{id}": "x", "{owner}": "a", "{name}": "b", "{number}": "1"}
    for path, operations in told["paths"].items():
        real = path
        for name, value in names.items():
            real = real.replace(name, value)
        described = {p["name"] for o in operations.values() for p in o["parameters"]
                     if p["in"] == "path"}
        assert described == {name[1:-1] for name in names if name in path}, path
        # a method that is not described tells which are there
        _, headers, _ = built.request(real, "DELETE")
        allowed = {word.strip().lower() for word in headers["Allow"].split(",")} - {"head"}
        assert allowed == set(operations), path
    import pathlib
    source = (pathlib.Path(__file__).resolve().parents[2] / "src" / "pipeline" / "dashboard" /
              "dashboard.c").read_text(encoding="utf-8")
    import re
    routes = set(re.findall(r'\.path = "(/(?:api/[^"]+|healthz|readyz|version|metrics))"', source))
    assert routes == {re.sub(r"\{\w+\}", "{}", path) for path in told["paths"]}


def test_bodies_that_are_wrong_are_refused_with_what_is_allowed(built):
    build = newest(built)["id"]
    rerun = f"/api/v1/builds/{build}/rerun"
    assert "failed" in problem(built, rerun, 400, "POST", {"jobs": 3})
    assert "nobody" in problem(built, rerun, 400, "POST", {"jobs": ["nobody"]})
    problem(built, rerun, 400, "POST", b"{")
    problem(built, rerun, 400, "POST", b"[]")
    problem(built, rerun, 413, "POST", b" " * 100000)
    assert "failed" in problem(built, f"/api/v1/builds/{build}/cancel", 409, "POST")
    for body in ({}, {"repo": "x"}, {"repo": "a/b", "ref": "-x"}, {"repo": "a/b", "ref": "a..b"},
                 {"repo": "a b/c"}, {"repo": "a/b", "inputs": {"x": 1}}):
        problem(built, "/api/v1/builds", 400, "POST", body)


def test_a_long_poll_answers_when_the_build_changes(server, repository):
    one = server()
    push(one, repository({".runnerci.yml": SLOW}))
    build = one.wait_build(state="running")
    answers = []

    def poll():
        began = time.monotonic()
        answer = one.get(f"/api/v1/builds/{build['id']}?since={answers[0]}&wait=30s")
        answers.append((answer["version"], answer["state"], time.monotonic() - began))

    wait_for(lambda: one.build(build["id"])["jobs"][0]["steps"][0]["state"] == "running")
    answers.append(one.build(build["id"])["version"])
    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.5)
    assert len(answers) == 1, "it answered although nothing had changed"
    assert one.post(f"/api/v1/builds/{build['id']}/cancel")[0] == 202
    thread.join(20)
    assert answers[1][0] > answers[0] and answers[1][2] < 15
    assert one.wait_build()["state"] == "cancelled"


def test_a_long_poll_of_a_log_answers_at_its_next_line_and_at_its_deadline(server, repository):
    one = server()
    push(one, repository({".runnerci.yml": """\
version: 1
jobs:
  talk:
    image: x
    steps:
      - { run: "echo one; sleep 3; echo two; sleep 30" }
"""}))
    build = one.wait_build(state="running")
    job = build["jobs"][0]["id"]

    def window(start, wait):
        import json
        status, _, body = one.request(f"/api/v1/jobs/{job}/log?from={start}&wait={wait}")
        assert status == 200
        return [json.loads(line) for line in body.decode().splitlines()]

    seen = []
    while not any(line[4] == "one" for line in seen):
        seen += window(len(seen) + 1, "20s")
    began = time.monotonic()
    more = window(len(seen) + 1, "20s")
    assert more and more[0][4] == "two" and time.monotonic() - began < 8
    began = time.monotonic()
    assert window(len(seen) + len(more) + 1, "1s") == []
    assert 0.9 < time.monotonic() - began < 5
    one.post(f"/api/v1/builds/{build['id']}/cancel")
    one.wait_build()


def test_a_rerun_makes_a_new_round_of_the_same_build(server, repository):
    one = server()
    push(one, repository({".runnerci.yml": TWO_JOBS}))
    first = one.wait_build()
    status, answer = one.post(f"/api/v1/builds/{first['id']}/rerun", {"jobs": "failed"})
    assert status == 202 and answer["id"] == first["id"]
    wait_for(lambda: one.build(first["id"])["round"] == 2)
    second = one.wait_build()
    assert second["round"] == 2 and second["number"] == first["number"]
    assert job_of(second, "bad")["attempt"] == 2 and job_of(second, "good")["attempt"] == 1
    job = job_of(second, "bad")["id"]
    for attempt in (1, 2):
        status, _, body = one.request(f"/api/v1/jobs/{job}/log.txt?attempt={attempt}")
        assert status == 200 and body.endswith(b"broken\n")


def test_a_manual_run_builds_the_head_of_a_branch(server, repository):
    one = server()
    repo = repository({".runnerci.yml": TWO_JOBS})
    push(one, repo)
    one.wait_build()
    repo.commit({"new": "x"})
    status, answer = one.post("/api/v1/builds", {"repo": "acme/demo", "ref": "main"})
    assert status == 202
    build = wait_for(lambda: one.request(f"/api/v1/requests/{answer['request']}")[0] == 200)
    build = one.wait_build(number=2)
    assert build["event"] == "manual" and build["commit"] == repo.head()
