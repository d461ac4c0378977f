"""The image beside one built the sample's way: size, what an update costs, cold start, memory.

python -m bench.image                    builds the sample's image first, which takes minutes
python -m bench.image --without-sample

Both serve the model *a*, from the same base, behind the same emulator, in the same kind of
container; their starts take turns. What is printed is the table of docs/image.md. The images stay,
as edgexgb-bench-ours and edgexgb-bench-sample, so that another run need not build them again.
"""

import argparse
import contextlib
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.models import SPECS, build
from release.errors import CommandError
from release.image.build import BASE, build_image
from release.image.docker import build as docker_build
from release.image.docker import run_docker
from release.image.facts import OurImage, find_image, read_saved
from release.image.run import Limits, run_lambda
from release.image.show import megabytes
from release.targets import HttpTarget

MODEL = "a"
MEMORY_MB = 1024
"""For both; the sample does not start with 128."""

_OURS, _SAMPLE = "edgexgb-bench-ours:1", "edgexgb-bench-sample:1"
_WARM_REQUESTS = 100

_DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends python3 python3-pip \\
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m pip install --break-system-packages --no-cache-dir \\
      xgboost pandas scikit-learn joblib awsiotsdk awslambdaric
WORKDIR /app
COPY . /app/
ENTRYPOINT ["python3", "-m", "awslambdaric"]
CMD ["app.handler"]
"""
_APP = """\
import json
from io import StringIO

import joblib
import pandas as pd
import xgboost

model = xgboost.XGBClassifier()
model.load_model("/app/model.json")


def handler(event, context):
    rows = pd.read_json(StringIO(json.dumps(event["records"])))
    return {"statusCode": 200, "body": json.dumps(model.predict(rows).tolist())}
"""


@dataclass(slots=True, kw_only=True)
class Figures:
    """What was measured of an image.

    Attributes:
        size_bytes: of all files, uncompressed.
        pull_bytes: of all layers, as a registry keeps them.
        update_bytes: of the layer with the model, likewise.
        start_ms: from `docker run` to the first answer.
        first_ms: of it, from the first request to its answer: the function's own start.
        resident_bytes: of the function's process, after its first answer.
        peak_bytes: of the function's process at its largest, after `_WARM_REQUESTS` more.
    """

    size_bytes: int
    pull_bytes: int
    update_bytes: int
    start_ms: list[float]
    first_ms: list[float]
    resident_bytes: list[int]
    peak_bytes: list[int]


def measure(images: Mapping[str, OurImage], event: bytes, runs: int) -> dict[str, Figures]:
    """The figures of each image, by name; the first start of each is not counted.

    Raises:
        CommandError: one of them does not start or answer.
    """
    found = {name: _sizes(image) for name, image in images.items()}
    for run in range(runs + 1):
        for name, image in images.items():
            _start(image, event, found[name] if run else None)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def _sizes(image: OurImage) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "image.tar"
        run_docker("image", "save", "--output", str(saved), image.id)
        layers = read_saved(saved)
    update = next(layer for layer in reversed(layers) if layer.files)
    return Figures(
        size_bytes=sum(sum(layer.files.values()) for layer in layers),
        pull_bytes=sum(layer.pull_bytes for layer in layers),
        update_bytes=update.pull_bytes,
        start_ms=[],
        first_ms=[],
        resident_bytes=[],
        peak_bytes=[],
    )


def _start(image: OurImage, event: bytes, into: Figures | None) -> None:
    begin = time.perf_counter()
    with (
        run_lambda(image, limits=Limits(memory_mb=MEMORY_MB)) as container,
        contextlib.closing(HttpTarget("image", container.url)) as target,
    ):
        reply = target.invoke(event)
        start_ms = (time.perf_counter() - begin) * 1000
        if reply.json().get("statusCode") != 200:
            raise CommandError(f"{image.reference}: got {reply.payload[:200]!r}, expected 200")
        process = _function(container.name)
        resident_bytes = process.memory_info().rss
        for _ in range(_WARM_REQUESTS):
            target.invoke(event)
        peak_bytes = _peak(process.pid)
    if into is not None:
        into.start_ms.append(start_ms)
        into.first_ms.append(reply.seconds * 1000)
        into.resident_bytes.append(resident_bytes)
        into.peak_bytes.append(peak_bytes)


def _function(container: str) -> psutil.Process:
    """The function's process: the youngest in the container."""
    lines = run_docker("top", container, "-eo", "pid,args").splitlines()[1:]
    return psutil.Process(max(int(line.split()[0]) for line in lines))


