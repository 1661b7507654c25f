import django.db.models.deletion
from django.db import migrations, models

from alphastrat.core.timescale import timescale_version

# The same columns and values from both. The aggregate is filled by its policy and answers for
# newer bars from the table itself.
AGGREGATE = """
    CREATE MATERIALIZED VIEW marketdata_barday
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT series_id, time_bucket(INTERVAL '1 day', opened_at) AS day, count(*) AS n_bars,
        first(open, opened_at) AS open, max(high) AS high, min(low) AS low,
        last(close, opened_at) AS close, sum(volume) AS volume
    FROM marketdata_bar GROUP BY series_id, day
    WITH NO DATA
"""
REFRESH = """
    SELECT add_continuous_aggregate_policy('marketdata_barday', start_offset => NULL,
        end_offset => INTERVAL '2 days', schedule_interval => INTERVAL '6 hours')
"""
VIEW = """
    CREATE VIEW marketdata_barday AS
    SELECT series_id, date_trunc('day', opened_at, 'UTC') AS day, count(*) AS n_bars,
        (array_agg(open ORDER BY opened_at))[1] AS open, max(high) AS high, min(low) AS low,
        (array_agg(close ORDER BY opened_at DESC))[1] AS close, sum(volume) AS volume
    FROM marketdata_bar GROUP BY series_id, day
"""


def create(apps, schema_editor):
    if timescale_version(schema_editor.connection):
        schema_editor.execute(AGGREGATE)
        schema_editor.execute(REFRESH)
    else:
        schema_editor.execute(VIEW)


def drop(apps, schema_editor):
    kind = "MATERIALIZED VIEW" if timescale_version(schema_editor.connection) else "VIEW"
    schema_editor.execute(f"DROP {kind} marketdata_barday")


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0005_store_bars_in_a_hypertable")]

    operations = [
        migrations.RunPython(create, drop),
        migrations.CreateModel(
            name="BarDay",
            fields=[
                ("pk", models.CompositePrimaryKey("series_id", "day", primary_key=True)),
                ("day", models.DateTimeField()),
                ("n_bars", models.BigIntegerField()),
                ("open", models.FloatField()),
                ("high", models.FloatField()),
                ("low", models.FloatField()),
                ("close", models.FloatField()),
                ("volume", models.FloatField()),
                (
                    "series",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="days",
                        to="marketdata.barseries",
                    ),
                ),
            ],
            options={"managed": False, "db_table": "marketdata_barday"},
        ),
    ]
