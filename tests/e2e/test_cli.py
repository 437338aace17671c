"""The command line as people and scripts use it, against a real server."""
import http.server
import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time

import pytest

from tests.support.argon import ARGON, ROOT, Server, wait_for
from tests.support.forge import Repository, push

THREE_JOBS = """\
version: 1
jobs:
  lint: { image: x, steps: [ { name: Look, run: "seq 1 30" } ] }
  build: { image: x, steps: [ { name: Make, id: make, run: "echo out; echo err >&2" } ] }
  test:
    image: x
    needs: [lint, build]
    steps:
      - { name: Try, run: "echo tried; exit 3" }
"""
SLOW = """\
version: 1
jobs:
  slow: { image: x, steps: [ { run: "echo begun; sleep 60" } ] }
"""
GREEN = """\
version: 1
jobs:
  only: { image: x, steps: [ { run: "echo hello" } ] }
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One server with one red build, for all tests that only read."""
    one = Server(tmp_path_factory.mktemp("cli"))
    push(one, Repository(tmp_path_factory.mktemp("repo") / "r", {".runnerci.yml": THREE_JOBS}))
    one.wait_build()
    yield one
    one.stop()


@pytest.fixture
def alone(tmp_path):
    """Runs the command line where there is no server."""
    def run(*arguments, **env):
        return subprocess.run([ARGON, *arguments], capture_output=True, text=True, timeout=30,
                              check=False, cwd=tmp_path,
                              env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env})
    return run


