from tasks.datasets import DATASETS

DATASET = DATASETS["rt_sentences"]


def test_a_sentence_is_a_row_and_is_what_is_to_go_on(tmp_path):
    files = {file.name: tmp_path / file.name for file in DATASET.files}
    for number, path in enumerate(files.values()):
        path.write_text(f"film {number} is dull\nfilm {number} sings\n")
    table = DATASET.read(files)
    assert table.column("text").to_pylist() == [
        "film 0 is dull", "film 0 sings", "film 1 is dull", "film 1 sings",
    ]  # fmt: skip
    assert DATASET.label.name == "text"


def test_the_real_files_hold_what_was_published(real_data):
    folder = real_data("rt-polarity")
    table = DATASET.read({file.name: folder / f"{file.name}.gz" for file in DATASET.files})
    assert table.num_rows == 10_662
