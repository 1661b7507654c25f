from datetime import timedelta

from django.db import migrations

from alphastrat.core.timescale import Hypertable, enable_timescale, make_hypertable

# Daily bars of a thousand instruments fill a chunk of a year as minute bars of three do.
BARS = Hypertable(
    table="marketdata_bar",
    time_column="opened_at",
    segment_by="series_id",
    chunk=timedelta(days=365),
    compress_after=timedelta(days=400),
)


def make_bars_a_hypertable(apps, schema_editor):
    if enable_timescale(schema_editor.connection):
        make_hypertable(schema_editor.connection, BARS)


class Migration(migrations.Migration):
    """Keep bars in compressed chunks where TimescaleDB is there; elsewhere nothing changes.

    Going back leaves the hypertable: to every query it is the same table.
    """

    dependencies = [("marketdata", "0004_leave_series_of_bars_to_the_merge")]

    operations = [
        migrations.RunPython(make_bars_a_hypertable, migrations.RunPython.noop, elidable=False)
    ]
