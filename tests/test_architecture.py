"""Keeps the house as docs/architecture.md draws it, by reading the source."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from verict.detect import registry
from verict.detect.evidence import Detector

SOURCE = Path(__file__).resolve().parents[1] / "src" / "verict"

FLOORS = {
    "errors": 0,
    "provenance": 0,
    "statistics": 0,
    "documents": 0,
    "weights": 0,
    "ct": 1,
    "custody": 2,
    "datasets": 2,
    "detect": 3,
    "tamper": 3,
    "evaluation": 4,
    "report": 5,
    "training": 5,
    "archive": 6,
    "benchmarks": 6,
    "gateway": 6,
    "cli": 7,
}
"""Each part of the package and its floor; a part imports itself and the floors below its own."""

HEAVY = ("torch", "monai", "skimage", "sklearn", "skl2onnx", "onnx", "pandas", "gdcm", "imagecodecs", "matplotlib",
         "pyarrow")
"""What `import verict` and `verict scan` must do without."""

POSIX_ONLY_MODULES = ("fcntl", "grp", "posix", "pwd", "resource", "termios")
POSIX_ONLY_NAMES = ("os.fork", "os.geteuid", "os.getuid", "os.mkfifo", "signal.SIGALRM", "signal.alarm")

MODULE_LINES = 400
FUNCTION_LINES = 60  # without the docstring
POSITIONAL_PARAMETERS = 6

MODULES = sorted(SOURCE.rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _part_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def _imported_names(nodes: Iterator[ast.AST], path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of all that import statements among the nodes bring in."""
    package = ("verict", *path.relative_to(SOURCE).parent.parts)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _run_on_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node that is executed when the module is imported: not the bodies of functions."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_type_checkers(statement):
            continue
        yield statement
        for block in ("body", "orelse", "finalbody"):
            yield from _run_on_import(getattr(statement, block, []))
        for handler in getattr(statement, "handlers", []):
            yield from _run_on_import(handler.body)


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(_tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_rules_see_the_package() -> None:
    assert {"errors.py", "ct/volume.py", "detect/registry.py"} <= {p.relative_to(SOURCE).as_posix() for p in MODULES}


@each_module
def test_a_part_has_a_floor(path: Path) -> None:
    part = _part_of(path)
    assert part in ("__init__", "__main__") or part in FLOORS, f"give {part} a floor here and in docs/architecture.md"


@each_module
def test_imports_go_down(path: Path) -> None:
    part = _part_of(path)
    floor = FLOORS.get(part, 8)
    wrong = []
    for line, name in _imported_names(ast.walk(_tree(path)), path):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if package == "verict" and target in FLOORS and target != part and FLOORS[target] >= max(floor, 1):
            wrong.append(f"line {line}: {part} (floor {floor}) imports {name} (floor {FLOORS[target]})")
    assert wrong == []


@each_module
def test_heavy_packages_are_imported_in_training_only(path: Path) -> None:
    if _part_of(path) == "training":
        return
    imports = _imported_names(_run_on_import(_tree(path).body), path)
    assert [(line, name) for line, name in imports if name.partition(".")[0] in HEAVY] == []


@each_module
def test_nothing_posix_only_is_used(path: Path) -> None:
    tree = _tree(path)
    imports = _imported_names(_run_on_import(tree.body), path)
    assert [(line, name) for line, name in imports if name.partition(".")[0] in POSIX_ONLY_MODULES] == []
    used = [(n.lineno, ast.unparse(n)) for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    assert [(line, name) for line, name in used if name in POSIX_ONLY_NAMES] == []


@each_module
def test_only_the_command_line_prints_exits_or_asserts(path: Path) -> None:
    if _part_of(path) == "cli":
        return
    wrong = []
    for node in ast.walk(_tree(path)):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Assert) or called in ("print", "exit", "quit", "sys.exit", "os._exit", "typer.Exit"):
            wrong.append((node.lineno, ast.unparse(node)))
    assert wrong == []


@each_module
def test_only_the_boundary_of_a_case_catches_everything(path: Path) -> None:
    caught = [(n.lineno, ast.unparse(n.type) if n.type else "everything")
              for n in ast.walk(_tree(path)) if isinstance(n, ast.ExceptHandler)]
    broad = [(line, what) for line, what in caught
             if what == "everything" or "Exception" in what.strip("()").split(", ") or "BaseException" in what]
    allowed = 1 if path.relative_to(SOURCE).as_posix() == "detect/scan.py" else 0
    assert len(broad) <= allowed, broad


@each_module
def test_a_module_reads_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MODULE_LINES


@each_module
def test_functions_are_short_and_take_few_positions(path: Path) -> None:
    wrong = []
    for function in _functions(path):
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        lines = function.end_lineno - body[0].lineno + 1 if body and function.end_lineno else 0
        arguments = [*function.args.posonlyargs, *function.args.args]
        positions = len([a for a in arguments if a.arg not in ("self", "cls")])
        if lines > FUNCTION_LINES or positions > POSITIONAL_PARAMETERS:
            wrong.append(f"line {function.lineno}: {function.name}: {lines} lines, {positions} positional parameters")
    assert wrong == []


@each_module
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(_tree(path))


@each_module
def test_a_thing_lives_where_its_subject_lives(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "helper", "misc", "common", "tools")


def _run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


BLOCK_HEAVY = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Block())
"""


def test_scan_and_its_detectors_work_without_heavy_packages() -> None:
    done = _run_python(
        BLOCK_HEAVY
        + "import verict, verict.cli.main, verict.detect.scan\n"
        + "from verict.detect import registry\n"
        + "print([registry.create(name).name for name in registry.names()])\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(list(registry.names()))


@pytest.mark.parametrize("statement", ["import verict", "import verict.cli.main", "import verict.detect.scan"])
def test_import_brings_in_nothing_heavy(statement: str) -> None:
    # pydicom itself tries gdcm, so gdcm is not among what is looked for here.
    done = _run_python(f"{statement}\nimport sys\nprint([m for m in {HEAVY!r} if m != 'gdcm' and m in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", registry.names())
def test_a_detector_follows_the_protocol(name: str) -> None:
    detector = registry.create(name)
    assert detector.name == name
    assert detector.summary
    assert detector.needs.headers == (name == "header"), "pixel detectors never see headers"
    wanted = inspect.signature(Detector.examine).parameters.keys() - {"self"}
    assert inspect.signature(detector.examine).parameters.keys() == wanted


def test_no_test_skips_silently_what_is_not_installed() -> None:
    tests = Path(__file__).resolve().parent
    word = "import" + "orskip"
    assert [p.name for p in tests.rglob("*.py") if word in p.read_text(encoding="utf-8")] == [], "use require_extra"
