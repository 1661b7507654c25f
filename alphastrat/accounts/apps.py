from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "alphastrat.accounts"
    label = "accounts"
    verbose_name = "People"

    def ready(self) -> None:
        # Models can be imported only once every app is loaded.
        from alphastrat.accounts.audit import register_models

        register_models()