def commands():
    text = subprocess.run([ARGON, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  ([a-z]+) +\S", text.split("\nTopics")[0], re.M)


def options_of(command):
    text = subprocess.run([ARGON, command, "--help"], capture_output=True, text=True,
                          check=True).stdout
    return re.findall(r"^ +(?:-\w, )?--([a-z-]+)", text.split("\nOptions:")[1], re.M)


# What needs no server

def test_every_command_has_help_with_usage_and_options(alone):
    names = commands()
    assert {"up", "builds", "status", "logs", "watch", "rerun", "cancel", "doctor", "config",
            "backup", "restore", "version", "help", "completion"} <= set(names)
    for name in names:
        done = alone(name, "--help")
        assert done.returncode == 0 and not done.stderr, name
        assert done.stdout.startswith(f"Usage: argon {name}"), name
        assert {"help", "version", "color"} <= set(options_of(name)), name
        if name != "config":  # a topic of that name tells more
            assert alone("help", name).stdout == done.stdout


def test_man_pages_agree_with_help(alone, tmp_path):
    assert alone("man", "pages").returncode == 0
    pages = tmp_path / "pages"
    names = {path.name for path in pages.iterdir()}
    assert names == {f"argon-{name}.1" for name in commands()} | {
        "argon.1", "argon.conf.5", "runnerci.yml.5"}
    for name in commands():
        text = (pages / f"argon-{name}.1").read_text().replace("\\-", "-")
        shown = re.findall(r"--([a-z-]+)", text.split(".SH OPTIONS")[1])
        for option in options_of(name):
            assert option in shown, (name, option)
        assert f"argon-{name}" in (pages / "argon.1").read_text().replace("\\-", "-")
    conf = (pages / "argon.conf.5").read_text()
    for line in alone("config", "list").stdout.splitlines():
        key = line.removeprefix("# ").split(" ")[0]
        assert f"\\fB{key}\\fR" in conf, key
    assert "jobs.<id>.steps[].run" in (pages / "runnerci.yml.5").read_text()


def test_completions_know_every_command_and_option(alone, tmp_path):
    for shell in ("bash", "zsh", "fish"):
        script = alone("completion", shell)
        assert script.returncode == 0
        for name in commands():
            assert name in script.stdout, (shell, name)
    (tmp_path / "complete").write_text(alone("completion", "bash").stdout)

    def complete(*words):
        text = " ".join(words)
        done = subprocess.run(
            ["bash", "-euc", f". ./complete; COMP_WORDS=({text}); "
             f"COMP_CWORD={len(words) - 1}; _argon; echo \"${{COMPREPLY[@]}}\""],
            cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert complete("argon", "bui") == ["builds"]
    assert complete("argon", "logs", "--fo") == ["--follow"]
    assert "complete" in complete("argon", "restore", "comp")
    assert alone("completion", "tcsh").returncode == 2


def test_the_pages_of_reference_are_up_to_date(tmp_path):
    subprocess.run([str(ROOT / "tools" / "reference.sh"), ARGON, str(tmp_path)], check=True)
    for made in tmp_path.iterdir():
        kept = ROOT / "docs" / "reference" / made.name
        assert made.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), (
            f"{made.name}: run tools/reference.sh ARGON")


def test_pages_and_completions_are_installed(tmp_path):
    subprocess.run([str(ROOT / "tools" / "install-pages.sh"), ARGON], check=True,
                   env={**os.environ, "MESON_INSTALL_DESTDIR_PREFIX": str(tmp_path)})
    for path in ("man/man1/argon.1", "man/man1/argon-builds.1", "man/man5/argon.conf.5",
                 "bash-completion/completions/argon", "zsh/site-functions/_argon",
                 "fish/vendor_completions.d/argon.fish"):
        assert (tmp_path / "share" / path).stat().st_size > 100, path


def test_what_is_mistyped_is_refused_with_what_was_meant(alone):
    for arguments, words in ((["rerunn"], "Did you mean 'rerun'?"),
                             (["frobnicate"], "'argon help'"),
                             (["logs", "--folow"], "Did you mean '--follow'?"),
                             (["builds", "--limit"], "needs a value"),
                             (["builds", "--limit", "x"], "--limit: 'x' is not a whole number"),
                             (["builds", "--limit", "0"], "not between"),
                             (["builds", "x"], "one argument too many"),
                             (["cancel"], "an argument is missing"),
                             (["logs", "x#y"], "names no build"),
                             (["logs", "-f", "-n", "3"], "--since-line"),
                             (["logs", "--raw", "-n", "3"], "--raw"),
                             (["logs", "--timestamps=x"], "elapsed or utc"),
                             (["rerun", "--all", "--failed"], "only one of"),
                             (["config", "lst"], "list, get, path, check"),
                             (["config", "get"], "one key"),
                             (["--frob"], "--frob"),
                             (["builds", "--color=x"], "auto, always or never"),
                             (["help", "enviroment"], "Did you mean 'environment'?")):
        done = alone(*arguments)
        assert done.returncode == 2 and words in done.stderr and not done.stdout, (
            arguments, done.stderr)


def test_topics_tell_what_they_promise(alone):
    assert "ARGON_LISTEN" in alone("help", "environment").stdout
    assert "130" in alone("help", "exit-codes").stdout
    assert "NO_COLOR" in alone("help", "formatting").stdout
    assert "/etc/argon/argon.conf" in alone("help", "config").stdout


def test_versions(alone):
    assert re.fullmatch(r"argon \d+\.\d+\.\d+\n", alone("--version").stdout)
    assert alone("-V").stdout == alone("--version").stdout == alone("builds", "-V").stdout
    told = json.loads(alone("version", "--json").stdout)
    assert told["version"] in alone("version").stdout and told["api"] == "v1"
    assert json.loads(alone("version", "--json=api").stdout) == {"api": "v1"}
    done = alone("version", "--json=frob")
    assert done.returncode == 2 and "pipeline_file" in done.stderr


def test_settings_are_shown_with_their_origin_and_secrets_are_not(alone, tmp_path):
    config = tmp_path / "a.conf"
    config.write_text("slots = 3\nwebhook.secret = hunter22\n")
    done = alone("config", "list", "--origin", "--config", str(config), ARGON_LABELS="gpu",
                 ARGON_TOKEN="hunter23", ARGON_MAIL="smtp://me:hunter24@mail.example.org")
    assert done.returncode == 0
    assert f"slots = 3    # {config}:1" in done.stdout
    assert "labels = gpu    # environment ARGON_LABELS" in done.stdout
    assert "token = ***" in done.stdout and "webhook.secret = ***" in done.stdout
    assert "hunter2" not in done.stdout
    listed = json.loads(alone("config", "list", "--json=key,value").stdout)
    assert {"key": "job.timeout", "value": "60m"} in listed
    assert alone("config", "get", "job.timeout", ARGON_JOB_TIMEOUT="5m").stdout == "5m\n"
    assert alone("config", "get", "frob").returncode == 5
    assert alone("config", "path", "--config", "x.conf").stdout.startswith("x.conf\n")
    done = alone("config", "check", ARGON_SLOT="3")
    assert done.returncode == 1 and "did you mean ARGON_SLOTS?" in done.stderr
    assert alone("config", "check").returncode == 0


def test_without_a_server_it_says_how_to_get_one(alone):
    for arguments in (["builds"], ["status"], ["logs"], ["watch"], ["rerun"], ["cancel", "1"],
                      ["trigger", "a/b"]):
        done = alone(*arguments)
        assert done.returncode == 3 and "argon up" in done.stderr, arguments
    done = alone("builds", "--server", "http://127.0.0.1:9")
    assert done.returncode == 3 and "http://127.0.0.1:9" in done.stderr
    assert alone("builds", "--server", "127.0.0.1:9").returncode == 2


# What needs one

def test_builds_and_status_show_what_rest_has(built):
    done = built.command("builds", check=True)
    assert "acme/demo #1 failed" in done.stdout and "Change things" in done.stdout
    row = built.command("builds", "--plain", check=True).stdout.rstrip("\n").split("\t")
    assert row[:4] == ["acme/demo", "1", "failed", "main"] and row[8] == "Change things"
    listed = json.loads(built.command("builds", "--json", check=True).stdout)
    assert listed == built.builds()
    assert json.loads(built.command("builds", "--json=number,state").stdout) == [
        {"number": 1, "state": "failed"}]
    assert built.command("builds", "--json=frob").returncode == 2
    assert json.loads(built.command("builds", "-s", "success", "--json").stdout) == []
    assert built.command("builds", "-s", "green").returncode == 2
    done = built.command("status", "1", check=True)
    for words in ("lint", "build", "test", "Try", "exit 3", f"{built.url}/r/acme/demo/builds/1"):
        assert words in done.stdout
    assert json.loads(built.command("status", "--json").stdout) == built.build(listed[0]["id"])
    assert built.command("status", "--exit-status").returncode == 1


def test_every_form_of_build_finds_the_build(built):
    build = built.build(built.builds()[0]["id"])
    for form in ("1", "#1", "acme/demo#1", build["url"], build["url"] + "/jobs/test#L1",
                 build["commit"], build["commit"][:9], "main", build["id"]):
        done = built.command("status", form, "--json=id")
        assert done.returncode == 0, (form, done.stderr)
        assert json.loads(done.stdout)["id"] == build["id"], form
    for form in ("2", "acme/demo#2", "acme/other#1", "f" * 40, "no-such-branch"):
        done = built.command("status", form)
        assert done.returncode == 5, (form, done.stderr)


def test_a_commit_may_begin_with_digits_only(server, repository):
    one = server()
    repo = repository({".runnerci.yml": GREEN})
    for n in range(3000):  # one commit in 27 begins with seven digits
        if repo.head()[:7].isdigit():
            break
        repo.git("commit", "-q", "--amend", "--allow-empty", "-m", f"Try {n}")
    push(one, repo)
    build = one.wait_build()
    done = one.command("status", repo.head()[:7], "--json=id", check=True)
    assert json.loads(done.stdout)["id"] == build["id"]


def test_a_checkout_names_its_repository_and_branch(built, tmp_path):
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin",
                    "git@github.com:acme/demo.git"], check=True)
    assert built.command("status", cwd=tmp_path).returncode == 0
    subprocess.run(["git", "-C", str(tmp_path), "symbolic-ref", "HEAD", "refs/heads/other"],
                   check=True)
    done = built.command("status", cwd=tmp_path)
    assert done.returncode == 5 and "acme/demo on branch other" in done.stderr


