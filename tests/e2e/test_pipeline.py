"""The main job: a signed push becomes a build, its log and a mail; and what goes wrong on the way."""
import email
import email.policy
import os
import signal
import subprocess
import time

import pytest

from tests.support.argon import wait_for
from tests.support.forge import (GitHttp, deliver, pull_request_payload, push, push_payload)

ENGINES = ["local", "docker"]
IMAGE = "argon-test:base"

GREEN = """\
version: 1.0
jobs:
  hello:
    image: argon-test:base
    steps:
      - name: Greet
        run: |
          echo "hello from $CI_REPO at $CI_COMMIT_SHA"
          cat greeting.txt
      - run: echo to-stderr >&2
"""


def one_job(*steps, extra=""):
    """A file of one job with these commands as its steps."""
    lines = ["version: 1", "jobs:", "  job:", f"    image: {IMAGE}"]
    lines += ["    " + line for line in extra.splitlines()]
    lines.append("    steps:")
    for step in steps:
        first, *rest = step.split("\n")
        lines.append("      - run: |")
        lines += [f"          {line}" for line in [first, *rest]]
    return "\n".join(lines) + "\n"


def outbox(server):
    mails = sorted((server.data / "outbox").glob("*.eml"))
    return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            for path in mails]


def job_of(build, name="job"):
    return next(job for job in build["jobs"] if job["name"] == name)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_push_becomes_a_green_build_its_log_and_a_mail(server, repository, engine):
    one = server(engine=engine)
    repo = repository({".runnerci.yml": GREEN, "greeting.txt": "good morning\n"})
    push(one, repo)
    build = one.wait_build()
    assert build["state"] == "success", build
    assert build["repo"] == "acme/demo" and build["commit"] == repo.head()
    assert build["branch"] == "main" and build["event"] == "push" and build["number"] == 1
    job = job_of(build, "hello")
    assert [step["state"] for step in job["steps"]] == ["success", "success"]
    assert job["steps"][0]["exit_code"] == 0 and job["exit_code"] == 0
    text = one.log_text(job["id"]).decode()
    assert f"hello from acme/demo at {repo.head()}\ngood morning\n" in text
    assert text.endswith("to-stderr\n")
    mail = wait_for(lambda: outbox(one), why="no mail in the outbox")
    assert len(mail) == 1
    assert mail[0]["To"] == "ada@example.org"
    assert "acme/demo" in mail[0]["Subject"] and "#1" in mail[0]["Subject"]
    assert build["url"] in mail[0].get_body(("plain",)).get_content()
    assert one.get("/api/v1/deliveries")["deliveries"][0]["builds"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failing_step_ends_the_job_and_the_mail_shows_its_last_lines(server, repository, engine):
    one = server(engine=engine)
    repo = repository({".runnerci.yml": one_job("echo before", "echo the cause; exit 3",
                                                "echo never")})
    push(one, repo)
    build = one.wait_build()
    job = job_of(build)
    assert build["state"] == "failed" and job["reason_code"] == "exit_code"
    assert [step["state"] for step in job["steps"]] == ["success", "failed", "skipped"]
    assert job["exit_code"] == 3 and job["steps"][1]["exit_code"] == 3
    assert b"never" not in one.log_text(job["id"])
    mail = wait_for(lambda: outbox(one))[0]
    body = mail.get_body(("plain",)).get_content()
    assert "FAILED" in mail["Subject"] and "the cause" in body and "exited with 3" in body


def test_the_first_users_file_runs_unchanged_on_docker(server, repository):
    one = server(engine="docker")
    repo = repository({"requirements.txt": "", "main.py": "print('ran', 6 * 7)\n",
                       ".runnerci.yml": """\
version: 1.0
jobs:
  build:
    image: python:3.10
    steps:
      - name: Install dependencies
        run: pip install -r requirements.txt
      - name: Run main script
        run: python main.py
"""})
    push(one, repo)
    build = one.wait_build()
    assert build["state"] == "success", build
    assert b"ran 42\n" in one.log_text(build["jobs"][0]["id"])


def test_the_local_engine_says_that_the_image_is_not_used(server, repository):
    one = server(engine="local")
    push(one, repository({".runnerci.yml": one_job("echo x")}))
    build = one.wait_build()
    text = one.log_text(build["jobs"][0]["id"]).decode()
    assert text.count(IMAGE) == 1 and "not used" in text


def test_jobs_without_a_path_between_them_run_at_the_same_time(server, repository):
    one = server(SLOTS=2)
    meet = "touch /workspace/../tmp/x; sleep 1.5"
    repo = repository({".runnerci.yml": f"""\
version: 1
jobs:
  a: {{ image: x, steps: [ {{ run: "{meet}" }} ] }}
  b: {{ image: x, steps: [ {{ run: "{meet}" }} ] }}
  after: {{ image: x, needs: [a, b], steps: [ {{ run: echo after }} ] }}
"""})
    push(one, repo)
    build = one.wait_build()
    a, b, after = (job_of(build, name) for name in ("a", "b", "after"))
    assert build["state"] == "success", build
    assert a["started_at"] < b["finished_at"] and b["started_at"] < a["finished_at"]
    assert after["started_at"] >= max(a["finished_at"], b["finished_at"])
    assert sorted(after["needs"]) == ["a", "b"]


def test_what_needs_a_failed_job_is_skipped_with_a_reason(server, repository):
    one = server()
    push(one, repository({".runnerci.yml": """\
version: 1
jobs:
  a: { image: x, steps: [ { run: exit 1 } ] }
  b: { image: x, needs: [a], steps: [ { run: echo b } ] }
"""}))
    build = one.wait_build()
    b = job_of(build, "b")
    assert build["state"] == "failed" and b["state"] == "skipped" and '"a"' in b["reason"]


def test_duplicates_and_replays_make_one_build(server, repository):
    one = server()
    repo = repository({".runnerci.yml": one_job("echo x")})
    payload = push_payload(repo)
    assert deliver(one, payload, delivery="id-1")[0] == 202
    assert deliver(one, payload, delivery="id-1") == (200, {"delivery": "id-1",
                                                            "result": "duplicate"})
    status, answer = deliver(one, payload, delivery="id-2")
    assert status == 200 and answer["result"] == "duplicate"
    one.wait_build()
    assert len(one.builds()) == 1


def broken(kind, repo, tmp_path):
    """(payload, words of the reason) of one way in which the source is broken."""
    if kind == "repository gone":
        return push_payload(repo, url=f"file://{tmp_path}/nowhere"), "no git repository"
    if kind == "commit gone":
        return push_payload(repo, commit="a" * 40), "no longer in the repository"
    if kind == "protocol not allowed":
        return push_payload(repo, url="git://127.0.0.1/x"), "ARGON_GIT_ALLOW"
    if kind == "symbolic link":
        (repo.folder / ".runnerci.yml").unlink()
        (repo.folder / ".runnerci.yml").symlink_to("/etc/passwd")
        repo.commit({})
        return push_payload(repo), "symbolic link"
    if kind == "folder":
        repo.commit({".runnerci.yml": None})
        repo.commit({".runnerci.yml/x": "y"})
        return push_payload(repo), "plain file"
    if kind == "too large":
        repo.commit({".runnerci.yml": "#" * (300 * 1024)})
        return push_payload(repo), "256 KiB"
    if kind == "large file pointer":
        repo.commit({".runnerci.yml": "version https://git-lfs.github.com/spec/v1\n"
                                      "oid sha256:" + "0" * 64 + "\nsize 12\n"})
        return push_payload(repo), ".runnerci.yml"
    if kind == "unknown key":
        repo.commit({".runnerci.yml": "version: 1\njobs:\n  a:\n    stpes: []\n"})
        return push_payload(repo), "stpes"
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["repository gone", "commit gone", "protocol not allowed",
                                  "symbolic link", "folder", "too large", "large file pointer",
                                  "unknown key"])
