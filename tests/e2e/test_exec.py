"""`argon exec`, `lint` and `init`: what people use before there is a server."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from tests.support.argon import ARGON, ROOT, wait_for
from tests.support.forge import Repository

JOBS = """\
version: 1
env: { WHERE: file, KEEP: file }
jobs:
  lint: { steps: [ { run: "cat hello.txt; ls -A" } ] }
  build: { steps: [ { name: Say, run: "echo $WHERE $KEEP $CI_BRANCH; git log --oneline | wc -l" } ] }
  test:
    needs: [ lint, build ]
    steps:
      - run: echo tried
      - { name: Try, run: "echo boom >&2; exit 3" }
"""
ONE = """\
version: 1
jobs:
  only: { steps: [ { run: "%s" } ] }
"""


@pytest.fixture
def project(tmp_path):
    """A repository and a home of its own; project(...) runs argon in it."""
    made = Repository(tmp_path / "project", {".runnerci.yml": JOBS, "hello.txt": "hello\n",
                                             ".gitignore": "*.log\n", "gone.txt": "x\n"})

    def run(*arguments, folder=made.folder, stdin=subprocess.DEVNULL, **env):
        return subprocess.run(
            [ARGON, *arguments], cwd=folder, capture_output=True, text=True, timeout=120,
            check=False, stdin=stdin,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"),
                 **{k: v for k, v in os.environ.items()
                    if k.endswith("SAN_OPTIONS") or k == "DOCKER_HOST"}, **env})

    (tmp_path / "home").mkdir()
    run.path = made.folder
    run.home = tmp_path / "home"
    run.repository = made
    run.exec = lambda *arguments, **options: run("exec", "--engine", "local", *arguments, **options)
    return run


def only(project, script):
    (project.path / ".runnerci.yml").write_text(ONE % script, encoding="utf-8")


def test_jobs_run_in_the_order_of_their_needs_and_the_log_is_kept(project):
    done = project.exec()
    assert done.returncode == 1, done.stderr
    assert "3 jobs (lint, build → test)" in done.stderr
    assert re.search(r'test .*step 2 "Try" exited with 3', done.stderr), done.stderr
    assert "1 of 3 jobs failed" in done.stderr
    assert "lint  | hello\n" in done.stdout and "test  | boom\n" in done.stdout
    assert "build | file file main\n" in done.stdout
    log = re.search(r"full log: (\S+)", done.stderr).group(1)
    assert open(log, encoding="utf-8").read().endswith("tried\nboom\n")


def test_the_work_tree_is_run_as_it_is_and_the_commit_only_when_asked(project):
    (project.path / "hello.txt").write_text("dirty\n", encoding="utf-8")
    (project.path / "new.txt").write_text("new\n", encoding="utf-8")
    (project.path / "junk.log").write_text("ignored\n", encoding="utf-8")
    (project.path / "folder").mkdir()
    (project.path / "folder" / "link").symlink_to("../hello.txt")
    (project.path / "gone.txt").unlink()
    dirty = project.exec("lint").stdout
    assert dirty.startswith("argon: ") or dirty.startswith("dirty\n")
    assert "dirty\n" in dirty and "new.txt" in dirty and "folder" in dirty
    assert "junk.log" not in dirty and "gone.txt" not in dirty
    assert "junk.log" in project.exec("lint", "--include-ignored").stdout
    clean = project.exec("lint", "--clean").stdout
    assert "hello\n" in clean and "new.txt" not in clean and "gone.txt" in clean
    assert project.exec("--clean", "--dirty").returncode == 2


def test_without_git_the_folder_is_run(project, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / ".runnerci.yml").write_text(ONE % "ls", encoding="utf-8")
    (tmp_path / "plain" / "here").write_text("", encoding="utf-8")
    done = project.exec(folder=tmp_path / "plain")
    assert done.returncode == 0 and "here\n" in done.stdout, done.stderr
    assert project.exec("--clean", folder=tmp_path / "plain").returncode == 2


def test_secrets_reach_the_steps_and_are_masked_everywhere(project):
    only(project, "echo $TOKEN; echo $TOKEN | base64; echo $FROM_FILE; echo $MINE; test $TOKEN = s3cr3t-value")
    secrets = project.home / ".config" / "argon" / "secrets" / "local" / "project"
    secrets.parent.mkdir(parents=True)
    secrets.write_text("MINE=mine-secret\n", encoding="utf-8")
    secrets.chmod(0o600)
    (project.path / "env.log").write_text("FROM_FILE='file-secret'\n", encoding="utf-8")
    done = project.exec("--secret", "TOKEN", "--env-file", "env.log", TOKEN="s3cr3t-value")
    assert done.returncode == 0, done.stderr
    everything = done.stdout + done.stderr + "".join(
        path.read_text(encoding="utf-8") for path in project.home.rglob("*.log"))
    assert everything.count("***") >= 4
    for word in ("s3cr3t", "file-secret", "mine-secret", "czNjcjN0"):
        assert word not in everything
    secrets.chmod(0o644)
    done = project.exec()
    assert done.returncode == 4 and "chmod 600" in done.stderr


def test_a_secret_without_a_value_is_asked_for_or_refused(project):
    only(project, "echo $TOKEN")
    done = project.exec("--secret", "TOKEN")
    assert done.returncode == 2 and "set the variable TOKEN" in done.stderr
    done = project.exec("--secret", "TOKEN=visible-value")
    assert done.returncode == 0 and "process list" in done.stderr and "visible" not in done.stdout


def test_variables_of_the_command_line_win(project):
    done = project.exec("build", "-e", "WHERE=here", "--ref", "topic", "--event", "manual")
    assert "here file topic\n" in done.stdout, done.stderr
    assert project.exec("build", "-e", "NOT_SET").returncode == 2
    assert project.exec("build", "--event", "pushed").returncode == 2


def test_the_plan_is_shown_without_running(project):
    listed = project("exec", "--list")
    assert listed.returncode == 0 and "test  needs lint, build\n" in listed.stdout
    assert "└ Try\n" in listed.stdout
    jobs = json.loads(project("exec", "--list", "--json").stdout)["jobs"]
    assert [job["name"] for job in jobs] == ["lint", "build", "test"]
    assert "nothing was run" in project.exec("--dry-run").stderr
    wrong = project.exec("biuld")
    assert wrong.returncode == 2 and "did you mean 'build'?" in wrong.stderr


def test_json_names_the_logs_and_the_exit_code_can_be_the_steps(project):
    done = project.exec("--json", "--exit-code=step")
    assert done.returncode == 3, done.stderr
    build = json.loads(done.stdout)
    assert build["state"] == "failed"
    test = build["jobs"][2]
    assert test["reason_code"] == "exit_code" and test["steps"][1]["exit_code"] == 3
    assert open(test["log"], encoding="utf-8").read().endswith("boom\n")


def test_a_broken_file_is_shown_and_nothing_runs(project):
    (project.path / ".runnerci.yml").write_text("version: 1\njobs: {a: {stpes: []}}\n", encoding="utf-8")
    done = project.exec()
    assert done.returncode == 1 and 'did you mean "steps"?' in done.stderr
    (project.path / ".runnerci.yaml").write_text("version: 1\n", encoding="utf-8")
    done = project.exec()
    assert done.returncode == 2 and "keep one of them" in done.stderr


def test_keep_leaves_the_workspace_beside_the_logs(project):
    only(project, "echo made > made.txt")
    done = project.exec("--keep")
    kept = re.search(r"workspace of only: (\S+)", done.stderr).group(1)
    assert open(os.path.join(kept, "made.txt"), encoding="utf-8").read() == "made\n"
    assert list((project.home / ".cache/argon/exec/0/work").glob("*")) == []


def start(project, *arguments):
    return subprocess.Popen(
        [ARGON, "exec", "--engine", "local", *arguments], cwd=project.path, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(project.home)})


def jobs_alive(project):
    """Sandboxes of this home: their supervisor was started from its cache."""
    found = subprocess.run(["pgrep", "-f", str(project.home)], capture_output=True, text=True,
                           check=False)
    return [line for line in found.stdout.split() if int(line) != os.getpid()]


def test_ctrl_c_stops_the_jobs_and_leaves_nothing(project):
    only(project, "echo begun; sleep 60")
    process = start(project)
    assert process.stdout.readline() or True
    while "begun" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "stopping the jobs" in errors
    wait_for(lambda: not jobs_alive(project), 10, why="a sandbox is left")


def test_a_reader_that_leaves_does_not_leave_a_sandbox_behind(project):
    only(project, "echo begun; sleep 1; echo on; echo on; sleep 1; echo made > /tmp/x; exit 6")
    process = start(project, "--exit-code=step")
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 6
    wait_for(lambda: not jobs_alive(project), 10, why="a sandbox is left")


def test_what_a_killed_run_left_is_removed_by_the_next(project):
    only(project, "echo begun; sleep 60")
    process = start(project)
    while "begun" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.kill()
    process.wait()
    only(project, "echo fine")
    assert "fine\n" in project.exec().stdout
    wait_for(lambda: not jobs_alive(project), 10, why="a sandbox is left")
    assert list((project.home / ".cache/argon/exec/0/work").glob("*")) == []


def test_two_runs_at_once_do_not_disturb_each_other(project):
    only(project, "sleep 1; echo done")
    processes = [start(project) for _ in range(3)]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "done\n" in output, errors


def terminal(arguments, folder, env, when=None, keys=b""):
    """Runs it on a terminal of its own, types the keys when it has drawn `when`; returns what it
    drew and its exit code."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(ARGON, [ARGON, *arguments], env)
    drawn = b""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            drawn += data
            if when and when in drawn:
                os.write(fd, keys)
                when = None
    return drawn.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_on_a_terminal_running_jobs_are_a_block_and_failures_show_their_end(project):
    drawn, code = terminal(["exec", "--engine", "local"], project.path,
                           {**os.environ, "HOME": str(project.home), "TERM": "xterm",
                            "LC_ALL": "C.UTF-8"})
    assert code == 1, drawn
    assert "\x1b[0J" in drawn and "◐" in drawn
    assert "✖" in drawn and "    boom\r\n" in drawn
    assert not re.search(r"(?m)^tried", drawn)
    assert "retry:    argon exec test --keep --shell-on-fail" in drawn


