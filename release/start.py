"""Where the `edgexgb` command begins: before its imports, which Ctrl-C may interrupt, too."""

INTERRUPTED = 130


def main() -> int:
    """Runs the command; the exit code."""
    try:
        from release.cli import main as run
    except KeyboardInterrupt:
        return INTERRUPTED
    return run()
