"""What has to hold for the repository as a whole: one command each, nobody's machine in it, and the dependency rule."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parents[2]


# These tests may themselves run under make, which tells its offspring so and makes them talk differently.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    options.setdefault("env", ENVIRONMENT)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    names = run("git", "ls-files", "-z").stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


# Makefile ------------------------------------------------------------------------------------------------------------


def test_make_alone_lists_every_target_with_its_help() -> None:
    listed = run("make").stdout
    for target in ("setup", "setup-dev", "up", "down", "test", "check", "lock"):
        assert re.search(rf"make {target} +\w", listed), f"{target} is not explained"
    declared = re.findall(r"^([a-z-]+):.*?## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared == [line.split()[1] for line in listed.splitlines()]


def test_setup_makes_an_environment_once_and_again_where_it_was_moved(tmp_path: Path) -> None:
    """With an empty lock, since what is asked here is when something is done, not what is installed."""
    tree = tmp_path / "first place"
    tree.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tree)
    for name in ("requirements.lock", "requirements-dev.lock"):
        (tree / name).write_text("")
    (tree / "core").mkdir()
    (tree / "core" / "__init__.py").write_text("")
    environment = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def setup(where: Path) -> str:
        done = subprocess.run(
            ["make", "setup", f"PYTHON={sys.executable}"],
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Creating .venv" in setup(tree)
    assert "Creating" not in setup(tree)
    os.utime(tree / "requirements.lock", (2**31, 2**31))
    assert "Installing requirements.lock" in setup(tree)
    os.utime(tree / "requirements.lock", (0, 0))
    launcher = tree / ".venv" / "bin" / "switchyard"
    assert os.access(launcher, os.X_OK)
    found = subprocess.run(
        [tree / ".venv" / "bin" / "python", "-c", "import core; print(core.__file__)"],
        cwd=tmp_path,
        # Where somebody's own search path names another tree, that is what would be found.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(found.strip()).parent.parent == tree

    moved = tmp_path / "second"
    tree.rename(moved)
    assert "Creating .venv" in setup(moved)


def test_setup_says_what_is_missing_without_a_new_enough_python(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "make", "awk", "cat", "rm"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").write_text("")
    done = subprocess.run(
        ["make", "setup"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr


def test_the_ci_script_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert run("bash", "-n", str(script)).returncode == 0
    assert "set -euo pipefail" in script.read_text()


# Locks and paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_are_hashed_and_name_no_host_and_no_path(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|/(?:home|root)/", text)
    entries = re.split(r"\n(?=[a-zA-Z0-9])", text)
    assert len(entries) > 50
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_nothing_tracked_names_a_path_of_somebodys_machine() -> None:
    # Put together here, or this file would find itself.
    homes = ["/" + "root/", "/" + "home/", "/" + "Users/", "/" + "work/"]
    pattern = re.compile("|".join(rf"(?<![\w.~/-]){re.escape(home)}[\w.-]" for home in homes))
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    # The pattern above names them without a letter behind, which is no path.
    assert not [line for line in found if not line.startswith("tests/house/test_repository.py")]


def test_no_secret_and_no_data_is_tracked() -> None:
    names = [str(path.relative_to(ROOT)) for path in tracked()]
    assert not [name for name in names if name.startswith((".venv/", ".switchyard/")) or name == ".env"]


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


# Processes -----------------------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_compose_runs_what_the_procfile_names() -> None:
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    services = compose()["services"]
    assert set(lines) <= set(services)
    assert set(services) - set(lines) == {"postgres", "redis", "migrate", "connect-demo"}
    for name, line in lines.items():
        # Compose restarts by itself, so only the table of workers needs the keeper there.
        module = line.split(" -- ")[-1].split()[2]
        command = services[name]["command"]
        assert command[:2] == ["python", "-m"]
        assert command[2] == ("workers.scheduler" if name == "scheduler" else module)


def test_compose_publishes_on_loopback_only_and_keeps_no_password() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"
    text = (ROOT / "docker-compose.yml").read_text()
    for variable in re.findall(r"\$\{(\w*(?:PASSWORD|KEYS|TOKEN)\w*)([^}]*)\}", text):
        assert variable[1].startswith(":?"), f"{variable[0]} must be required"


def test_compose_services_are_healthy_unprivileged_and_wait_for_each_other() -> None:
    loaded = compose()
    services = loaded["services"]
    for name in ("postgres", "redis", "api", "dashboard", "sandbox"):
        assert services[name]["healthcheck"]["test"], name
    for name in ("api", "worker", "scheduler", "dashboard", "sandbox", "migrate", "connect-demo"):
        assert services[name]["init"] is True, name
        assert services[name]["cap_drop"] == ["ALL"], name
    for name in ("api", "worker", "scheduler", "dashboard"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for service in services.values():
        for needed in service.get("depends_on", {}):
            assert needed in services
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in loaded["volumes"]
    assert {name for name, service in services.items() if service.get("profiles")} == {"sandbox", "connect-demo"}
    assert re.search(r"^USER switchyard$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    # Where the client is there, it has the last word on the form.
    if shutil.which("docker") is not None and run("docker", "compose", "version").returncode == 0:
        names = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
        done = run("docker", "compose", "config", "--quiet", env={**os.environ, **dict.fromkeys(names, "x")})
        assert done.returncode == 0, done.stderr


# The dependency rule -------------------------------------------------------------------------------------------------


def test_the_dependency_rule_holds() -> None:
    done = run(str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_domain_package_stands_under_the_dependency_rule() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {contract["id"]: contract for contract in contracts}
    packages = {
        f"core.{path.parent.name}"
        for path in (ROOT / "core").glob("*/models.py")
        if (path.parent / "__init__.py").exists()
    }
    assert packages <= set(named["domain"]["source_modules"])
    assert packages <= set(named["four-files"]["containers"])
