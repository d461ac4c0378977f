"""An image's facts for people."""

from rich.console import Console
from rich.table import Table

from release.image.facts import ENGINE, MODEL_DIGEST, MODEL_NAME, MODEL_VERSION, ImageFacts


def show_image(facts: ImageFacts, console: Console) -> None:
    """Prints what an image is, its layers, parts and packages, and what an update costs."""
    labels = facts.labels
    console.print(f"{facts.reference}  {facts.platform}", style="bold", highlight=False)
    console.print(f"digest  {facts.id}", highlight=False, soft_wrap=True)
    model = f"{labels.get(MODEL_NAME)} {labels.get(MODEL_VERSION)}"
    console.print(f"model   {model}, digest {labels.get(MODEL_DIGEST)}", soft_wrap=True)
    console.print(f"engine  {labels.get(ENGINE)}")
    layers = _table("layers", "size", "to pull", "digest")
    for layer in facts.layers:
        layers.add_row(
            layer.content,
            megabytes(layer.size_bytes),
            megabytes(layer.pull_bytes),
            layer.digest[:19],
        )
    pull_bytes = sum(layer.pull_bytes for layer in facts.layers)
    layers.add_row("all", megabytes(facts.size_bytes), megabytes(pull_bytes), "", style="bold")
    console.print(layers)
    parts = _table("parts", "size")
    for part, size in facts.parts.items():
        parts.add_row(part, megabytes(size))
    console.print(parts)
    packages = _table("packages", "version", "licence")
    for package in facts.packages:
        packages.add_row(package.name, package.version, package.licence)
    console.print(packages)
    cost = (
        f"{megabytes(facts.update.pull_bytes)} to pull, {megabytes(facts.update.size_bytes)} kept"
    )
    console.print(f"an update of the model: {cost} (the last layer alone)", highlight=False)


def megabytes(n_bytes: float) -> str:
    """Bytes for people: `1.23 MB`, in millions, as docker has it."""
    return f"{n_bytes / 1e6:.2f} MB"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        numeric = heading in {"size", "to pull"}
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    return table