def test_a_shell_opens_where_the_job_failed(project):
    only(project, "echo made > made.txt; exit 5")
    drawn, code = terminal(
        ["exec", "--engine", "local", "--shell-on-fail"], project.path,
        {**os.environ, "HOME": str(project.home), "TERM": "xterm", "PS1": "$ "},
        when=b"leave it with exit", keys=b"cat made.txt; echo job $CI_JOB_NAME\nexit\n")
    assert code == 1, drawn
    assert "made\r\n" in drawn and "job only\r\n" in drawn, drawn
    done = project.exec("--shell-on-fail")
    assert done.returncode == 1 and "needs a terminal" in done.stderr


def test_lint_speaks_to_people_editors_and_machines(project):
    (project.path / "bad.yml").write_text("version: 1\njobs:\n  a:\n    stpes: []\n", encoding="utf-8")
    human = project("lint", "bad.yml")
    assert human.returncode == 1
    assert human.stdout == (
        'bad.yml:4:5: error: unknown key "stpes" in job "a"   [unknown-key]\n'
        '    4 |     stpes: []\n'
        '      |     ^~~~~ did you mean "steps"?\n'
        '   allowed here: name image needs env timeout-minutes continue-on-error resources network '
        'retry steps\n'
        '1 error, 0 warnings\n')
    assert project("lint", "--format", "gcc", "bad.yml").stdout == (
        'bad.yml:4:5: error: unknown key "stpes" in job "a"; did you mean "steps"? [unknown-key]\n')
    assert project("lint", "--format", "github", "bad.yml").stdout.startswith(
        "::error file=bad.yml,line=4,col=5,endColumn=10,title=unknown-key::")
    found = json.loads(project("lint", "--json", "bad.yml").stdout)
    assert found["errors"] == 1 and found["findings"][0]["rule"] == "unknown-key"
    sarif = json.loads(project("lint", "--format", "sarif", "bad.yml", ".runnerci.yml").stdout)
    run = sarif["runs"][0]
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] == 4
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert run["results"][0]["ruleId"] in rules
    page = (ROOT / "docs" / "reference" / "lint.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| `([a-z-]+)` \| [^|]+ \|$", page.split("## Rules")[1]) == rules
    with open(project.path / "bad.yml", encoding="utf-8") as file:
        assert project("lint", "-", "--stdin-filename", "x.yml", stdin=file).stdout.startswith("x.yml:4:5:")
    assert project("lint").returncode == 0
    assert project("lint", "absent.yml").returncode == 5
    assert project("lint", "--format", "xml").returncode == 2
    assert json.loads(project("lint", "--schema").stdout)["required"] == ["version", "jobs"]