def test_a_broken_source_is_a_build_in_error_with_its_reason(server, repository, tmp_path, kind):
    one = server()
    repo = repository({".runnerci.yml": GREEN})
    payload, words = broken(kind, repo, tmp_path)
    assert deliver(one, payload)[0] == 202
    build = one.wait_build()
    assert build["state"] == "error", build
    assert build["reason_code"] in ("source_unavailable", "config_invalid")
    assert words in build["reason"], build["reason"]
    assert "root:" not in build["reason"]


def test_refused_credentials_are_said_without_showing_any(server, repository, tmp_path):
    one = server()
    repo = repository({".runnerci.yml": GREEN})
    forge = GitHttp(tmp_path, password="open sesame")
    try:
        deliver(one, push_payload(repo, url=forge.url("repository-0/.git")))
        build = one.wait_build()
        assert build["state"] == "error" and "credentials" in build["reason"]
    finally:
        forge.stop()


def test_a_push_over_http_is_fetched_and_a_rewrite_leads_elsewhere(server, repository, tmp_path):
    forge = GitHttp(tmp_path)
    try:
        one = server(GIT_ALLOW="http",
                     GIT_REWRITE=f"https://github.com/acme/={forge.url('')}")
        repo = repository({".runnerci.yml": GREEN, "greeting.txt": "hi\n"})
        deliver(one, push_payload(repo, url="https://github.com/acme/repository-0/.git"))
        build = one.wait_build()
        assert build["state"] == "success", build
    finally:
        forge.stop()