def test_logs_choose_jobs_steps_and_lines(built):
    text = built.command("logs", "1/lint/Look", check=True).stdout
    assert text == "".join(f"{n}\n" for n in range(1, 31))
    assert built.command("logs", "1/lint/1").stdout == text
    assert built.command("logs", "1/build/make").stdout == "out\nerr\n"
    assert built.command("logs", "1/lint", "-n", "2").stdout == "29\n30\n"
    failed = built.command("logs", "--failed")
    assert "tried\n" in failed.stdout and "out" not in failed.stdout.split("\n")
    assert "acme/demo #1 test (failed)" in failed.stderr
    job = next(job for job in built.build(built.builds()[0]["id"])["jobs"]
               if job["name"] == "build")
    assert built.command("logs", "1/build", "--raw").stdout.encode() == built.log_text(job["id"])
    lines = [json.loads(line) for line in
             built.command("logs", "1/build/make", "--json").stdout.splitlines()]
    assert [(line["stream"], line["text"]) for line in lines] == [(1, "out"), (2, "err")]
    assert re.match(r" +\d+\.\d{3} out\n", built.command("logs", "1/build/make", "-t").stdout)
    assert re.match(r"20\d\d-\d\d-\d\dT[\d:.]+Z out\n",
                    built.command("logs", "1/build/make", "--timestamps=utc").stdout)
    assert built.command("logs", "1/nobody").returncode == 5
    assert built.command("logs", "1/build/nothing").returncode == 5


