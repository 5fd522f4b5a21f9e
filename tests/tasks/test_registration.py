import json

from tasks import cards, tracking
from tasks.registration import register_model


def test_a_version_says_what_it_was_trained_on_and_how_it_did(context, prepare_table, release):
    made = release(prepare_table())
    version = tracking.client(context.mlflow_uri).get_model_version("trial", "1")
    assert made.registered.uri == "models:/trial/1"
    assert version.run_id == context.run_id
    assert version.tags["roundhouse.fingerprint"] == "a" * 64
    assert version.tags["roundhouse.source_digest"] == "s"
    assert json.loads(version.tags["roundhouse.split"]) == made.prepared.split
    assert json.loads(version.tags["roundhouse.metrics"]) == made.evaluation.metrics


def test_the_page_of_a_version_says_what_it_was_trained_on_and_by_which_run(
    context, prepare_table, release
):
    made = release(prepare_table())
    page = tracking.client(context.mlflow_uri).get_model_version("trial", "1").description
    assert "- Dataset: `customers`\n" in page
    plain = page.replace(cards.GAP, "")
    assert f"| Train | {made.prepared.train.count} | " in plain
    assert made.prepared.snapshot.file.sha256 in page
    assert f"/runs/{context.run_id}?" in page
    assert f"| accuracy | {made.evaluation.metrics['accuracy']:.4f} |" in plain
    assert "| Metric | This model | majority |" in plain
    assert page.startswith(cards.NOT_JUDGED)


def test_the_page_of_the_model_says_how_to_load_it(context, prepare_table, release):
    release(prepare_table())
    page = tracking.client(context.mlflow_uri).get_registered_model("trial").description
    assert "the dataset **customers**" in page
    assert 'mlflow.pyfunc.load_model("models:/trial@champion")' in page


def test_what_people_wrote_about_a_model_stays(context, prepare_table, release):
    prepared, client = prepare_table(), tracking.client(context.mlflow_uri)
    release(prepared)
    client.update_registered_model("trial", "Ask Ada before you use it.")
    release(prepared, skill=0.5)
    assert client.get_registered_model("trial").description == "Ask Ada before you use it."


def test_registering_the_same_package_twice_makes_one_version(context, prepare_table, release):
    made = release(prepare_table())
    again = register_model.fn(context, made.package, made.prepared, made.evaluation, made.standing)
    assert again == made.registered
    assert len(tracking.client(context.mlflow_uri).search_model_versions("name = 'trial'")) == 1


def test_another_network_of_the_same_fingerprint_is_another_version(
    context, prepare_table, release
):
    prepared = prepare_table()
    assert release(prepared).registered.version == 1
    assert release(prepared, skill=0.5).registered.version == 2


def test_the_run_and_the_model_point_at_each_other(context, prepare_table, release):
    release(prepare_table())
    client = tracking.client(context.mlflow_uri)
    model = client.search_logged_models([context.experiment_id])[0]
    assert model.source_run_id == context.run_id
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "trial", "version": 1}]
    assert {metric.key for metric in model.metrics} >= {"test/accuracy", "test/roc_auc"}
    outputs = client.get_run(context.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id]