def test_a_commit_without_the_file_is_a_delivery_without_configuration(server, repository):
    one = server()
    deliver(one, push_payload(repository({"README": "x"})))
    row = wait_for(lambda: [d for d in one.get("/api/v1/deliveries")["deliveries"]
                            if d["result"] == "no configuration"])
    assert row[0]["repository"] == "acme/demo" and not one.builds()


def test_a_branch_with_the_name_of_an_option_is_only_a_name(server, repository):
    one = server()
    repo = repository({".runnerci.yml": GREEN, "greeting.txt": "hi\n"})
    repo.git("update-ref", "refs/heads/--upload-pack=x", "HEAD")
    deliver(one, push_payload(repo, ref="refs/heads/--upload-pack=x"))
    build = one.wait_build()
    assert build["state"] == "success" and build["branch"] == "--upload-pack=x"


def test_skip_ci_branch_deletion_and_unknown_events_are_recorded_with_their_reason(server,
                                                                                 repository):
    one = server()
    repo = repository({".runnerci.yml": GREEN})
    for payload, event in ((push_payload(repo, message="Docs [skip ci]"), "push"),
                           (push_payload(repo, deleted=True), "push"),
                           ({"zen": "x", "repository": push_payload(repo)["repository"]}, "star")):
        status, answer = deliver(one, payload, event=event)
        assert status == 200 and answer["result"] == "ignored" and answer["reason"], answer
    rows = one.get("/api/v1/deliveries")["deliveries"]
    assert len(rows) == 3 and all(row["reason"] for row in rows)
    status, answer = deliver(one, {"zen": "Keep it", "hook_id": 1, "hook": {}}, event="ping")
    assert (status, answer["result"]) == (200, "pong")


def test_a_tag_and_a_pull_request_are_built_and_a_fork_in_the_strict_profile(server, repository):
    one = server(engine="docker")
    repo = repository({".runnerci.yml": one_job("id -u; grep CapEff /proc/self/status; "
                                                "echo \"pr=$CI_PULL_REQUEST tag=$CI_TAG\"")})
    repo.git("tag", "v1")
    deliver(one, push_payload(repo, ref="refs/tags/v1"))
    build = one.wait_build()
    assert build["event"] == "tag" and build["branch"] == "v1" and build["state"] == "success"
    assert b"tag=v1\n" in one.log_text(build["jobs"][0]["id"])
    deliver(one, pull_request_payload(repo, fork=True), event="pull_request")
    build = one.wait_build(number=2)
    text = one.log_text(build["jobs"][0]["id"])
    assert build["event"] == "pull_request" and build["state"] == "success", (build, text)
    assert b"65534\nCapEff:\t0000000000000000\npr=3 tag=\n" in text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step, extra, state, code, words", [
    ("sleep 60", "timeout-minutes: 0.02", "timeout", "timeout", "timed out after"),
    ("trap '' TERM; (setsid sleep 1000 &) ; while :; do sleep 1; done", "timeout-minutes: 0.02",
     "timeout", "timeout", "timed out after"),
    ("kill -SEGV $$", "", "failed", "signal", "signal 11"),
    ("kill -9 $PPID; sleep 0.2; exit 4", "", "failed", "exit_code", "exited with 4"),
    ("exec python3 -c 'b=bytearray(400<<20); print(len(b))'", "resources: { memory: 128MiB }",
     "failed", "out_of_memory", "128 MiB"),
])
def test_every_end_of_a_job_has_its_reason(server, repository, engine, step, extra, state, code,
                                           words):
    one = server(engine=engine)
    push(one, repository({".runnerci.yml": one_job(step, extra=extra)}))
    job = job_of(one.wait_build())
    assert (job["state"], job["reason_code"]) == (state, code), job
    assert words in job["reason"], job["reason"]