def test_following_an_ended_build_prints_it_and_ends(built):
    done = built.command("logs", "-f", "1/lint/Look")
    assert done.returncode == 0 and done.stdout.endswith("29\n30\n")
    done = built.command("logs", "-f", "1")
    assert done.returncode == 0 and "lint | 30\n" in done.stdout and "test | tried\n" in done.stdout


def test_watch_ends_with_the_builds_exit_code(built):
    done = built.command("watch", "1")
    assert done.returncode == 1 and "acme/demo #1 failed" in done.stdout
    done = built.command("watch", "1", "--json=state")
    assert done.returncode == 1 and json.loads(done.stdout) == {"state": "failed"}


def test_colours_follow_the_stream_and_the_environment(built):
    assert "\x1b[" not in built.command("builds").stdout
    assert "\x1b[" in built.command("builds", "--color=always").stdout
    assert "\x1b[" in built.command("builds", env={"CLICOLOR_FORCE": "1"}).stdout
    assert "\x1b[" not in built.command("builds", env={"CLICOLOR_FORCE": "1",
                                                       "NO_COLOR": "1"}).stdout
    assert "✖" in built.command("builds", env={"LC_ALL": "C.UTF-8"}).stdout
    assert "FAIL" in built.command("builds", env={"LC_ALL": "C"}).stdout


def test_a_wrong_token_is_exit_code_4(built):
    done = built.command("builds", env={"ARGON_TOKEN": "wrong"})
    assert done.returncode == 4 and "refuses the token" in done.stderr


def test_the_token_of_this_machine_goes_to_no_other_server(built):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_):
            pass

    other = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    done = built.command("builds", "--server", f"http://127.0.0.1:{other.server_address[1]}")
    assert done.returncode == 4 and "ARGON_TOKEN" in done.stderr
    assert seen == [None]
    built.command("builds", "--server", f"http://127.0.0.1:{other.server_address[1]}",
                  env={"ARGON_TOKEN": "for-that-one"})
    assert seen[1] == "Bearer for-that-one"
    assert built.command("builds", env={"ARGON_SERVER": built.url}).returncode == 0
    other.shutdown()
    other.server_close()


def test_the_users_own_file_names_a_server_and_its_token(built, tmp_path):
    folder = tmp_path / ".config" / "argon"
    folder.mkdir(parents=True)

    def run(text):
        (folder / "config").write_text(text)
        return subprocess.run([ARGON, "builds", "--json=number"], capture_output=True, text=True,
                              check=False, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})

    done = run(f"server = {built.url}/\ntoken = {built.token}\n")
    assert done.returncode == 0 and json.loads(done.stdout) == [{"number": 1}]
    assert run(f"server = {built.url}\n").returncode == 4
    done = run(f"server = {built.url}\nslots = 2\n")
    assert done.returncode == 2 and "config:2:" in done.stderr
    (tmp_path / "token").write_text(built.token + "\n")
    done = run(f"server = {built.url}\ntoken.file = {tmp_path}/token\n")
    assert done.returncode == 0


