"""The claims of docs/security.md that no other test module is about.

The table there names the test of each claim.
"""

import base64
import gzip
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from container.events import encode_response
from container.handler import make_handler
from container.settings import Settings
from model.bundle import open_bundle
from model.errors import BundleFormatError
from tests.conftest import Packed, change_manifest, copy_bundle

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "security.md"
FORMAT_2 = ROOT / "tests" / "data" / "bundles" / "format-2"

HOSTILE = (
    "a\nb\r\n",
    "\x1b[2J\x1b]0;x\x07",
    "\u2028\u2029\u0085",
    "\x00\x7f",
    '"}],"statusCode":200,{"',
    "</script><b>",
    "=cmd|'/c calc'!A0",
    "{0.__class__}%s${x}",
)
"""Texts that break lines, terminals, JSON, pages, spreadsheets or templates elsewhere."""


def run(script: str, *arguments: object) -> str:
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- a bundle is data -----------------------------------------------------------------------------

WATCHED = """
import contextlib, json, os, pickle, shutil, sys, zlib
from pathlib import Path
sys.path.insert(0, os.getcwd())
from tests.fuzz import targets

good, folder = targets.SERVED, Path(sys.argv[1])
canary = folder / "canary"

class Payload:
    def __reduce__(self):
        return os.system, (f"touch {canary}",)

payload = pickle.dumps(Payload(), protocol=0)
code = f"import os; os.system('touch {canary}')".encode()
expression = f"__import__('os').system('touch {canary}')"
files = {path.name: path.read_bytes() for path in good.iterdir()}
fields = json.loads(files["manifest.json"])
fields["features"][0]["name"] = fields["objective"] = fields["labels"][0] = expression
hostile = [
    {"manifest.json": payload},
    {"manifest.json": json.dumps(fields).encode()},
    {"golden.jsonl": payload},
    {"golden.jsonl": json.dumps({"row": {expression: 1}, "prediction": expression}).encode()},
    {"model.forest": payload},
    {"model.forest": files["model.forest"][:16] + payload},
    {"sitecustomize.py": code, "__init__.py": code, "json.py": code, "model.pkl": payload,
     "_forest.so": code, "conftest.py": code},
]

def use(at, changed):
    # As `targets.bundle` has it: the checksums are right.
    name, content = next(iter(changed.items()))
    if name in targets._FILES:
        targets.bundle(bytes([targets._FILES.index(name)]) + content)
    here = folder / str(at)
    with contextlib.suppress(targets.BundleError):
        bundle = targets.open_bundle(here)
        with contextlib.closing(bundle):
            targets._use(bundle)

for at, changed in enumerate(hostile, start=1):
    shutil.copytree(good, folder / str(at))
    for name, content in changed.items():
        (folder / str(at) / name).write_bytes(content)
for at, changed in enumerate(hostile, start=1):
    use(at, changed)  # once unwatched: what is ours and imported late is there from then on
assert not canary.exists()

seen = set()
watching = True
def watch(event, arguments):
    if watching:
        seen.add(event if event != "import" else f"import {arguments[0]}")

sys.addaudithook(watch)
os.chdir(folder / str(len(hostile)))  # where a module of the bundle would be found
sys.path.insert(0, "")
for at, changed in enumerate(hostile, start=1):
    use(at, changed)
watching = False
assert not canary.exists()
pickle.loads(payload)  # what the canary would look like
print(json.dumps({"seen": sorted(seen), "canary": canary.exists()}))
"""

HARMLESS = {
    "array.__new__", "import _sha2", "mmap.__new__", "object.__getattr__", "object.__setattr__",
    "open", "os.chdir", "os.listdir", "os.mkdir", "os.scandir", "sys._getframe", "tempfile.mkdtemp",
}  # fmt: skip
"""What opening and serving may do, as the interpreter's audit names it.

`_sha2` is the interpreter's own, looked for by `model.digest`; Python 3.11 has it by another name.
"""


@pytest.mark.kernel
def test_no_code_runs_from_a_bundle(tmp_path: Path) -> None:
    """Nothing is imported, compiled, executed, unpickled, loaded or started over hostile files."""
    found = json.loads(run(WATCHED, tmp_path))
    assert found["canary"]  # the payload itself is a live one
    assert "open" in found["seen"]
    assert set(found["seen"]) <= HARMLESS


# --- text of others -------------------------------------------------------------------------------


@pytest.mark.kernel
def test_hostile_labels_and_names_stay_text_in_every_reply(tmp_path: Path) -> None:
    """One line of ASCII, whichever door; what was put in comes out of the parser again."""
    packed = Path(tmp_path / "bundle")
    packed.mkdir()
    for path in FORMAT_2.iterdir():
        (packed / path.name).write_bytes(path.read_bytes())
    change_manifest(packed, lambda fields: fields.update(labels=list(HOSTILE[:2])))
    bundle = open_bundle(packed)
    handler = make_handler(bundle, Settings())
    row = dict.fromkeys(feature.name for feature in bundle.manifest.features)
    bad = [dict.fromkeys(HOSTILE, 1)]
    events: list[Any] = [
        {"records": [row], "id": HOSTILE[1]},
        {"records": [row], "topK": 2},
        {"requestContext": {"http": {}}, "body": json.dumps([row])},
        {"requestContext": {"elb": {}}, "body": json.dumps(bad)},
        {"records": bad},
        {"records": [{**row, "colour": text} for text in HOSTILE]},
        {"body": "\n".join(HOSTILE), "headers": {"content-type": "text/csv"}},
        {"body": "[]", "headers": {"content-type": HOSTILE[0]}},
    ]
    for event in events:
        text = encode_response(handler(json.dumps(event).encode()))
        assert text.isascii()
        assert text.isprintable()
        assert json.loads(text)["statusCode"] in {200, 400, 415}
    answer = handler(json.dumps(events[0]).encode())
    assert answer["id"] == HOSTILE[1]
    assert answer["body"]["labels"] == list(HOSTILE[:2])
    bundle.close()