def _peak(pid: int) -> int:
    """The largest resident memory of a process in bytes. Source: proc(5), VmHWM."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if "VmHWM" in line) * 1024


def build_ours(bundle: Path, base: str, options: Sequence[str]) -> OurImage:
    """Our image of a bundle.

    Raises:
        BundleError: the bundle is not good.
        CommandError: it cannot be built.
    """
    build_image(bundle, tag=_OURS, base=base, options=tuple(options))
    return find_image(_OURS)


def build_sample(model: Path, base: str, options: Sequence[str]) -> OurImage:
    """The sample's image of a model file.

    Raises:
        CommandError: it cannot be built.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Dockerfile").write_text(_DOCKERFILE)
        (folder / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
        (folder / "app.py").write_text(_APP)
        (folder / "model.json").write_bytes(model.read_bytes())
        docker_build(
            folder,
            tag=_SAMPLE,
            build_arguments={"BASE_IMAGE": base},
            options=options,
            on_line=lambda line: print(line, file=sys.stderr) if "Step" in line else None,
        )
    found = json.loads(run_docker("image", "inspect", _SAMPLE))[0]
    return OurImage(
        reference=_SAMPLE,
        id=found["Id"],
        platform=f"{found['Os']}/{found['Architecture']}",
        labels={},
        entrypoint=(*found["Config"]["Entrypoint"], *found["Config"]["Cmd"]),
        layers=tuple(found["RootFS"]["Layers"]),
    )


def to_table(found: Mapping[str, Figures]) -> str:
    """The figures as a Markdown table: medians, and the quartiles where there are several."""
    names = list(found)
    rows: list[tuple[str, list[str]]] = [
        ("size", [megabytes(it.size_bytes) for it in found.values()]),
        ("to pull", [megabytes(it.pull_bytes) for it in found.values()]),
        ("to pull for another model", [megabytes(it.update_bytes) for it in found.values()]),
        ("`docker run` to the first answer", [_ms(it.start_ms) for it in found.values()]),
        ("of it, the first request", [_ms(it.first_ms) for it in found.values()]),
        (
            "resident memory after it",
            [megabytes(statistics.median(it.resident_bytes)) for it in found.values()],
        ),
        (
            f"at most, {_WARM_REQUESTS} requests later",
            [megabytes(statistics.median(it.peak_bytes)) for it in found.values()],
        ),
    ]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    lines += [f"| {what} | {' | '.join(cells)} |" for what, cells in rows]
    return "\n".join(lines)


def _ms(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.0f} ms"
    first, median, third = statistics.quantiles(values, n=4)
    return f"{median:.0f} ms ({first:.0f} to {third:.0f})"


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    parser = argparse.ArgumentParser(prog="bench.image", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--without-sample", action="store_true", help="ours alone")
    parser.add_argument("--base", default=BASE, help=f"of both (default: {BASE})")
    parser.add_argument("--network", default="default", help="of the builds, as docker has it")
    parser.add_argument("--runs", type=int, default=9, help="starts of each (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each number there")
    arguments = parser.parse_args(words)
    options = ("--network", arguments.network)
    directory = build(SPECS[MODEL])
    row = json.loads((directory / "requests-1.jsonl").read_text().partition("\n")[0])
    try:
        images = {"ours": build_ours(directory / "bundle", arguments.base, options)}
        if not arguments.without_sample:
            images["the sample's way"] = build_sample(
                directory / "model.json", arguments.base, options
            )
        found = measure(images, json.dumps({"records": row}).encode(), arguments.runs)
    except CommandError as error:
        print(f"bench.image: error: {error}", file=sys.stderr)
        return 1
    if arguments.json is not None:
        fields = {name: asdict(figures) for name, figures in found.items()}
        arguments.json.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    print(to_table(found))
    when = datetime.now(UTC).date().isoformat()
    print(f"\n{when}, {platform.machine()}, medians of {arguments.runs} starts in turn (quartiles)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
