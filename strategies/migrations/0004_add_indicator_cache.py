"""Add the indicator cache, `technical_indicators`.

The mission's table has a JSON value for every bar. 100,000 such rows take 25 MB and 1.5 s to
read; an array takes 3 MB and 7 ms. So a row holds one indicator on one series: time and JSON
value of the newest bar, as in the mission, and the values before it as arrays. The view
`technical_indicator_values` has a row for every bar, and none where the bars have moved on.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

TIMEFRAMES = ["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1M"]

# A symbol that is corrected is corrected here too.
SYMBOL_FOLLOWS = """
    ALTER TABLE technical_indicators ADD CONSTRAINT strategies_technicalindicator_symbol_follows
    FOREIGN KEY (symbol) REFERENCES marketdata_instrument (symbol)
    ON UPDATE CASCADE ON DELETE CASCADE
"""
# Prices hardly compress, and trying takes longer than writing.
UNCOMPRESSED = "ALTER TABLE technical_indicators ALTER COLUMN history SET STORAGE EXTERNAL"
VALUES = """
    CREATE VIEW technical_indicator_values AS
    SELECT t.symbol, t.indicator_type, t.timeframe, t.parameters, bar.time, by_output.value,
        t.series_id, t.revision
    FROM technical_indicators t
    JOIN marketdata_barseries s ON s.id = t.series_id AND s.revision = t.revision
    CROSS JOIN LATERAL (
        -- Made once: an element of a stored array is found by reading all of it.
        SELECT t.history || t.tail AS numbers, cardinality(t.outputs) AS n_outputs,
            (SELECT array_agg(closed_at ORDER BY opened_at)
             FROM marketdata_bar WHERE series_id = t.series_id) AS times
        OFFSET 0
    ) whole
    CROSS JOIN LATERAL unnest(whole.times) WITH ORDINALITY AS bar (time, place)
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(output.name,
            CASE WHEN abs(number) < 'Infinity' THEN number END) AS value
        FROM unnest(t.outputs) WITH ORDINALITY AS output (name, place),
            LATERAL (SELECT whole.numbers[(bar.place - 1) * n_outputs + output.place]) one (number)
    ) by_output
"""


class Migration(migrations.Migration):
    dependencies = [
        ("marketdata", "0001_initial"),
        ("strategies", "0003_add_walk_forward"),
    ]

    operations = [
        migrations.CreateModel(
            name="TechnicalIndicator",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("symbol", models.CharField(max_length=40)),
                ("indicator_type", models.CharField(max_length=20)),
                (
                    "timeframe",
                    models.CharField(choices=[(one, one) for one in TIMEFRAMES], max_length=3),
                ),
                ("parameters", models.JSONField()),
                ("time", models.DateTimeField()),
                ("value", models.JSONField()),
                (
                    "outputs",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=30), size=None
                    ),
                ),
                ("n_bars", models.PositiveBigIntegerField()),
                (
                    "history",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), size=None
                    ),
                ),
                (
                    "tail",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), size=None
                    ),
                ),
                ("revision", models.PositiveBigIntegerField()),
                (
                    "series",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="indicators",
                        to="marketdata.barseries",
                    ),
                ),
            ],
            options={
                "db_table": "technical_indicators",
                "indexes": [
                    models.Index(
                        fields=["indicator_type", "timeframe", "symbol"],
                        name="strategies_indicator_scan",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("series", "indicator_type", "parameters"),
                        name="strategies_technicalindicator_unique_request",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("timeframe__in", TIMEFRAMES)),
                        name="strategies_technicalindicator_timeframe_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("n_bars__gt", 0)),
                        name="strategies_technicalindicator_has_bars",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            SYMBOL_FOLLOWS,
            "ALTER TABLE technical_indicators"
            " DROP CONSTRAINT strategies_technicalindicator_symbol_follows",
        ),
        migrations.RunSQL(UNCOMPRESSED, migrations.RunSQL.noop),
        migrations.RunSQL(VALUES, "DROP VIEW technical_indicator_values"),
    ]
