"""The entry point of the command `augment`. It installs the signal handlers before any slow import."""

from __future__ import annotations

from pipelines.process import handle_signals


def main() -> None:
    """Run the command line and exit."""
    handle_signals()
    from pipelines.cli.app import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
