"""What verification says of a strategy, as far as a portfolio acts on it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portfolio", "0003_add_strategy_standing"),
        ("strategies", "0007_keep_one_run_per_import"),
    ]

    operations = [
        migrations.AddField(
            model_name="strategystanding",
            name="verification",
            field=models.CharField(blank=True, max_length=8),
        ),
        migrations.AddConstraint(
            model_name="strategystanding",
            constraint=models.CheckConstraint(
                condition=models.Q(("verification__in", ["", "degraded", "failed"])),
                name="portfolio_standing_verification_is_known",
            ),
        ),
    ]
