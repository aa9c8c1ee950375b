"""The packages import downwards only: the contracts of pyproject.toml hold, and they bite."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

PACKAGES = ("spec", "search", "trainer", "data", "analysis")
CHECKS = ("benchmarks", "tests")  # import everything, imported by nothing

# Every arrow that the design does not draw.
FORBIDDEN = [
    *[("spec", to) for to in ("search", "trainer", "data", "analysis", "torch")],
    *[("search", to) for to in ("trainer", "data", "analysis", "torch")],
    *[("trainer", to) for to in ("search", "data", "analysis")],
    *[("data", to) for to in ("search", "trainer", "analysis")],
    *[("analysis", to) for to in ("trainer", "data")],
    *[(package, to) for package in PACKAGES for to in CHECKS],
]
ALLOWED = [
    *[(package, "spec") for package in PACKAGES if package != "spec"],
    ("analysis", "search"),
    ("trainer", "torch"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter on the packages that lie in a folder, with its pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def packages_importing(folder: Path, arrows: list[tuple[str, str]], repository: Path) -> Path:
    """Writes the five packages, empty but for one module per arrow, under the real contracts."""
    shutil.copy(repository / "pyproject.toml", folder)
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    for source, target in arrows:
        (folder / source / f"to_{target}.py").write_text(f"import {target}\n")
    return folder


def test_the_contracts_hold(repository):
    result = lint_imports(repository)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_contracts_refuse_every_forbidden_arrow(tmp_path, repository):
    result = lint_imports(packages_importing(tmp_path, FORBIDDEN, repository))
    assert result.returncode == 1, result.stdout + result.stderr
    seen = [
        (source, target)
        for source, target in FORBIDDEN
        if f"{source}.to_{target} -> {target}" in result.stdout
    ]
    assert seen == FORBIDDEN


def test_the_contracts_allow_what_the_design_draws(tmp_path, repository):
    result = lint_imports(packages_importing(tmp_path, ALLOWED, repository))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_contracts_see_every_source_file(repository):
    """A folder without __init__.py would be a hole in the graph."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    files = {
        file.relative_to(repository).with_suffix("")
        for package in PACKAGES
        for file in (repository / package).rglob("*.py")
    }
    modules = {".".join(file.parts).removesuffix(".__init__") for file in files}
    assert modules == graph.modules


def test_the_contracts_name_every_package(repository):
    config = tomllib.loads((repository / "pyproject.toml").read_text())
    top_level = {file.parent.name for file in repository.glob("*/__init__.py")} - set(CHECKS)
    assert top_level == set(PACKAGES) == set(config["tool"]["importlinter"]["root_packages"])


@pytest.mark.parametrize("package", ["spec", "search"])
def test_importing_brings_in_no_torch_on_the_quiet(package, repository):
    """The contracts read import statements; this sees dynamic imports and those of libraries."""
    program = f"""
import importlib, json, pkgutil, sys
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, {package + "."!r}):
    importlib.import_module(module.name)
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert not {"torch", "trainer", "data", "analysis"} & set(json.loads(result.stdout))
