from tasks.datasets.telco_churn import DATASET, FILE


def test_a_single_blank_in_the_total_becomes_a_null(telco_csv):
    table = DATASET.read({FILE: telco_csv})
    assert table["TotalCharges"].null_count == 3
    assert table["TotalCharges"][1].as_py() == 20.5


def test_every_column_has_its_type(telco_csv):
    schema = DATASET.read({FILE: telco_csv}).schema
    types = {
        name: str(schema.field(name).type) for name in ("customerID", "SeniorCitizen", "tenure")
    }
    assert types == {"customerID": "string", "SeniorCitizen": "string", "tenure": "int64"}
    assert str(schema.field("MonthlyCharges").type) == "double"
