from tasks.prover_process import explain


def test_no_row_is_quoted_in_an_explanation():
    error = ValueError("Failed to enforce schema of data 'secret' with schema '[]'. Error: No x.")
    assert explain(error) == "ValueError: No x"
