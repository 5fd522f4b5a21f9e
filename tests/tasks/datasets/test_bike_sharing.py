import datetime as dt

from tasks.datasets.bike_sharing import DATASET, FILE

LINES = """instant,dteday,season,yr,mnth,hr,holiday,weekday,workingday,weathersit,temp,atemp,hum,\
windspeed,casual,registered,cnt
1,2011-01-01,1,0,1,0,0,6,0,1,0.24,0.2879,0.81,0,3,13,16
2,2011-01-01,1,0,1,23,0,6,0,2,0.22,0.2727,0.8,0.1,8,32,40
"""


def test_the_time_is_the_beginning_of_the_hour(tmp_path):
    (tmp_path / FILE).write_text(LINES.replace("\n", "\r\n"))
    table = DATASET.read({FILE: tmp_path / FILE})
    assert table.column_names == [column.name for column in DATASET.columns]
    day = dt.datetime(2011, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)
    assert table["time"].to_pylist() == [day, day + dt.timedelta(hours=23)]
    assert table["hr"].to_pylist() == ["0", "23"]


def test_what_sums_up_to_the_label_is_no_feature():
    features = {column.name for column in DATASET.columns if column.role == "feature"}
    assert not features & {"casual", "registered", "cnt", "instant", "time"}
    assert {"hr", "weekday", "workingday", "temp"} <= features
