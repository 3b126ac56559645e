"""The shape of the house: who may import whom, no shadowing, file lengths, documents that exist."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("vdit", "models", "datasets", "ops", "tools")
LEAVES = {"vdit.structures", "vdit.boxes", "vdit.masks"}
HEAVY = {"diffusers", "transformers", "open_clip"}
COMPOSING_FOLDERS = {"backbone_loading", "commands", "evaluation", "probing", "stages", "study"}
COMPOSING_FOLDERS |= {"tracking"}
COMPOSERS = {
    "build",
    "cli",
    "segmenter",
    "features",
    "finetuning",
    "architectures",
    "model_spec",
    "tracks",
    "clip_encoding",
    "encoding_cache",
    "encoding_files",
    "network_loading",
}


def sources(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.parts[:2] not in {("vdit", "models"), ("vdit", "datasets"), ("vdit", "ops")}:
            yield path


def imports(path):
    """Modules that a file imports, at any depth, outside `if TYPE_CHECKING`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def ours(path):
    return {name for name in imports(path) if name.split(".")[0] == "vdit"}


def third_party(path):
    roots = {name.split(".")[0] for name in imports(path)}
    return roots - set(sys.stdlib_module_names) - {"vdit", "__future__"}


def public_functions(module):
    """Functions and methods whose names, and those of their classes, do not start with _."""
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            inner = node.body if isinstance(node, ast.ClassDef) else [node]
            yield from (
                each
                for each in inner
                if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
            )


