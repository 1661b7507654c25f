"""What each strategy may do now: a person or a limit can stop it alone."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portfolio", "0002_ledger_and_differences"),
        ("strategies", "0007_keep_one_run_per_import"),
    ]

    operations = [
        migrations.CreateModel(
            name="StrategyStanding",
            fields=[
                (
                    "strategy",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="standing",
                        serialize=False,
                        to="strategies.strategy",
                    ),
                ),
                (
                    "trading_state",
                    models.CharField(
                        choices=[
                            ("active", "Active"),
                            ("reducing", "Reducing only"),
                            ("halted", "Halted"),
                        ],
                        default="active",
                        max_length=8,
                    ),
                ),
                ("scale", models.DecimalField(decimal_places=4, default=1, max_digits=5)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("changed_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("trading_state__in", ["active", "reducing", "halted"])),
                        name="portfolio_standing_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("scale__gte", 0), ("scale__lte", 1)),
                        name="portfolio_standing_scale_in_range",
                    ),
                ],
            },
        ),
    ]
