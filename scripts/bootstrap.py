#!/usr/bin/env python3
"""Make .venv and install what the requirements files say; standard library only.

Runs again in a tenth of a second while nothing changed. Written for old Pythons too, so that
they can say which one is needed.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
MARK = VENV / ".requirements"
RUNTIME = ROOT / "requirements.txt"
TOOLS = ROOT / "requirements-dev.txt"
OLDEST = (3, 11)
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3", "python3.14")
PIP_INDEX = "https://pypi.org/simple"


class SetupError(Exception):
    """Setting up is not possible; the message is one sentence for the user."""


def main() -> int:
    try:
        set_up(wants_tools="--dev" in sys.argv[1:])
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        sys.stderr.write("Stopped; the next run carries on.\n")
    else:
        return 0
    return 1


def set_up(*, wants_tools: bool) -> None:
    """Make or mend .venv, and install where a requirements file changed."""
    # The tools' file includes the runtime's: installing it covers both.
    current = {path: digest(path) for path in (RUNTIME, TOOLS)}
    wanted = set(current.values()) if wants_tools else {current[RUNTIME]}
    is_sound = is_venv_sound()
    if is_sound and wanted <= installed():
        return
    if not is_sound:
        make_venv(find_python())
    known = installed() & set(current.values())
    # The mark goes first and comes back last: a stopped run never looks finished.
    if MARK.exists():
        MARK.unlink()
    install(TOOLS if wants_tools else RUNTIME)
    write_path_file()
    MARK.write_text("\n".join([str(VENV), *sorted(known | wanted)]) + "\n", encoding="utf-8")


def digest(path: Path) -> str:
    content = b"".join(line.encode() for line in all_lines(path))
    return f"{path.name} {hashlib.sha256(content).hexdigest()}"


def all_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a requirements file and of those it includes."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        yield line
        included = re.match(r"\s*-r\s+(\S+)", line)
        if included:
            yield from all_lines(path.parent / included.group(1))


def installed() -> set[str]:
    """Return the digests of the requirements files that are installed."""
    try:
        return set(MARK.read_text(encoding="utf-8").splitlines()[1:])
    except OSError:
        return set()


def is_venv_sound() -> bool:
    """Tell whether .venv has a Python new enough and pip, and was made at this path."""
    if MARK.exists() and MARK.read_text(encoding="utf-8").split("\n", 1)[0] != str(VENV):
        return False  # a moved tree: the scripts in .venv/bin point to the old place
    code = f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"
    return runs([VENV_PYTHON, "-c", code])


def runs(command: Sequence[str | Path]) -> bool:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def version_of(python: str) -> tuple[int, ...]:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        shown = subprocess.check_output([str(python), "-c", code], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    return tuple(int(part) for part in shown.split())


def find_python() -> str:
    """Return a Python new enough: PYTHON if given, this one, or the best on the PATH."""
    given = os.environ.get("PYTHON")
    names = [given] if given else [sys.executable, *CANDIDATES]
    for name in names:
        python = shutil.which(name)
        if python and version_of(python) >= OLDEST:
            return python
    wanted = ".".join(map(str, OLDEST))
    found = f"{given} is not one" if given else f"this is {sys.version.split()[0]}"
    raise SetupError(
        f"AlphaStrat needs Python {wanted} or newer; {found}: install one "
        "(Debian, Ubuntu: apt-get install python3), or name one with PYTHON=/path/to/python3."
    )


def make_venv(python: str) -> None:
    say(f"making .venv with {python}")
    if VENV.exists():
        shutil.rmtree(VENV)
    # Debian without python3-venv has the module but no ensurepip: bring pip ourselves.
    has_ensurepip = runs([python, "-c", "import ensurepip"])
    command: list[str | Path] = [python, "-m", "venv", VENV]
    made = runs(command if has_ensurepip else [*command, "--without-pip"])
    if not made and has_ensurepip:
        shutil.rmtree(VENV, ignore_errors=True)
        has_ensurepip = False
        made = runs([*command, "--without-pip"])
    if not made:
        raise SetupError(f"{python} could not make {VENV}: is the disk full or read-only?")
    if not has_ensurepip:
        bring_pip()


def bring_pip() -> None:
    """Install pip into .venv from its wheel, which can run itself."""
    say("fetching pip (this Python has no ensurepip)")
    with tempfile.TemporaryDirectory() as directory:
        wheel = fetch_pip(Path(directory))
        command: list[str | Path] = [
            VENV_PYTHON,
            str(wheel / "pip"),
            "install",
            "--quiet",
            "--no-index",
        ]
        run([*command, str(wheel)], "pip could not install itself")


def fetch_pip(directory: Path) -> Path:
    """Save the newest pip wheel of the configured indexes and return its path."""
    problems = []
    for index in package_indexes():
        try:
            url = newest_pip(index)
            wheel = directory / urllib.parse.unquote(url.rpartition("/")[2].partition("#")[0])
            with urllib.request.urlopen(url.partition("#")[0], timeout=60) as response:
                wheel.write_bytes(response.read())
        except (OSError, ValueError) as error:
            problems.append(f"{index} ({error})")
        else:
            return wheel
    raise SetupError(
        f"pip could not be fetched from {'; '.join(problems)}: check the network, "
        "set PIP_INDEX_URL, or install Debian's python3-venv."
    )


def newest_pip(index: str) -> str:
    page = index.rstrip("/") + "/pip/"
    request = urllib.request.Request(page, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read().decode("utf-8", "replace")
    found = re.findall(r'href="([^"]*/?pip-(\d+)\.(\d+)(?:\.(\d+))?-py3-none-any\.whl[^"]*)"', text)
    if not found:
        raise ValueError("no pip wheel there")
    newest: tuple[str, ...] = max(found, key=lambda hit: [int(part or 0) for part in hit[1:]])
    return urllib.parse.urljoin(page, newest[0].replace("&amp;", "&"))


def package_indexes() -> list[str]:
    """Return the indexes pip itself would ask: its environment, then its configuration."""
    settings: dict[str, str] = {}
    for path in pip_configurations():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update(parser.items(section))
    main_index = os.environ.get("PIP_INDEX_URL") or settings.get("index-url") or PIP_INDEX
    extra = os.environ.get("PIP_EXTRA_INDEX_URL") or settings.get("extra-index-url") or ""
    return [main_index.strip(), *extra.split()]


def pip_configurations() -> list[Path]:
    named = os.environ.get("PIP_CONFIG_FILE")
    home = Path.home()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    paths = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user / "pip" / "pip.conf"]
    return [*paths, Path(named)] if named else paths


def install(path: Path) -> None:
    began = time.monotonic()
    n_packages = sum(bool(re.match(r"[A-Za-z]", line)) for line in all_lines(path))
    say(f"installing {n_packages} packages of {path.name} (a few minutes the first time)")
    command: list[str | Path] = [VENV_PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar", "off", "-r", path]
    show(command, f"pip could not install {path.name}: run `make setup` again")
    say(f"installed {path.name} in {time.monotonic() - began:.0f} s")


def show(command: Sequence[str | Path], problem: str) -> None:
    """Run pip and pass on the lines that tell how far it is."""
    child = subprocess.Popen(
        [str(part) for part in command],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last_lines: list[str] = []
    for line in child.stdout or ():
        last_lines = [*last_lines[-30:], line]
        told = re.match(r"(Collecting \S+|Installing collected packages)", line)
        if told:
            say(f"  {told.group(1)}")
    if child.wait() != 0:
        sys.stderr.write("".join(last_lines))
        raise SetupError(f"{problem}.")


def run(command: Sequence[str | Path], problem: str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        raise SetupError(f"{problem}.")


def write_path_file() -> None:
    """Let every script in .venv import the project, wherever it is started."""
    for packages in VENV.glob("lib/python*/site-packages"):
        (packages / "alphastrat.pth").write_text(f"{ROOT}\n", encoding="utf-8")


def say(sentence: str) -> None:
    sys.stdout.write(f"setup | {sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
