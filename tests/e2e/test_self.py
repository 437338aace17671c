"""The project's own commands: the demo of the README, Argon building Argon, the hardening of what is
installed."""
import os
import pathlib
import re
import subprocess

import pytest

from tests.support.argon import ARGON, ROOT

RELEASE = os.environ.get("ARGON_RELEASE", str(ROOT / "build" / "src" / "argon"))


def run(arguments, seconds=600, **options):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=seconds, check=False,
                          **options)


def test_the_demo_takes_a_push_to_a_mail():
    done = run(["sh", str(ROOT / "tools" / "demo.sh"), RELEASE])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "words.c has 36 words" in done.stdout
    assert "Subject: [demo/words] PASSED #1 main" in done.stdout


@pytest.mark.timeout(900)
def test_argon_builds_argon(tmp_path):
    clone = tmp_path / "argon"
    run(["git", "clone", "-q", str(ROOT), str(clone)])
    done = run([RELEASE, "exec", "--clean", "--engine", "local"], 900, cwd=clone,
               env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(r"^Fail: +0", done.stdout, re.M), done.stdout[-2000:]


def test_the_hook_is_installed_and_is_executable(tmp_path):
    clone = tmp_path / "argon"
    run(["git", "clone", "-q", str(ROOT), str(clone)])
    done = run(["make", "hooks"], cwd=clone)
    assert done.returncode == 0, done.stderr
    assert os.access(clone / ".git" / "hooks" / "pre-push", os.X_OK)


def test_install_puts_the_program_the_manuals_and_the_completions_in_their_places(tmp_path):
    done = run(["meson", "install", "-C", str(pathlib.Path(RELEASE).parent.parent), "--no-rebuild",
                "--destdir", str(tmp_path)])
    assert done.returncode == 0, done.stdout + done.stderr
    installed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    for wanted in ("usr/local/bin/argon", "usr/local/share/man/man1/argon.1",
                   "usr/local/share/bash-completion/completions/argon"):
        assert wanted in installed, "\n".join(sorted(installed))


def test_every_installed_binary_is_hardened():
    dump = run(["readelf", "-hldsW", "--dyn-syms", RELEASE]).stdout
    assert re.search(r"Type:\s+DYN", dump), "position-independent"
    assert "GNU_RELRO" in dump and "BIND_NOW" in dump, "full RELRO"
    stack = next(line for line in dump.split("\n") if "GNU_STACK" in line)
    assert "RWE" not in stack, "no executable stack"
    assert "__stack_chk_fail" in dump, "stack protector"
    assert re.search(r"__\w+_chk@", dump), "fortified"


def test_the_supervisor_is_static_and_small(tmp_path):
    shown = run([ARGON, "version", "--json"])
    assert shown.returncode == 0
    step = next(pathlib.Path(RELEASE).parent.rglob("argon-step*"))
    dump = run(["readelf", "-lW", str(step)]).stdout
    assert "INTERP" not in dump, "needs a loader"
    assert "RWE" not in dump