@pytest.mark.parametrize("engine", ENGINES)
def test_output_of_any_shape_comes_back_byte_by_byte(server, repository, engine):
    one = server(engine=engine)
    push(one, repository({".runnerci.yml": one_job(
        r"printf 'nul \000 bad \377\376 end\n'",
        "python3 -c \"import sys; sys.stdout.write('x' * 3000000)\"",
        "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done")}))
    build = one.wait_build()
    assert build["state"] == "success", build
    text = one.log_text(build["jobs"][0]["id"])
    assert b"nul \0 bad \xff\xfe end\n" in text
    assert b"x" * 3000000 in text
    both = b"".join(b"out %d\nerr %d\n" % (i, i) for i in range(300))
    assert sorted(text[-len(both):].split(b"\n")) == sorted(both.split(b"\n"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_job_goes_on_when_the_server_is_killed_and_its_log_is_whole(server, repository, engine):
    one = server(engine=engine)
    push(one, repository({".runnerci.yml": one_job(
        "i=0; while [ $i -lt 80 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 7")}))
    wait_for(lambda: one.builds() and one.builds()[0]["state"] == "running")
    time.sleep(1)
    os.kill(one.child(), signal.SIGKILL)
    wait_for(one.ready, why="the parent did not restart the child")
    build = one.wait_build()
    job = job_of(build)
    assert (job["state"], job["exit_code"], job["attempt"]) == ("failed", 7, 1), (job, one.log())
    lines = one.log_text(job["id"]).decode().split("\n")
    assert [line for line in lines if line.startswith("line ")] == [f"line {i}" for i in range(80)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_running_build_is_cancelled_and_run_again(server, repository, engine):
    one = server(engine=engine)
    push(one, repository({".runnerci.yml": one_job("test -f /workspace/.git/HEAD; sleep 100")}))
    build = wait_for(lambda: [b for b in one.builds() if b["state"] == "running"])[0]
    began = time.monotonic()
    assert one.post(f"/api/v1/builds/{build['id']}/cancel")[0] == 202
    build = one.wait_build()
    assert build["state"] == "cancelled" and time.monotonic() - began < 15
    assert one.post(f"/api/v1/builds/{build['id']}/rerun", {"jobs": "all"})[0] == 202
    again = one.wait_build(state="running")
    assert again["round"] == 2 and again["id"] == build["id"]
    one.post(f"/api/v1/builds/{build['id']}/cancel")
    assert job_of(one.wait_build())["attempt"] == 2


def test_the_mail_server_may_be_away_and_nothing_is_lost(server, repository, smtp):
    smtp.stop()
    one = server(MAIL=smtp.url)
    push(one, repository({".runnerci.yml": one_job("echo x")}))
    one.wait_build()
    time.sleep(2)
    smtp.start()
    mails = wait_for(smtp.mails, 60, why="the mail did not come after the server was back")
    assert len(mails) == 1 and mails[0]["To"] == "ada@example.org"


def test_noreply_addresses_are_never_mailed(server, repository, smtp):
    one = server(MAIL=smtp.url, MAIL_TO="team@example.org")
    repo = repository({".runnerci.yml": one_job("echo x")})
    payload = push_payload(repo, pusher=("ada", "1+ada@users.noreply.github.com"))
    for person in ("author", "committer"):
        payload["head_commit"][person] = {"name": "x", "email": "1+x@users.noreply.github.com"}
    deliver(one, payload)
    one.wait_build()
    mails = wait_for(smtp.mails)
    assert mails[0]["To"] in ("ada@example.org", "team@example.org")


def test_a_second_server_on_the_same_folder_is_refused(server):
    one = server()
    done = one.command("up", "--listen", "127.0.0.1:0")
    assert done.returncode != 0 and str(one.process.pid) in done.stderr


def test_secrets_of_the_server_are_private_files(server):
    one = server()
    assert (one.data / "token").stat().st_mode & 0o777 == 0o600


def test_backup_while_running_and_restore_into_an_empty_folder(server, repository, tmp_path):
    one = server()
    push(one, repository({".runnerci.yml": one_job("echo kept")}))
    build = one.wait_build()
    backup = tmp_path / "argon.backup"
    one.command("backup", str(backup), check=True)
    one.stop()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    done = one.command("restore", str(backup), env={"ARGON_DATA": str(fresh / "data")})
    assert done.returncode == 0, done.stderr
    two = server(folder=fresh)
    assert [b["id"] for b in two.builds()] == [build["id"]]
    assert b"kept\n" in two.log_text(build["jobs"][0]["id"])
    again = one.command("restore", str(backup), env={"ARGON_DATA": str(fresh / "data")})
    assert again.returncode != 0


def test_a_full_disk_refuses_webhooks_and_goes_on_by_itself_when_there_is_room(server, repository,
                                                                               tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(folder)],
                             capture_output=True, text=True, check=False)
    assert mounted.returncode == 0, "this test mounts a small disk, as root: " + mounted.stderr
    try:
        one = server(folder=folder)
        repo = repository({".runnerci.yml": one_job("echo x")})
        with open(folder / "fill", "wb", buffering=0) as fill, pytest.raises(OSError):
            while True:
                fill.write(b"x" * 65536)
        status, answer = deliver(one, push_payload(repo))
        assert status == 503, answer
        status, _, body = one.request("/readyz", token=False)
        assert status == 503 and b"is full" in body
        (folder / "fill").unlink()
        wait_for(lambda: deliver(one, push_payload(repo))[0] == 202, 10)
        assert one.wait_build()["state"] == "success"
        one.stop()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
