"""What the documents say has to exist: commands, links, make targets."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARGON = os.environ.get("ARGON", os.path.join(ROOT, "build-asan", "src", "argon"))


def documents():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT,
                            check=True, capture_output=True, text=True)
    return [path for path in listed.stdout.split() if os.path.exists(os.path.join(ROOT, path))]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def console_lines(text):
    """The lines of fenced blocks of shell commands, without their prompt."""
    for block in re.findall(r"```(?:sh|console|shell)\n(.*?)```", text, re.S):
        for line in block.split("\n"):
            yield line[2:] if line.startswith("$ ") else line


def make_targets():
    return set(re.findall(r"^([a-z]+):", read("Makefile"), re.M))


def argon_commands():
    shown = subprocess.run([ARGON, "help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^\s+([a-z]+)\s", shown, re.M))


def test_make_targets_of_the_documents_exist():
    targets = make_targets()
    wrong = []
    for path in documents():
        for line in console_lines(read(path)):
            for target in re.findall(r"^(?:\w+=\S+ )*make ([a-z]+)", line):
                if target not in targets:
                    wrong.append(f"{path}: make {target}")
    assert not wrong, "\n".join(wrong)


def test_argon_commands_of_the_documents_exist():
    commands = argon_commands()
    assert "up" in commands and "exec" in commands
    wrong = []
    for path in documents():
        for line in console_lines(read(path)):
            match = re.match(r"(?:\w+=\S+ )*(?:[\w./-]*/)?argon ([a-z]+)", line)
            if match and match.group(1) not in commands:
                wrong.append(f"{path}: argon {match.group(1)}")
    assert not wrong, "\n".join(wrong)


def test_links_between_documents_lead_somewhere():
    wrong = []
    for path in documents():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(path)):
            if re.match(r"[a-z]+:", target):
                continue
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(path), target)):
                wrong.append(f"{path}: {target}")
    assert not wrong, "\n".join(wrong)


def test_settings_of_the_documents_exist():
    listed = subprocess.run([ARGON, "help", "environment"], capture_output=True, text=True,
                            check=True).stdout
    known = set(re.findall(r"ARGON_[A-Z_]+[A-Z]", listed))
    wrong = []
    for path in documents():
        for name in set(re.findall(r"\bARGON_[A-Z_]+[A-Z]\b", read(path))):
            base = re.sub(r"_FILE$", "", name)
            if base not in known and name not in ("ARGON_FAIL", "ARGON_OUTPUT", "ARGON_ROOT"):
                wrong.append(f"{path}: {name}")
    assert not wrong, "\n".join(wrong)
