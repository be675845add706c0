"""The rules of the house that a machine can check."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VJ_FLOORS = [
    "codecache kernels moved",
    "errors limits records",
    "boxes detections io",
    "datasets features metrics",
    "cascade",
    "detect compat",
    "track draw evaluate train",
    "trajectories",
    "app",
]
NETS_FLOORS = [
    "arrays kernels",
    "simd",
    "runtime",
    "conv",
    "cards dilation graph reference",
    "autograd",
    "nn",
    "operators",
    "compiler",
    "tracing",
    "onnx",
    "models training",
    "interpret",
    "detectors",
    "registry",
]
NETS_MAY_USE = {
    *("kernels", "errors", "limits", "records", "io", "boxes", "detections", "metrics", "moved"),
}
KERNEL_IMPORTS = {"numba", "numpy", "math", "__future__"}


def imported(path):
    """Dotted names that a file imports, `from vj import x` counted as vj.x."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in ("vj", "nets"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def part(path, package):
    """First name below the package: vj/cascade/model.py -> cascade."""
    return path.relative_to(ROOT / package).parts[0].removesuffix(".py")


def upward(package, floors):
    rank = {name: floor for floor, names in enumerate(floors) for name in names.split()}
    for path in files(package):
        here = part(path, package)
        if here == "__init__":
            continue
        assert here in rank, f"{path.name} has no floor in the house"
        for name in imported(path):
            root, _, rest = name.partition(".")
            there = rest.split(".")[0]
            if root == package and there in rank and rank[there] > rank[here]:
                yield f"{path.relative_to(ROOT)} -> {name}"


def test_arrows_point_down_in_vj():
    assert not list(upward("vj", VJ_FLOORS))


def test_arrows_point_down_in_nets():
    assert not list(upward("nets", NETS_FLOORS))


def edges(package, *, all_levels):
    """For each module the modules that it imports: at the top, or anywhere in the file."""
    names = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in files(package)
    }
    found = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        found[name] = set()
        for node in ast.walk(tree) if all_levels else tree.body:
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [t if t in names else node.module for t in targets]
            else:
                continue
            found[name] |= {t for t in targets if t in names and t != name}
    return found


def by_package(graph):
    """The same between the folders (and files) right below the package."""
    found = {}
    for name, targets in graph.items():
        here = ".".join(name.split(".")[:2])
        found.setdefault(here, set()).update(".".join(t.split(".")[:2]) for t in targets)
    return {name: targets - {name} for name, targets in found.items()}


def cycles(graph):
    """Modules that import each other in a circle, one circle of them; empty if there is none."""
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as exc:
        return exc.args[1]
    return []


@pytest.mark.parametrize("all_levels", [False, True], ids=["top", "everywhere"])
@pytest.mark.parametrize("package", ["vj", "nets"])
def test_no_imports_in_a_circle(package, all_levels):
    """Not even inside functions or for type checkers: what is below can be read first."""
    graph = edges(package, all_levels=all_levels)
    assert not cycles(graph)
    assert not cycles(by_package(graph))


def test_circles_are_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert not cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert cycles(by_package({"p.a.x": {"p.b"}, "p.b": {"p.a.y"}, "p.a.y": set()}))


def test_vj_does_not_know_nets_and_nets_uses_only_the_ground_floors_of_vj():
    for path in files("vj"):
        assert not [n for n in imported(path) if n.split(".")[0] == "nets"], path
    for path in files("nets"):
        used = {n.split(".")[1] for n in imported(path) if n.startswith("vj.")}
        assert used <= NETS_MAY_USE, f"{path}: {used - NETS_MAY_USE}"


def kernel_files():
    found = [p for pkg in ("vj", "nets") for p in (ROOT / pkg).glob("kernels/*.py")]
    return [p for p in found if p.name not in ("__init__.py", "jit.py")]


@pytest.mark.parametrize("path", kernel_files(), ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_kernel_files_hold_kernels_only(path):
    tree = ast.parse(path.read_text())
    for name in imported(path):
        assert name.split(".")[0] in KERNEL_IMPORTS or ".kernels" in name, f"imports {name}"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            marks = [ast.unparse(d).split("(")[0] for d in node.decorator_list]
            assert marks, f"{node.name} is not compiled"
            assert {m.split(".")[-1] for m in marks} <= {"kernel", "device"}, node.name
            assert ast.get_docstring(node) or "device" in marks, f"{node.name} has no docstring"
            assert not any(isinstance(n, ast.Raise | ast.Try) for n in ast.walk(node)), node.name
            if "kernel" in marks:
                assert len(node.args.args) <= 10, f"{node.name} takes more than ten arguments"
                assert not node.args.defaults, node.name
        else:
            allowed = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Expr
            assert isinstance(node, allowed), ast.unparse(node)[:60]


def test_detection_never_imports_cv2():
    """cv2 is for windows and cameras: it fails to import on a bare Debian."""
    for path in files("vj") + files("nets"):
        if part(path, path.relative_to(ROOT).parts[0]) in ("app", "evaluate"):
            continue
        assert "cv2" not in {n.split(".")[0] for n in imported(path)}, path


def test_llvmlite_stays_in_simd():
    for path in files("vj") + files("nets"):
        if path.parent.name != "simd":
            assert "llvmlite" not in {n.split(".")[0] for n in imported(path)}, path


def test_njit_stays_in_jit():
    for path in files("vj") + files("nets"):
        if path.name not in ("jit.py",):
            assert "njit(" not in path.read_text(), path