def test_lint_counts_warnings_only_when_strict(project):
    (project.path / "w.yml").write_text(
        "version: 1\njobs: {a: {image: python, steps: [{run: x}]}}\n", encoding="utf-8")
    assert project("lint", "w.yml").returncode == 0
    assert project("lint", "--strict", "w.yml").returncode == 1


def test_init_writes_a_file_that_lint_likes_and_never_over_another(project, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "Cargo.toml").write_text("", encoding="utf-8")
    assert project("init", folder=folder).returncode == 0
    text = (folder / ".runnerci.yml").read_text(encoding="utf-8")
    assert "cargo test" in text
    assert project("lint", "--strict", folder=folder).returncode == 0
    again = project("init", "--template", "go", folder=folder)
    assert again.returncode == 1 and "nothing was changed" in again.stderr
    assert (folder / ".runnerci.yml").read_text(encoding="utf-8") == text
    assert project("init", "--template", "pyton", folder=folder).returncode == 2


def docker_group():
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    return os.stat(host.removeprefix("unix://")).st_gid


def test_on_docker_steps_run_in_their_image_and_nothing_is_left(project):
    (project.path / ".runnerci.yml").write_text(
        "version: 1\njobs:\n  a: {image: 'argon-test:base', steps: [{run: 'id -u; echo $TOKEN; cat hello.txt'}]}\n",
        encoding="utf-8")
    done = project("exec", "--engine", "docker", "--secret", "TOKEN", TOKEN="s3cr3t-value")
    assert done.returncode == 0, done.stderr
    assert "0\n***\nhello\n" in done.stdout
    mine = (project.home / ".cache/argon/exec/0/engine/id").read_text(encoding="utf-8").strip()
    for what in (["ps", "-aq"], ["network", "ls", "-q"]):
        left = subprocess.run(["docker", *what, "--filter", f"label=argon.data={mine}"],
                              capture_output=True, text=True, check=True).stdout
        assert left == ""


