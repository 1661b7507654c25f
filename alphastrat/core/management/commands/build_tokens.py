"""Compile the design tokens to CSS and fail on a broken contract."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from alphastrat.core.tokens import TokenError, compile_css, contrast_checks, load_tokens

STATIC = Path("static")


class Command(BaseCommand):
    """Write static/css/tokens.css; with --check only compare it."""

    help = "Compile static/tokens/*.tokens.json to static/css/tokens.css and check the contrast."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the file is out of date"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        root = Path(settings.BASE_DIR) / STATIC
        try:
            tokens = load_tokens(root / "tokens")
            css = compile_css(tokens)
        except TokenError as error:
            raise CommandError(str(error)) from error
        checks = contrast_checks(tokens)
        if failed := [check for check in checks if not check.passes]:
            raise CommandError("\n".join(f"contrast too low: {check}" for check in failed))
        self._write(root / "css" / "tokens.css", css, only_check=options["check"])
        n_tokens = len(tokens.tokens("light"))
        self.stdout.write(f"{n_tokens} tokens, {len(checks)} contrast checks passed")

    def _write(self, path: Path, css: str, *, only_check: bool) -> None:
        if not only_check:
            path.write_text(css, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != css:
            raise CommandError(f"{path.name} is out of date: run manage.py build_tokens")
