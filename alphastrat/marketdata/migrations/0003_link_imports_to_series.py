from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0002_add_feed_position_and_call_budget")]

    operations = [
        migrations.AddField(
            model_name="importrun",
            name="series",
            field=models.ManyToManyField(
                blank=True, related_name="import_runs", to="marketdata.barseries"
            ),
        ),
    ]