def test_doctor_reports_as_text_and_as_json(built):
    done = built.command("doctor")
    assert done.returncode in (0, 1) and built.url in done.stdout
    found = {one["check"]: one for one in json.loads(built.command("doctor", "--json").stdout)}
    assert {"binary", "git", "clock", "disk", "mail", "server", "executors", "url",
            "webhook"} <= set(found)
    assert found["server"]["state"] == "ok" and found["executors"]["state"] == "ok"
    assert found["url"]["state"] == "warning" and "tunnel" in found["url"]["fix"]
    assert "acme/demo, built" in found["webhook"]["text"]


def test_doctor_finds_a_url_that_leads_elsewhere(server):
    one, other = server(), server()
    one.stop()
    one.environment["ARGON_URL"] = other.url
    one.start()
    done = one.command("doctor", "--json")
    url = next(x for x in json.loads(done.stdout) if x["check"] == "url")
    assert done.returncode == 1 and url["state"] == "error" and "another server" in url["text"]


def interrupt(one, arguments, ready):
    """Starts a command, waits until its output has the word, sends SIGINT."""
    process = subprocess.Popen([ARGON, *arguments], env=one.environment, cwd=one.folder,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    while ready not in line:
        line = process.stdout.readline()
        assert line, "it ended"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors


def test_ctrl_c_detaches_and_the_build_goes_on(server, repository):
    one = server()
    push(one, repository({".runnerci.yml": SLOW}))
    one.wait_build(state="running")
    code, errors = interrupt(one, ["logs", "-f", "1"], "begun")
    assert code == 130 and "argon logs -f acme/demo#1" in errors
    code, errors = interrupt(one, ["watch", "1"], "running")
    assert code == 130 and "re-attach with: argon watch acme/demo#1" in errors
    assert one.builds()[0]["state"] == "running"
    done = one.command("cancel", "1", check=True)
    assert "argon watch acme/demo#1" in done.stderr
    done = one.command("watch", "1")
    assert done.returncode == 7 and "cancelled" in done.stdout
    assert one.command("cancel", "1").returncode == 1


def test_rerun_watches_the_new_round_and_trigger_builds_a_branch(server, repository):
    one = server()
    repo = repository({".runnerci.yml": THREE_JOBS})
    push(one, repo)
    one.wait_build()
    done = one.command("rerun", "1", "--watch")
    assert done.returncode == 1 and "test failed" in done.stdout
    assert one.build(one.builds()[0]["id"])["round"] == 2
    one.command("rerun", "1", "--job", "lint", check=True)
    assert one.command("rerun", "1", "--job", "nobody").returncode in (1, 2)
    repo.commit({".runnerci.yml": GREEN})
    done = one.command("trigger", "acme/demo", "-b", "main", "--watch")
    assert done.returncode == 0 and "success" in done.stdout, done.stderr
    assert one.command("rerun", "2").returncode == 1, "nothing of it failed"
    assert one.command("trigger").returncode == 2


def test_who_follows_outlasts_a_restart_of_the_server(server, repository):
    one = server(GRACE="1s")
    push(one, repository({".runnerci.yml": """\
version: 1
jobs:
  long: { image: x, steps: [ { run: "for i in $(seq 1 12); do echo line $i; sleep 1; done" } ] }
"""}))
    build = one.wait_build(state="running")
    wait_for(lambda: b"line 1" in one.log_text(build["jobs"][0]["id"]))
    watching = [subprocess.Popen([ARGON, *arguments], env=one.environment, cwd=one.folder,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for arguments in (["watch", "1"], ["logs", "-f", "1/long/1"])]
    time.sleep(0.5)
    os.kill(one.child(), signal.SIGKILL)
    time.sleep(2)
    one.process.send_signal(signal.SIGHUP)
    outputs = [process.communicate(timeout=90) for process in watching]
    assert [process.returncode for process in watching] == [0, 0], outputs
    assert outputs[1][0] == "".join(f"line {n}\n" for n in range(1, 13))
    assert "success" in outputs[0][0]


def on_terminal(one, arguments, seconds=30):
    """Runs a command on a pseudo terminal; (exit code, everything it wrote)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(one.folder)
        os.execve(ARGON, [ARGON, *arguments],
                  {**one.environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"})
    output = b""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        readable, _, _ = select.select([fd], [], [], 0.5)
        try:
            piece = os.read(fd, 65536) if readable else b""
        except OSError:
            break
        if readable and not piece:
            break
        output += piece
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), output.decode()


def test_watch_redraws_one_block_on_a_terminal(server, repository):
    one = server()
    push(one, repository({".runnerci.yml": """\
version: 1
jobs:
  short: { image: x, steps: [ { run: sleep 2.5 } ] }
"""}))
    one.wait_build(state="running")
    code, text = on_terminal(one, ["watch", "1"])
    assert code == 0 and "\x1b[?1049h" not in text, "no alternate screen"
    assert re.search(r"\x1b\[\d+A", text) and "\x1b[32m✔" in text
    assert text.count("acme/demo #1") >= 3


def test_a_backup_of_a_running_server_restores_into_an_empty_folder(server, repository, tmp_path):
    one = server()
    push(one, repository({".runnerci.yml": GREEN}))
    build = one.wait_build()
    log = one.log_text(build["jobs"][0]["id"])
    path = tmp_path / "backup"
    one.command("backup", str(path), check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    done = one.command("backup", str(path))
    assert done.returncode == 2 and "exists" in done.stderr
    piped = subprocess.run([ARGON, "backup", "-"], env=one.environment, capture_output=True,
                           check=True).stdout
    assert piped[:8] == path.read_bytes()[:8]
    done = one.command("restore", str(path))
    assert done.returncode != 0 and f"pid {one.process.pid}" in done.stderr
    one.stop()
    done = one.command("restore", str(path))
    assert done.returncode != 0 and "not empty" in done.stderr
    offline = tmp_path / "offline"
    one.command("backup", str(offline), check=True)
    for source in (path, offline):
        folder = tmp_path / f"from-{source.name}"
        folder.mkdir()
        one.command("restore", str(source), "--data", str(folder / "data"), check=True)
        two = Server(folder)
        assert two.builds()[0]["id"] == build["id"]
        assert two.log_text(build["jobs"][0]["id"]) == log
        two.stop()
    broken = tmp_path / "broken"
    broken.write_bytes(path.read_bytes()[:5000])
    done = one.command("restore", str(broken), "--data", str(tmp_path / "x"))
    assert done.returncode == 2 and not (tmp_path / "x" / "argon.db").exists()


def test_what_has_no_log_says_why(server, repository):
    one = server()
    repo = repository({".runnerci.yml": """\
version: 1
jobs:
  a: { image: x, steps: [ { run: exit 1 } ] }
  b: { image: x, needs: [a], steps: [ { run: echo b } ] }
"""})
    push(one, repo)
    one.wait_build()
    for arguments in (["logs", "1"], ["logs", "1/b"], ["logs", "1/b", "--raw"],
                      ["logs", "-f", "1"]):
        done = one.command(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    assert 'b (skipped) skipped: it needs "a"' in one.command("logs", "1/b").stderr
    repo.commit({".runnerci.yml": "version: 1\njobs:\n  a: { imgae: x, steps: [ { run: x } ] }\n"})
    push(one, repo)
    one.wait_build(number=2)
    done = one.command("logs", "2")
    assert done.returncode == 0 and "imgae" in done.stderr
    done = one.command("watch", "2")
    assert done.returncode == 3 and "argon status acme/demo#2" in done.stderr
    assert 'did you mean "image"?' in one.command("status", "2").stdout


def test_bytes_of_any_kind_do_not_break_the_log(server, repository):
    one = server()
    push(one, repository({".runnerci.yml": """\
version: 1
jobs:
  odd:
    image: x
    steps:
      - run: |
          printf 'nul \\000 bad \\377 end\\n'
          head -c 9000000 /dev/zero | tr '\\0' '\\1'; echo
          echo last
"""}))
    build = one.wait_build()
    assert build["state"] == "success", build
    done = subprocess.run([ARGON, "logs", "1/odd/1"], env=one.environment, cwd=one.folder,
                          capture_output=True, check=True)
    assert done.stdout.startswith("nul \ufffd bad \ufffd end\n".encode())
    assert done.stdout.endswith(b"last\n") and done.stdout.count(b"\x01") == 9000000
    assert one.command("logs", "-f", "1/odd/1").returncode == 0


def test_output_into_a_full_disk_is_not_success(built):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([ARGON, "builds"], env=built.environment, stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3 and "standard output" in done.stderr
