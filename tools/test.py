#!/usr/bin/env python3
"""Runs the whole test suite and closes with "N passed, N failed".

    tools/test.py            everything: builds with sanitizers, servers, end-to-end tests
    tools/test.py --fast     unit tests and the checks of the tree, one build, no servers
    tools/test.py --keep     leave the servers that it started running

Three builds: `build` as a user gets it, `build-asan` (gcc, ASan + UBSan, failpoints) which all tests
run against, and `build-tsan` (clang, TSan) for the tests of threads. Warnings are errors in `build`
and `build-tsan`: the checks that gcc's UBSan adds make gcc warn of what cannot be.
A test that cannot run fails. One that fails runs once more, by itself: many of them wait for real
servers, and a machine that is busy with something else may be too slow once. It counts by its second
end, and is listed as unsteady.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILDS = {
    "build": ["-Dtests=false", "-Dwerror=true", "--prefix=/usr/local"],
    "build-asan": ["-Db_sanitize=address,undefined", "-Dfailpoints=true"],
    "build-tsan": ["-Dwerror=true", "-Db_sanitize=thread", "-Db_lundef=false", "-Dfailpoints=true"],
}
COMPILERS = {"build-tsan": "clang-14"}
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:abort_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Tally:
    """What passed and failed so far, with the names of what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = []

    def add(self, ok, name):
        if ok:
            self.passed += 1
        else:
            self.failed.append(name)


def stage(title):
    print(f"\n== {title}", flush=True)


def run(arguments, **options):
    return subprocess.run(arguments, cwd=ROOT, check=False, **options)


def build(folder, tally):
    began = time.monotonic()
    environment = dict(os.environ, CC=COMPILERS.get(folder, "gcc"))
    if not os.path.exists(os.path.join(ROOT, folder, "build.ninja")):
        run(["meson", "setup", folder, *BUILDS[folder]], env=environment,
            stdout=subprocess.DEVNULL)
    done = run(["ninja", "-C", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout[-8000:])
    tally.add(done.returncode == 0, f"build of {folder}")
    print(f"{folder}: {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


def meson_log(folder):
    path = os.path.join(ROOT, folder, "meson-logs", "testlog.json")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def count_meson(folder, test, tally):
    """A TAP test counts each of its sentences, another test counts once."""
    name = f"{folder}: {test['name']}"
    sentences = re.findall(r"^(ok|not ok) \d+(?: - (.*))?", test.get("stdout", ""), re.M)
    for result, sentence in sentences:
        tally.add(result == "ok", f"{name}: {sentence}")
    if not sentences or (not good(test) and not any(r != "ok" for r, _ in sentences)):
        tally.add(good(test), f"{name}: {test['result']}")
    if not good(test):
        show(name, test)


def good(test):
    return test["result"] in ("OK", "EXPECTEDFAIL")


def show(name, test):
    print(f"-- {name}: {test['result']}\n{test.get('stdout', '')[-4000:]}"
          f"{test.get('stderr', '')[-6000:]}", flush=True)


def meson_run(folder, processes, chosen):
    log = os.path.join(ROOT, folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    run(["meson", "test", "-C", folder, "--no-rebuild", "--num-processes", processes,
         "--timeout-multiplier", "2", *chosen], env=dict(os.environ, **SANITIZER_OPTIONS),
        stdout=subprocess.DEVNULL)
    return meson_log(folder)


def meson_test(folder, suites, tally):
    chosen = [word for suite in suites for word in ("--suite", suite)]
    tests = meson_run(folder, "2", chosen)
    if not tests:
        tally.add(False, f"{folder}: no test ran")
        return
    failed = {test["name"]: test for test in tests if not good(test)}
    again = {}
    if failed:
        names = [name.split(" / ", 1)[-1] for name in failed]
        again = {test["name"]: test for test in meson_run(folder, "1", names)}
    for test in tests:
        second = again.get(test["name"]) if test["name"] in failed else None
        if second and good(second):
            show(f"UNSTEADY {folder}: {test['name']}", test)
        count_meson(folder, second or test, tally)


def pytest(folders, tally, environment):
    report = os.path.join(ROOT, ".cache", "pytest.json.xml")
    done = run([sys.executable, "-m", "pytest", "-q", "--reruns", "1", "-rR",
                "--junitxml", report, *folders], env=environment)
    import xml.etree.ElementTree as tree
    try:
        cases = list(tree.parse(report).getroot().iter("testcase"))
    except (OSError, tree.ParseError):
        cases = []
    for case in cases:
        bad = any(child.tag in ("failure", "error", "skipped") for child in case)
        tally.add(not bad, f"{case.get('classname')}: {case.get('name')}")
    if done.returncode and not any(name.startswith("tests.") for name in tally.failed):
        tally.add(False, f"pytest ended with {done.returncode}")


def start_servers(tally, environment):
    """A Docker daemon where none answers, and the images of the tests."""
    done = run(["sh", "tests/support/servers.sh", "start"], env=environment, stdout=subprocess.PIPE,
               text=True)
    tally.add(done.returncode == 0, "servers of the tests")
    environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"] = done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    os.environ["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    os.makedirs(os.path.join(ROOT, ".cache"), exist_ok=True)
    began = time.monotonic()
    tally = Tally()
    environment = dict(os.environ, **SANITIZER_OPTIONS, ARGON_ROOT=ROOT,
                       ARGON=os.path.join(ROOT, "build-asan", "src", "argon"),
                       ARGON_RELEASE=os.path.join(ROOT, "build", "src", "argon"))

    stage("building")
    wanted = ["build-asan"] if options.fast else list(BUILDS)
    built = {folder: build(folder, tally) for folder in wanted}
    if options.fast:
        stage("unit tests and checks")
        if built["build-asan"]:
            meson_test("build-asan", ["unit"], tally)
        pytest(["tests/checks"], tally, environment)
    elif built["build-asan"]:
        stage("servers")
        start_servers(tally, environment)
        try:
            stage("unit, contract and corpus tests (ASan + UBSan)")
            meson_test("build-asan", [], tally)
            stage("threads (TSan)")
            if built["build-tsan"]:
                meson_test("build-tsan", ["unit"], tally)
            stage("checks of the tree, end to end")
            pytest(["tests/checks", "tests/e2e"], tally, environment)
        finally:
            if not options.keep:
                run(["sh", "tests/support/servers.sh", "stop"])
    for name in tally.failed:
        print(f"FAILED {name}")
    print(f"took {time.monotonic() - began:.0f} s")
    print(f"{tally.passed} passed, {len(tally.failed)} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