def within(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_ops_need_only_torch():
    for path in sources("ops"):
        assert third_party(path) <= {"torch"}, path
        assert all(within(name, {"vdit.ops"}) for name in ours(path)), path


def test_models_need_ops_and_leaves():
    for path in sources("models"):
        assert all(within(name, LEAVES | {"vdit.ops", "vdit.models"}) for name in ours(path)), path


def test_datasets_need_leaves_and_files():
    for path in sources("datasets"):
        files = {"vdit.video", "vdit.video_writer", "vdit.atomic", "vdit.frame_sizes"}
        allowed = LEAVES | files | {"vdit.datasets"}
        assert all(within(name, allowed) for name in ours(path)), path


def test_only_composers_import_models_and_datasets():
    for path in sources("vdit"):
        relative = path.relative_to(ROOT / "vdit")
        if relative.stem in COMPOSERS or relative.parts[0] in COMPOSING_FOLDERS:
            continue
        found = {name for name in ours(path) if within(name, {"vdit.models", "vdit.datasets"})}
        assert not found, path


def test_metrics_need_no_torch():
    for path in sources("vdit/metrics"):
        assert third_party(path) <= {"numpy", "scipy"}, path
        assert all(within(name, {"vdit.metrics"}) for name in ours(path)), path


def test_propagation_needs_torch_and_leaves():
    for path in sources("vdit/propagation"):
        assert third_party(path) <= {"torch"}, path
        assert all(within(name, LEAVES | {"vdit.propagation"}) for name in ours(path)), path


def test_nothing_imports_tools_or_short_names():
    for folder in (*FOLDERS, "tests", "benchmarks"):
        for path in sources(folder):
            roots = {name.split(".")[0] for name in imports(path)}
            assert not roots & {"tools", "configs", "models", "datasets", "ops"}, path


def test_heavy_libraries_are_imported_where_they_are_needed():
    allowed = {"vdit/architectures.py", "vdit/build.py", "vdit/byte_tokenizers.py"}
    allowed |= {"models/open_clip_tower.py", "vdit/checkpoint.py", "vdit/network_loading.py"}
    allowed |= {"vdit/benchmarking/op_peers.py"}
    allowed |= {f"vdit/stages/{name}.py" for name in ("diffusion", "tokenizers", "words")}
    for folder in FOLDERS:
        for path in sources(folder):
            if third_party(path) & HEAVY and path.parent != ROOT / "vdit/backbone_loading":
                assert str(path.relative_to(ROOT)) in allowed, path


def test_files_are_short():
    for folder in FOLDERS:
        for path in sources(folder):
            assert len(path.read_text().splitlines()) <= 400, path


def test_long_public_functions_are_documented():
    for folder in FOLDERS:
        for path in sources(folder):
            for node in public_functions(ast.parse(path.read_text())):
                length = node.end_lineno - node.lineno + 1
                assert length <= 80, f"{path}: {node.name} has {length} lines"
                inherited = node.name in ("forward", "run", "train", "losses")
                assert length <= 8 or inherited or ast.get_docstring(node), f"{path}: {node.name}"


def test_no_utils():
    for folder in FOLDERS:
        for path in sources(folder):
            assert path.stem not in {"utils", "util", "misc", "common", "helpers"}, path


def test_datasets_is_no_regular_package():
    assert not (ROOT / "datasets" / "__init__.py").exists()
    assert not (ROOT / "conftest.py").exists()


# ---- every way to start Python -----------------------------------------------------------------

IMPORTS = (
    "import vdit.models.vdit, vdit.datasets.synthetic.render, vdit.ops;"
    "from transformers.utils import is_datasets_available;"
)
PROBE = IMPORTS + "print(vdit.models.vdit.__name__)"
SHADOW = IMPORTS + "print(is_datasets_available())"


def python(*arguments, cwd):
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env=clean,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("place", ["root", "elsewhere"])
def test_import_with_minus_c(place, tmp_path):
    assert python("-c", PROBE, cwd=ROOT if place == "root" else tmp_path) == "vdit.models.vdit"


def test_import_with_minus_m(tmp_path):
    assert python("-m", "vdit", "--version", cwd=ROOT).startswith("vdit ")
    assert python("-m", "vdit", "--version", cwd=tmp_path).startswith("vdit ")


def test_import_from_a_script_in_tools(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "x.py").write_text(SHADOW)
    assert python("tools/x.py", cwd=tmp_path) == "False"


def test_console_script():
    script = Path(sys.executable).with_name("vdit")
    if not script.exists():
        pytest.skip("the package is not installed")
    done = subprocess.run([script, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("vdit ")
    probe = f"import sys; sys.path[0] = {str(script.parent)!r};" + SHADOW
    assert python("-c", probe, cwd=ROOT) == "False"


def test_pytest_from_elsewhere(tmp_path):
    test = tmp_path / "test_x.py"
    test.write_text("def test_x():\n    import vdit.models.vdit\n")
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(test), cwd=tmp_path)


@pytest.mark.parametrize("name", ["models", "ops"])
def test_short_names_are_refused(name):
    with pytest.raises(AssertionError, match=f"expected `import vdit.{name}`"):
        python("-c", f"import {name}", cwd=ROOT)


def test_checkout_without_symbolic_links(tmp_path):
    for name in ("models", "datasets", "ops"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "vdit").mkdir()
    for path in (ROOT / "vdit").iterdir():
        if path.name not in ("models", "datasets", "ops"):
            (tmp_path / "vdit" / path.name).symlink_to(path)
    for name in ("models", "datasets", "ops"):
        (tmp_path / "vdit" / name).write_text(f"../{name}")
    probe = IMPORTS.replace("import vdit.models", "import vdit, vdit.models")
    assert python("-c", probe + "print(vdit.__path__[-1])", cwd=tmp_path) == str(tmp_path)


def test_help_is_quick():
    probe = "import sys, vdit.cli; vdit.cli.build_parser(); print('torch' in sys.modules)"
    assert python("-c", probe, cwd=ROOT) == "False"


# ---- documents ---------------------------------------------------------------------------------


def test_readme_names_commands_that_exist():
    from vdit.cli import build_parser

    text = (ROOT / "README.md").read_text()
    (commands,) = (
        action.choices
        for action in build_parser()._actions
        if hasattr(action, "choices") and isinstance(action.choices, dict)
    )
    shown = set(re.findall(r"^\| `vdit (\w+)", text, re.M))
    assert shown == set(commands)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?make ([a-z-]+)", text)) <= targets
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link
