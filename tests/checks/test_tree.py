"""Checks of the tree itself: arrows between folders, headers, banned functions, layout, sizes."""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Who may include whom. `commands` and main.c may include everything.
ARROWS = {
    "base": set(),
    "domain": {"base"},
    "wire": {"base", "domain"},
    "ports": {"base", "domain"},
    "adapters": {"base", "domain", "wire", "ports"},
    "pipeline": {"base", "domain", "wire", "ports"},
    "step": {"base", "wire"},
}
LINES_MAX = 800


def tracked(pattern):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", pattern], cwd=ROOT,
                            check=True, capture_output=True, text=True)
    return [path for path in listed.stdout.split("\n") if path and os.path.exists(os.path.join(ROOT, path))]


SOURCES = tracked("*.c") + tracked("*.h")
HEADERS = [path for path in SOURCES if path.endswith(".h")]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def own_includes(path):
    return re.findall(r'^#include "([^"]+)"', read(path), re.M)


def test_there_is_something_to_check():
    assert len(SOURCES) > 20


def test_arrows_between_folders():
    wrong = []
    for path in SOURCES:
        parts = path.split("/")
        if parts[0] != "src" or len(parts) < 3 or path.endswith("_test.c"):
            continue
        folder = parts[1]
        for include in own_includes(path):
            target = include.split("/")[0]
            if folder in ARROWS and target != folder and target not in ARROWS[folder]:
                wrong.append(f"{path} includes {include}")
    assert not wrong, "\n".join(wrong)


def test_services_do_not_include_each_other():
    wrong = []
    for path in SOURCES:
        parts = path.split("/")
        if parts[:2] != ["src", "pipeline"] or len(parts) < 4 or path.endswith("_test.c"):
            continue
        for include in own_includes(path):
            there = include.split("/")
            if there[0] == "pipeline" and len(there) > 2 and there[1] != parts[2]:
                wrong.append(f"{path} includes {include}")
    assert not wrong, "\n".join(wrong)


def test_banned_functions_are_banned_everywhere():
    missing = [path for path in SOURCES if path.endswith(".c") and path.startswith("src/")
               and not path.startswith("src/step/") and '#include "base/banned.h"' not in read(path)]
    assert not missing, "base/banned.h is not the last include of: " + " ".join(missing)


def test_banned_is_the_last_include():
    wrong = []
    for path in SOURCES:
        includes = re.findall(r"^#include [<\"]([^>\"]+)[>\"]", read(path), re.M)
        if "base/banned.h" in includes and path.endswith(".c") and includes[-1] != "base/banned.h":
            wrong.append(path)
    assert not wrong, " ".join(wrong)


@pytest.mark.parametrize("header", HEADERS)
def test_header_compiles_alone(header):
    flags = subprocess.run(["pkg-config", "--cflags", "jansson", "cmocka"], check=True,
                           capture_output=True, text=True).stdout.split()
    done = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Werror", "-fsyntax-only",
                           "-Isrc", "-I.", *flags, "-Wno-unused-variable", "-Wno-unused-function",
                           "-x", "c", "-"],
                          cwd=ROOT, input=f'#include "{header}"\n', capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr


def test_layout():
    ours = [path for path in SOURCES]
    done = subprocess.run(["clang-format-14", "--dry-run", "--Werror", *ours], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, "run `make format`:\n" + done.stderr[-3000:]


def test_no_file_is_too_long():
    long = [f"{path}: {n} lines" for path in SOURCES if (n := read(path).count("\n")) > LINES_MAX]
    assert not long, "\n".join(long)


def test_no_loose_ends():
    wrong = []
    for path in SOURCES + tracked("*.py") + tracked("*.sh") + tracked("*.md"):
        if path == os.path.relpath(__file__, ROOT):
            continue
        for number, line in enumerate(read(path).split("\n"), 1):
            if re.search(r"\b(TODO|XXX|FIXME)\b", line):
                wrong.append(f"{path}:{number}")
    assert not wrong, "\n".join(wrong)


def test_every_c_file_belongs_to_the_build():
    lists = "\n".join(read(path) for path in tracked("*meson.build"))
    def named(path):
        """By its name, or by 'x_test' or 'x' in a list of names that stand for x_test.c."""
        name = os.path.basename(path)
        return any(word in lists for word in (name, f"'{name[:-2]}'", f"'{name[:-len('_test.c')]}'"))

    orphans = [path for path in SOURCES if path.endswith(".c") and not named(path)
               and not path.startswith(("fuzz/", "bench/"))]
    assert not orphans, " ".join(orphans)