def test_somebody_who_is_not_root_gets_back_what_a_containers_root_made(project, tmp_path):
    (project.path / ".runnerci.yml").write_text(
        "version: 1\njobs:\n  a: {image: 'argon-test:base', steps: [{run: 'mkdir -m 700 x && touch x/y; id -u'}]}\n",
        encoding="utf-8")
    program = shutil.copy(ARGON, tmp_path / "argon")  # where everybody gets at it
    somebody = []
    if os.geteuid() == 0:
        somebody = ["setpriv", "--reuid", "65534", "--regid", "65534",
                    "--groups", str(docker_group())]
        subprocess.run(["chown", "-R", "65534:65534", str(tmp_path)], check=True)
        folder = tmp_path
        while str(folder) not in ("/", "/tmp"):
            os.chmod(folder, os.stat(folder).st_mode | 0o055)
            folder = folder.parent
    for _ in range(2):
        done = subprocess.run([*somebody, program, "exec", "--engine", "docker"], cwd=project.path,
                              capture_output=True, text=True, timeout=120, check=False,
                              env={**os.environ, "HOME": str(project.home)})
        assert done.returncode == 0 and done.stdout.endswith("\n0\n"), done.stdout + done.stderr
        assert "cannot be removed" not in done.stderr
    assert not (project.home / ".cache/argon/exec/0/work").exists()
