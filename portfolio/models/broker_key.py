"""Keys of accounts at brokers, encrypted at rest."""

from __future__ import annotations

from django.db import models


class BrokerKey(models.Model):
    """The key that one account is reached with, instead of the installation's."""

    account = models.OneToOneField("portfolio.Account", models.CASCADE, related_name="broker_key")
    # A Fernet token; portfolio.services.broker_keys is the only door.
    token = models.BinaryField()
    # What may be shown of it.
    hint = models.CharField(max_length=20)
    stored_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.hint} of {self.account_id}"
