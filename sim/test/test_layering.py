"""Who may import whom: hardware nothing of ours; models only configuration, instructions, registers; both are Amaranth-free there."""

import re
import subprocess
import sys
from pathlib import Path

import rowcast
import rowcast_models

ALLOWED = {"config", "isa", "registers"}


def imports(package):
    """(file, imported module) of every import statement of ours below a package."""
    pattern = re.compile(r"^\s*(?:from|import) ((?:rowcast|rowcast_models|rowcast_sim)(?:\.\w+)*)(?: import (.*))?", re.M)
    for path in Path(package.__file__).parent.rglob("*.py"):
        for match in pattern.finditer(path.read_text()):
            yield path.name, match[1], match[2] or ""


def test_hardware_imports_nothing_else_of_ours():
    assert not [found for found in imports(rowcast) if not found[1] == "rowcast" and not found[1].startswith("rowcast.")]


def test_models_import_only_declarations():
    for name, module, names in imports(rowcast_models):
        assert not module.startswith("rowcast_sim"), name
        if module == "rowcast":
            assert set(names.split(", ")) <= ALLOWED, f"{name}: {names}"
        elif module.startswith("rowcast."):
            assert module.split(".")[1] in ALLOWED, f"{name}: {module}"


def test_models_need_no_amaranth():
    code = "import sys, rowcast_models.compiler.network, rowcast_models.zoo; sys.exit('amaranth' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
