"""`evaluate()` of the official Python client, with an external and with a managed dataset, and `compare_runs()`.

The first argument is the server, the second the dataset's kind. Raises where an aggregate is not what the scores come
to; the client prints its own summary."""

import sys
import warnings

warnings.simplefilter("ignore")

from honeyhive import HoneyHive, trace
from honeyhive._generated import models as m
from honeyhive.experiments import compare_runs, evaluate

url, kind = sys.argv[1:3]
client = HoneyHive(api_key="hh_peer", base_url=url)

ANSWERS = {"one": 1, "two": 2, "three": 3, "four": 4}
rows = [{"inputs": {"word": word}, "ground_truth": {"number": number}} for word, number in ANSWERS.items()]

if kind == "managed":
    dataset = client.datasets.create(m.CreateDatasetRequest(name="words")).result.insertedId
    client.datasets.add_datapoints(
        dataset,
        m.AddDatapointsToDatasetRequest(
            data=[{**row["inputs"], **row["ground_truth"]} for row in rows],
            mapping=m.DatapointMapping(inputs=["word"], ground_truth=["number"]),
        ),
    )
    of = {"dataset_id": dataset}
else:
    of = {"dataset": rows}


@trace(event_type="model")
def model(word, knows):
    return knows.get(word, 0)


def program(knows):
    def answer(datapoint):
        return {"number": model(datapoint["inputs"]["word"], knows)}

    return answer


def exact(outputs, inputs, ground_truth):
    return float(outputs["number"] == ground_truth["number"])


def near(outputs, inputs, ground_truth):
    return {"score": 10 - abs(outputs["number"] - ground_truth["number"]), "explanation": "by how much"}


def positive(outputs, inputs, ground_truth):
    return outputs["number"] > 0


def run(name, knows):
    return evaluate(
        program(knows), **of, evaluators=[exact, near, positive], api_key="hh_peer", server_url=url, name=name,
        max_workers=3,
    )


old = run("old", {"one": 1, "two": 2, "three": 1})
new = run("new", {"one": 1, "two": 1, "three": 3, "four": 4})

for result, exacts, nears, failed in [(old, [1, 1, 0, 0], [10, 10, 8, 6], 1), (new, [1, 0, 1, 1], [10, 9, 10, 10], 0)]:
    assert result.status == "completed" and result.success == (not failed), result
    assert len(result.failed) == failed and len(result.passed) == 4 - failed, result
    assert len(result.datapoints) == 4
    metric = result.metrics.get_metric("exact")
    assert abs(metric.aggregate - sum(exacts) / 4) < 1e-9 and sorted(metric.values) == sorted(exacts), metric
    assert metric.metric_type == "CLIENT_SIDE" and metric.event_type == "chain", metric
    near_metric = result.metrics.get_metric("near")
    assert abs(near_metric.aggregate - sum(nears) / 4) < 1e-9, near_metric
    assert result.metrics.list_metrics() == ["exact", "near", "positive"], result.metrics.list_metrics()

compared = compare_runs(client, new.run_id, old.run_id)
assert compared.common_datapoints == 4
exact_delta = compared.get_metric_delta("exact")
counts = tuple(exact_delta[f"{what}_count"] for what in ("found", "improved", "degraded", "same"))
assert counts == (4, 2, 1, 1), counts
assert abs(exact_delta["old_aggregate"] - 0.5) < 1e-9 and abs(exact_delta["new_aggregate"] - 0.75) < 1e-9
counts = tuple(compared.get_metric_delta("positive")[f"{what}_count"] for what in ("improved", "degraded", "same"))
assert counts == (1, 0, 3), counts
assert set(compared.list_improved_metrics()) == {"exact", "near", "positive"}
assert set(compared.list_degraded_metrics()) == {"exact", "near"}

maximum = client.experiments.get_result(new.run_id, aggregate_function="min")
assert {d["metric_name"]: d["aggregate"] for d in maximum["metrics"]["details"]}["near"] == 9
pairs = client.experiments.compare_run_events(new.run_id, old.run_id, event_type="model")
assert pairs.totalEvents == 4, pairs.totalEvents
listed = client.experiments.list_runs(dataset_id=client.experiments.get_run(new.run_id).evaluation.dataset_id
                                      or client.experiments.get_run(new.run_id).evaluation.metadata["offline_dataset_id"])
assert [one.name for one in listed.evaluations] == ["new", "old"]
run_object = client.experiments.get_run(old.run_id).evaluation
assert len(run_object.event_ids) == 4 and run_object.status == "completed"
print("compared", compared.common_datapoints)