def test_nothing_decompresses_a_body(multiclass: Packed) -> None:
    """So a few kilobytes stay a few kilobytes, whatever a header says."""
    packed = base64.b64encode(gzip.compress(b"[" + b" " * 10_000_000 + b"]")).decode()
    event = {
        "requestContext": {"http": {}},
        "headers": {"content-encoding": "gzip", "content-type": "application/json"},
        "body": packed,
        "isBase64Encoded": True,
    }
    response = make_handler(multiclass.bundle, Settings())(event)
    error = json.loads(response["body"])["error"]
    assert (response["statusCode"], error["code"]) == (400, "malformed_request")
    assert "UTF-8" in error["message"]


def test_bundle_of_another_directory_is_not_reached(multiclass: Packed, tmp_path: Path) -> None:
    """A manifest names files, never ways."""
    for name in ("../secret", "/etc/passwd", "a/b", "..", "C:\\x"):
        directory = copy_bundle(multiclass, tmp_path / re.sub(r"\W", "-", name))
        files = {**multiclass.manifest.files, name: "0" * 64}
        change_manifest(directory, partial(setting, "files", files))
        with pytest.raises(BundleFormatError, match="expected plain file names"):
            open_bundle(directory)


def setting(key: str, value: object, fields: dict[str, Any]) -> None:
    fields[key] = value


# --- regular expressions --------------------------------------------------------------------------

PATTERNS = """
import ast, importlib, pkgutil, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
sys.path[:0] = [".", "cdk-ml-iot"]
LENGTH = 50_000
PREFIXES = (
    "", "{", "{a:", "{a:b:", "${", "exists ", "1.2.3-", "1.2.3-a+", "<", "$aws/rules/", "$share/",
    "records[", "1.", "a", '"version":[1',
)

SCANS = {"sub", "findall", "finditer", "split"}

def modules():
    for package in ("model", "interface", "container", "consumer", "nucleus", "stacks"):
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            path = info.module_finder.find_spec(info.name).origin
            if path.endswith(".py"):
                yield info.name, open(path).read()

def patterns():
    for module, source in modules():
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            if not re.fullmatch("re[.][a-z]+", ast.unparse(node.func)):
                continue
            way = node.func.attr
            if way == "escape":
                continue
            if not isinstance(node.args[0], ast.Constant):
                print("made", module, ast.unparse(node.args[0]))
                continue
            ways = {way}
            if way == "compile":
                name = source.splitlines()[node.lineno - 1].partition(" = ")[0]
                ways = set(re.findall(re.escape(name) + r"[.](\\w+)[(]", source))
                ways &= SCANS | {"fullmatch", "match", "search"}
            flags = re.DOTALL if "DOTALL" in ast.unparse(node) else 0
            compiled = re.compile(node.args[0].value, flags)
            yield f"{module}:{node.lineno}", compiled, ways or {"fullmatch"}

def attacks(pattern):
    text = pattern.pattern
    letters = sorted(set(text if isinstance(text, str) else text.decode()) | set("a0 .\\n/:"))
    for prefix in PREFIXES:
        for letter in letters:
            yield prefix + letter * LENGTH + "\\x00\\n"
    for prefix in PREFIXES[1:]:
        yield prefix * (LENGTH // len(prefix)) + "\\x00\\n"

for place, pattern, ways in patterns():
    print("checking", place, *sorted(ways), flush=True)
    for attack in attacks(pattern):
        subject = attack if isinstance(pattern.pattern, str) else attack.encode()
        if ways & SCANS:
            pattern.sub(subject[:0], subject)
        for way in ways - SCANS:
            getattr(pattern, way)(subject)
"""

MADE_OF_INPUT = {
    "nucleus.platforms pattern",
    "nucleus.recipe pattern",
    "nucleus.resources _lite_filter(resource)",
    "stacks.options pattern",
    "nucleus.resources first",
    "nucleus.resources first + ''.join((f'(?>.*?{it})' for it in middle)) + f'.*{last}'",
}
"""Patterns that are not written where they are used. Those of `stacks` are the app's own.

A policy's are bounded by their form (`test_a_policy_of_many_stars_does_not_stall`); a recipe's own
are not, see docs/security.md.
"""


def test_regular_expressions_take_time_in_proportion() -> None:
    """Over 50 000 characters, where one that is not linear would take more than its minute.

    The limit is of processor time, and hundreds of times what all of them together take.
    """
    printed = run(PATTERNS).splitlines()
    kinds: dict[str, set[str]] = {"checking": set(), "made": set()}
    for line in printed:
        kind, _, rest = line.partition(" ")
        kinds[kind].add(rest)
    assert kinds["made"] == MADE_OF_INPUT
    assert len(kinds["checking"]) > 20


# --- the document ---------------------------------------------------------------------------------


def test_every_test_that_the_document_names_is_there() -> None:
    """A claim without a test is a wish."""
    named = re.findall(r"`(tests/[\w/.]+\.py)` ((?:`\w+`(?:, )?)+)", DOCUMENT.read_text())
    assert len(named) > 20
    for path, tests in named:
        content = (ROOT / path).read_text()
        for test in re.findall(r"`(\w+)`", tests):
            assert f"def {test}(" in content, f"{path}: {test}"
