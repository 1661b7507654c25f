"""Files as people have them: spellings, delimiters, times, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.providers import files
from alphastrat.marketdata.providers.files import FileFormat, count_rows, read_file
from alphastrat.quant.types import Timeframe

NEW_YORK = "America/New_York"


def read(path: Path, timeframe: str = "1d", *, zone: str = NEW_YORK, symbol: str = "AAPL"):
    form = FileFormat(Timeframe(timeframe), ZoneInfo(zone), symbol)
    return pd.concat(list(read_file(path, form)), ignore_index=True)


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes, name: str = "bars.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(path: Path, timeframe: str = "1d", *, symbol: str = "AAPL") -> tuple[str, str]:
    with pytest.raises(InvalidInput) as caught:
        read(path, timeframe, symbol=symbol)
    return str(caught.value), " ".join(caught.value.fields.values())


ROW = "1.5,2.0,1.0,1.75,1000"


@pytest.mark.parametrize(
    "heading",
    [
        "date,open,high,low,close,volume",
        "Date,Open,High,Low,Close,Volume",
        " DATE , OPEN , HIGH , LOW , CLOSE , VOLUME ",
        "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "timestamp,o,h,l,c,v",
        "t,o,h,l,c,v",
        "Date,Open Price,High Price,Low Price,Close Price,Vol.",
        "Date,Open,High,Low,Close/Last,Volume",
        "window_start,open,high,low,close,volume",
        "Date,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME",
        "time,open,max,min,close,tick_volume",
    ],
)
def test_columns_are_found_under_their_usual_names(written, heading):
    frame = read(written(f"{heading}\n2018-01-03,{ROW}\n"))
    (row,) = frame[["open", "high", "low", "close", "volume"]].to_numpy().tolist()
    assert row == [1.5, 2.0, 1.0, 1.75, 1000.0]
    assert frame["symbol"].tolist() == ["AAPL"]
    assert frame["time"].tolist() == [pd.Timestamp("2018-01-03")]


@pytest.mark.parametrize("name", ["symbol", "Ticker", "SYM", "Instrument", "act_symbol", "Name"])
def test_the_symbol_column_is_found_and_tidied(written, name):
    frame = read(written(f"{name},date,open,high,low,close,volume\n msft ,2018-01-03,{ROW}\n"))
    assert frame["symbol"].tolist() == ["MSFT"]


@pytest.mark.parametrize(("theirs", "ours"), [("ETH/BTC", "ETH-BTC"), ("brk b", "BRK-B")])
def test_a_symbol_is_written_so_that_it_fits_an_address(written, theirs, ours):
    frame = read(written(f"symbol,date,open,high,low,close,volume\n{theirs},2018-01-03,{ROW}\n"))
    assert frame["symbol"].tolist() == [ours]
    frame = read(written(f"{HEADING}2018-01-03,{ROW}\n"), symbol=theirs)
    assert frame["symbol"].tolist() == [ours]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_seen(written, mark):
    text = f"date,open,high,low,close,volume\n2018-01-03,{ROW}\n".replace(",", mark)
    assert read(written(text))["close"].tolist() == [1.75]


def test_a_symbol_that_reads_like_a_missing_value_is_a_symbol(written):
    lines = [f"{symbol},2018-01-03,{ROW}" for symbol in ("NA", "NAN", "NULL", "TRUE", "INF")]
    path = written("symbol,date,open,high,low,close,volume\n" + "\n".join(lines))
    assert read(path)["symbol"].tolist() == ["NA", "NAN", "NULL", "TRUE", "INF"]


def test_european_numbers_are_read_with_their_semicolons(written):
    text = (
        "Date;Open;High;Low;Close;Volume\n"
        "03.01.2018;1,5;2,0;1,0;1,75;1.000\n"
        "13.01.2018;1,5;2,0;1,0;1,75;1.234.567\n"
    )
    frame = read(written(text))
    assert frame["close"].tolist() == [1.75, 1.75]
    assert frame["volume"].tolist() == [1000.0, 1_234_567.0]


def test_thousands_marks_and_currency_signs_are_read(written):
    text = (
        "Date,Close/Last,Volume,Open,High,Low\n"
        '01/16/2018,"$1,175.50","26,501,250","$1,150.00","$1,200.00","$1,100.25"\n'
    )
    (row,) = read(written(text)).to_dict("records")
    assert (row["close"], row["volume"], row["open"]) == (1175.5, 26_501_250.0, 1150.0)


def test_a_byte_order_mark_is_no_part_of_a_name(written):
    text = f"\ufeffdate,open,high,low,close,volume\n2018-01-03,{ROW}\n"
    assert len(read(written(text))) == 1


def test_lines_may_end_as_on_windows_and_be_blank(written):
    text = f"date,open,high,low,close,volume\r\n2018-01-03,{ROW}\r\n\r\n2018-01-04,{ROW}\r\n"
    frame = read(written(text))
    assert frame["row_number"].tolist() == [1, 2]


def test_what_is_no_number_is_absent_and_harms_no_other_row(written):
    text = f"date,open,high,low,close,volume\n2018-01-03,n/a,x,,-,1\n2018-01-04,{ROW}\n"
    frame = read(written(text))
    assert frame.loc[0, ["open", "high", "low", "close"]].isna().all()
    assert frame.loc[1, "close"] == 1.75


WINTER = "2018-01-03T14:30"  # 09:30 in New York
EPOCH = 1_514_989_800


@pytest.mark.parametrize(
    ("written_time", "instant"),
    [
        ("2018-01-03T14:30:00Z", WINTER),
        ("2018-01-03T14:30:00+00:00", WINTER),
        ("2018-01-03T09:30:00-05:00", WINTER),
        ("2018-01-03T09:30:00-0500", WINTER),
        ("2018-01-03 09:30:00", WINTER),
        ("2018-01-03 09:30", WINTER),
        ("2018-07-03 09:30", "2018-07-03T13:30"),  # summer time
        ("2018-03-11 02:30", None),  # does not exist
        ("2018-11-04 01:30", None),  # happens twice
        (str(EPOCH), WINTER),
        (str(EPOCH * 10**3), WINTER),
        (str(EPOCH * 10**6), WINTER),
        (str(EPOCH * 10**9), WINTER),
        ("01/13/2018 09:30", "2018-01-13T14:30"),
        ("13/01/2018 09:30", "2018-01-13T14:30"),
        ("13.01.2018 09:30", "2018-01-13T14:30"),
        ("20180103 09:30", WINTER),
        ("20180103 093000", WINTER),
        ("tomorrow", None),
    ],
)
def test_an_instant_is_read_however_it_is_written(written, written_time, instant):
    path = written(f"datetime,open,high,low,close,volume\n{written_time},{ROW}\n")
    (time,) = read(path, "5m")["time"]
    assert pd.isna(time) if instant is None else time == pd.Timestamp(instant, tz="UTC")


@pytest.mark.parametrize(
    ("date", "clock"),
    [
        ("2018-01-03", "09:30:00"),
        ("20180103", "093000"),
        ("01/13/2018", "09:30"),
        ("20180103", "09:30"),
    ],
)
def test_date_and_clock_may_have_a_column_each(written, date, clock):
    path = written(f"<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\n{date},{clock},{ROW}\n")
    (time,) = read(path, "5m")["time"]
    assert (time.hour, time.minute) == (14, 30)


@pytest.mark.parametrize(
    ("written_time", "date"),
    [
        ("2018-01-03", "2018-01-03"),
        ("20180103", "2018-01-03"),
        ("1/13/2018", "2018-01-13"),
        ("13/1/2018", "2018-01-13"),
        ("3.1.2018", "2018-01-03"),
        ("13-01-2018", "2018-01-13"),
        ("2018-01-03 00:00:00", "2018-01-03"),
        ("2018-01-03T00:00:00Z", "2018-01-03"),  # vendors write a date like this
        ("2018-01-03T05:00:00Z", "2018-01-03"),  # midnight in New York
        ("2018-01-03 00:00:00-05:00", "2018-01-03"),  # yfinance
        (str(EPOCH), "2018-01-03"),
        (str(1_514_955_600_000), "2018-01-03"),  # midnight in New York, in ms: Polygon.io
        ("Jan 3, 2018", "2018-01-03"),
        ("3-Jan-2018", "2018-01-03"),
        ("2018/01/03", "2018-01-03"),
        ("1850-06-03", "1850-06-03"),
    ],
)
def test_a_session_date_is_read_however_it_is_written(written, written_time, date):
    quoted = f'"{written_time}"'
    path = written(f"date,open,high,low,close,volume\n{quoted},{ROW}\n")
    assert read(path)["time"].tolist() == [pd.Timestamp(date)]


def test_one_unreadable_time_harms_no_other_row(written):
    text = "".join(f"{time},{ROW}\n" for time in ("2018-01-03", "what?", "2018-01-05"))
    times = read(written("date,open,high,low,close,volume\n" + text))["time"]
    assert times.isna().tolist() == [False, True, False]
    text = "".join(f"{time},{ROW}\n" for time in ("20180103", "n/a", "20180105"))
    times = read(written("date,open,high,low,close,volume\n" + text))["time"]
    assert times.isna().tolist() == [False, True, False]


def test_day_and_month_are_told_apart_by_any_day_past_the_twelfth(written):
    text = f"date,open,high,low,close,volume\n03/01/2018,{ROW}\n15/01/2018,{ROW}\n"
    assert read(written(text))["time"].tolist() == [
        pd.Timestamp("2018-01-03"),
        pd.Timestamp("2018-01-15"),
    ]


def test_dates_that_can_be_read_in_two_ways_are_refused(written):
    text = f"date,open,high,low,close,volume\n03/01/2018,{ROW}\n04/01/2018,{ROW}\n"
    message, advice = refusal(written(text))
    assert message == "The dates can be read in two ways, for example 03/01/2018."
    assert advice == "Write dates as YYYY-MM-DD."


def test_the_order_of_day_and_month_holds_for_the_whole_file(written, monkeypatch):
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    days = ["15/01/2018", "16/01/2018", "01/02/2018", "02/02/2018"]
    text = "".join(f"{day},{ROW}\n" for day in days)
    times = read(written("date,open,high,low,close,volume\n" + text))["time"]
    assert times.tolist() == [
        pd.Timestamp(day) for day in ("2018-01-15", "2018-01-16", "2018-02-01", "2018-02-02")
    ]


def bars(n_rows: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": "AAPL",
            "date": pd.bdate_range("2018-01-02", periods=n_rows),
            "open": np.full(n_rows, 1.5),
            "high": 2.0,
            "low": 1.0,
            "close": 1.75,
            "volume": 1000,
        }
    )


@pytest.mark.parametrize(
    "times",
    [
        pd.bdate_range("2018-01-02", periods=3),
        pd.bdate_range("2018-01-02", periods=3).date,
        pd.bdate_range("2018-01-02", periods=3).strftime("%Y-%m-%d"),
        pd.bdate_range("2018-01-02", periods=3, tz=NEW_YORK),
        pd.bdate_range("2018-01-02", periods=3, tz="UTC"),
        pd.bdate_range("2018-01-02", periods=3).as_unit("ms").asi8,
        pd.array([20180102, 20180103, 20180104], dtype="int32"),
    ],
    ids=["naive", "date", "text", "new york", "utc", "epoch", "compact"],
)
def test_parquet_times_are_read_whatever_their_type(tmp_path, times):
    path = tmp_path / "bars.parquet"
    bars().assign(date=times).to_parquet(path, index=False)
    assert read(path)["time"].tolist() == list(pd.bdate_range("2018-01-02", periods=3))


def test_parquet_is_known_by_its_first_bytes_not_its_name(tmp_path):
    path = tmp_path / "bars.csv"
    bars().to_parquet(path, index=False)
    assert len(read(path)) == 3


def test_parquet_keeps_absent_values_absent(tmp_path):
    path = tmp_path / "bars.parquet"
    frame = bars()
    frame["volume"] = pd.array([1, None, 3], dtype="Int64")
    frame.loc[1, "open"] = np.nan
    frame.to_parquet(path, index=False)
    read_back = read(path)
    assert read_back["volume"].isna().tolist() == [False, True, False]
    assert read_back["open"].isna().tolist() == [False, True, False]


def test_parquet_with_the_time_as_index_is_read(tmp_path):
    path = tmp_path / "bars.parquet"
    bars().set_index("date").to_parquet(path)
    assert len(read(path)) == 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_large_files_come_in_batches_with_their_row_numbers(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(files, "BATCH_ROWS", 4)
    path = tmp_path / f"bars.{kind}"
    write = {"csv": bars(10).to_csv, "parquet": bars(10).to_parquet}[kind]
    write(path, index=False)
    form = FileFormat(Timeframe.DAY_1, ZoneInfo(NEW_YORK))
    batches = list(read_file(path, form))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [n for batch in batches for n in batch["row_number"]] == list(range(1, 11))
    assert count_rows(path) == pytest.approx(10, abs=1)


HEADING = "date,open,high,low,close,volume\n"


@pytest.mark.parametrize(
    ("content", "message", "advice"),
    [
        (b"", "The file is empty.", "Choose a file with bars."),
        (b"  \n \n", "The file is empty.", "Choose a file with bars."),
        (
            b"PK\x03\x04\x14\x00\x06\x00spreadsheet",
            "The file is neither CSV nor Parquet.",
            "Save it as CSV or Parquet; spreadsheets cannot be read.",
        ),
        (
            b"PAR1 and then nothing of the kind",
            "The file could not be read as Parquet: it is damaged or incomplete.",
            "Check the file in another program and save it again as Parquet.",
        ),
        (
            f"date,open,high,low,value,volume\n2018-01-03,{ROW}\n".encode(),
            "The file has no column for close. It has: date, open, high, low, value, volume.",
            "Name the close column one of: close, c, close_price, last.",
        ),
        (
            b"hello\nworld\n",
            "The file has no column for time, open, high, low, close, volume. It has: hello.",
            "Name the time column one of: date, datetime, timestamp, time.",
        ),
        (
            (HEADING + f"2018-01-03,{ROW}\n2018-01-04,{ROW},7,8\n").encode(),
            "The file could not be read as CSV: line 3 has 8 values where the heading has 6.",
            "Check the file in another program and save it again as CSV.",
        ),
        (
            (HEADING + f"2018-01-03,{ROW}\n").replace("date", "däte").encode("latin-1"),
            "The file could not be read as CSV: it is not in UTF-8.",
            "Check the file in another program and save it again as CSV.",
        ),
        (
            f"2018-01-03,{ROW}\n2018-01-04,{ROW}\n".encode(),
            "The file has no line of column names: its first line holds values.",
            "Put the names on the first line: date, open, high, low, close, volume.",
        ),
        (
            (HEADING.replace("close,", "close,Close,") + f"2018-01-03,1.5,{ROW}\n").encode(),
            "The file has two columns for close: close, Close.",
            "Keep one of them.",
        ),
    ],
)
def test_a_wrong_file_is_answered_with_what_is_wrong_and_what_to_do(
    written, content, message, advice
):
    assert refusal(written(content)) == (message, advice)


def test_a_file_that_names_no_instrument_asks_for_it(written):
    message, advice = refusal(written(HEADING + f"2018-01-03,{ROW}\n"), symbol="")
    assert message == "The file names no instrument: it has no symbol column."
    assert advice == "Give the symbol the file is about, or add a symbol column."


def test_a_file_of_days_is_no_file_of_minutes(written):
    message, advice = refusal(written(HEADING + f"2018-01-03,{ROW}\n2018-01-04,{ROW}\n"), "5m")
    assert message == "The times carry no clock time, so these cannot be bars of 5m."
    assert advice == "Choose the timeframe of the file, such as 1 day."


def test_a_file_of_minutes_is_no_file_of_days(written):
    lines = [f"2018-01-03 09:{minute}:00,{ROW}\n" for minute in range(30, 40)]
    message, advice = refusal(written(HEADING + "".join(lines)))
    assert message == "The file has many times in one day, so these cannot be bars of 1d."
    assert advice == "Choose the timeframe of the file, such as 1 minute."


def test_a_heading_alone_has_no_rows(written):
    assert (
        sum(
            len(batch)
            for batch in read_file(
                written(HEADING), FileFormat(Timeframe.DAY_1, ZoneInfo(NEW_YORK), "AAPL")
            )
        )
        == 0
    )


def test_a_clock_time_without_a_date_is_no_time(written):
    times = read(written(f"datetime,open,high,low,close,volume\n09:30,{ROW}\n"), "5m")["time"]
    assert times.isna().all()


def test_dates_in_both_orders_are_refused(written):
    text = HEADING + f"15/01/2018,{ROW}\n01/16/2018,{ROW}\n"
    assert refusal(written(text)) == (
        "The dates have days and months in both orders, for example 15/01/2018.",
        "Write dates as YYYY-MM-DD.",
    )


def test_volumes_may_be_counted_in_millions(written):
    text = (
        "Date,Price,Open,High,Low,Vol.\n"
        '"Jan 16, 2018","1,175.50","1,150.00","1,200","1,100",26.50M\n'
    )
    (row,) = read(written(text)).to_dict("records")
    assert (row["close"], row["volume"]) == (1175.5, 26_500_000.0)
    assert row["time"] == pd.Timestamp("2018-01-16")


@pytest.mark.parametrize("name", ["bars.zip", "bars.csv.gz", "bars.xz"])
def test_the_name_of_a_file_never_says_how_it_is_packed(written, name):
    frame = read(written(f"{HEADING}2018-01-03,{ROW}\n", name))
    assert frame["close"].tolist() == [1.75]
