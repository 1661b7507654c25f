import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Drop the row-by-row check of bar.series: it takes longer than all the rest of an import."""

    dependencies = [("marketdata", "0003_link_imports_to_series")]

    operations = [
        migrations.AlterField(
            model_name="bar",
            name="series",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="bars",
                to="marketdata.barseries",
            ),
        ),
    ]
