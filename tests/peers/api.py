"""Every method of the official Python client's API that the local server answers, there and back.

Raises where something is not as it should be; prints the names of what was asked."""

import sys
import uuid
import warnings

warnings.simplefilter("ignore")

from honeyhive import HoneyHive
from honeyhive._generated import models as m
from honeyhive._generated.api_config import HTTPException
from honeyhive._generated.services import (
    Data_Plane_Api_Keys_service as data_plane_keys,
    Datapoints_service as datapoints,
    Datasets_service as datasets,
    Events_service as events,
    Experiments_service as experiments,
    Ingestion_Api_Keys_service as ingestion_keys,
    Metrics_service as metrics,
    Queues_service as queues,
    Sessions_service as sessions,
)
from honeyhive.models import EventFilter

url = sys.argv[1]
client = HoneyHive(
    api_key="hh_peer",
    data_plane_api_key="hh_fgdp_" + "a" * 24 + "_" + "b" * 64,
    base_url=url,
)
config = client.api_config


def refused(status, call, *args, named=None, **kwargs):
    """The call must fail with this status, and say what is wrong."""
    try:
        call(*args, **kwargs)
    except HTTPException as error:
        assert error.status_code == status, error
        assert error.server_message and error.error_code, error
        assert named is None or named in error.server_message, error
        return
    raise AssertionError(f"{call} was not refused")


def session_and_events():
    started = client.sessions.start({"session_name": "api", "source": "peer"})
    session = started.session_id
    assert (started.event_type, started.event_name) == ("session", "api")

    created = client.events.create(
        m.LegacyPostEventRequest(
            event={
                "event_type": "model",
                "event_name": "ask",
                "session_id": session,
                "inputs": {"question": "why?"},
                "outputs": {"answer": "because"},
                "metadata": {"n": 5, "text": "alpha beta", "flag": True, "when": "2026-02-01T00:00:00Z"},
                "start_time": 1_770_000_000_000.0,
                "duration": 250.0,
                "metrics": {"score": 0.5},
            }
        )
    )
    assert created.success
    batch = client.events.create_batch(
        m.LegacyPostEventBatchRequest(
            events=[
                {"event_type": "tool", "event_name": f"tool-{n}", "session_id": session, "inputs": {"n": n},
                 "start_time": 1_770_000_001_000.0 + n}
                for n in range(3)
            ]
        )
    )
    assert len(batch.event_ids) == 3 and batch.success
    client.events.update(
        m.LegacyUpdateEventRequest(
            event_id=created.event_id, metadata={"late": "yes"}, feedback={"rating": 4}, outputs={"answer": "new"}
        )
    )
    one = events.getEvent(config, event_id=created.event_id).event
    assert one.metadata["n"] == 5 and one.metadata["late"] == "yes"
    assert one.outputs == {"answer": "new"} and one.session_id == session and one.parent_id == session
    whole = client.events.export(
        filters=[EventFilter(field="session_id", operator="is", value=session, type="string")]
    )
    assert whole.total_events == 5, whole.total_events
    names = [event.event_name for event in client.events.get_by_session_id(session).events]
    assert [name for name in names if name != "api"] == ["ask", "tool-0", "tool-1", "tool-2"], names
    return session, created.event_id


def export(session):
    """Each operator, with each type that it makes sense with."""

    def found(field, operator, value, kind="string"):
        filters = [
            {"field": "session_id", "operator": "is", "value": session, "type": "string"},
            {"field": field, "operator": operator, "value": value, "type": kind},
        ]
        exported = client.events.export(filters=filters)
        assert exported.total_events == len(exported.events)
        return sorted(event.event_name for event in exported.events)

    tools = ["tool-0", "tool-1", "tool-2"]
    everything = ["api", "ask", *tools]
    for field, operator, value, kind, names in [
        ("metadata.n", "exists", None, "number", ["ask"]),
        ("metadata.n", "not exists", None, "number", ["api", *tools]),
        ("event_type", "is", "tool", "string", tools),
        ("event_type", "is not", "tool", "string", ["api", "ask"]),
        ("event_name", "contains", "ool-", "string", tools),
        ("event_name", "not contains", "ool-", "string", ["api", "ask"]),
        ("metadata.text", "contains", "pha b", "string", ["ask"]),
        ("inputs.n", "greater than", "0", "number", ["tool-1", "tool-2"]),
        ("inputs.n", "less than", "1", "number", ["tool-0"]),
        ("inputs.n", "is", "2", "number", ["tool-2"]),
        ("metadata.flag", "is", "true", "boolean", ["ask"]),
        ("metadata.when", "after", "2026-01-01T00:00:00Z", "datetime", ["ask"]),
        ("metadata.when", "before", "2026-01-01T00:00:00Z", "datetime", []),
        ("start_time", "after", "2020-01-01T00:00:00Z", "datetime", everything),
        ("duration", "greater than", "100", "number", ["ask"]),
        ("event_name", "is", "'; DROP TABLE events; --", "string", []),
    ]:
        answer = found(field, operator, value, kind)
        if (field, operator) in [("start_time", "after"), ("duration", "greater than")]:
            answer = [name for name in answer if name != "api"]
            names = [name for name in names if name != "api"]
        assert answer == names, (field, operator, value, kind, answer)
    page = client.events.export(
        filters=[EventFilter(field="event_type", operator="is", value="tool", type="string"),
                 EventFilter(field="session_id", operator="is", value=session, type="string")],
        limit=2, page=2,
    )
    assert [event.event_name for event in page.events] == ["tool-0"] and page.total_events == 3
    dated = client.events.export(
        filters=[EventFilter(field="session_id", operator="is", value=session, type="string")],
        date_range={"$gte": "2026-02-02T02:40:01.001Z", "$lte": "2026-02-02T02:40:01.001Z"},
        projections=["event_name", "inputs.n"],
    )
    dated = [event.model_dump(exclude_none=True) for event in dated.events]
    assert dated == [{"event_name": "tool-1", "inputs": {"n": 1}}], dated
    listed = client.events.list({"filters": [{"field": "session_id", "operator": "is", "value": session, "type": "string"}],
                                 "limit": 2})
    assert len(listed.events) == 2
    searched = events.searchEvents(
        config,
        data=m.SearchEventsRequest(
            filters=[{"field": "session_id", "operator": "is", "value": session}], limit=10, page=1
        ),
    )
    assert searched.count == 5
    assert {event.event_type for event in searched.events} == {"session", "model", "tool"}


def other_event_routes():
    session = sessions.createSession(config, data=m.StartSessionRequest(session_name="bare")).session_id
    assert sessions.createSessionEventBatch(
        config, session_id=session,
        data=m.SessionEventBatchRequest(events=[{"event_type": "chain", "inputs": {}, "event_name": "in batch"}]),
    ).success
    assert sessions.addSessionTracesLegacy(
        config, session_id=session, data=m.AddSessionTracesRequest(logs=[{"event_name": "log", "inputs": {}}])
    ).success
    one = events.createEvent(config, data=m.PostEventRequest(event_type="tool", inputs={"a": 1}, session_id=session))
    events.updateEvent(config, event_id=one.event_id, data=m.UpdateEventRequest(metrics={"x": 1}))
    assert events.getEvent(config, event_id=one.event_id).event.metrics == {"x": 1}
    both = events.createEventBatch(
        config,
        data=m.PostEventBatchRequest(
            events=[{"event_type": "tool", "inputs": {}}, {"event_type": "model", "inputs": {}}],
            single_session=True, session_properties={"session_name": "single", "metadata": {"k": 1}},
        ),
    )
    of = {events.getEvent(config, event_id=id).event.session_id for id in both.event_ids}
    assert of == {both.session_id}
    model = events.createModelEventLegacy(
        config, data=m.PostModelEventRequest(model_event={"model": "gpt-x", "messages": [{"role": "user"}], "response": "hi"})
    )
    model = events.getEvent(config, event_id=model.event_id).event
    assert model.event_type == "model" and model.inputs["messages"] and model.outputs["response"] == "hi"
    many = events.createModelEventBatchLegacy(
        config, data=m.PostModelEventBatchRequest(model_events=[{"model_name": "a"}, {"event_name": "b"}])
    )
    assert len(many.event_ids) == 2
    assert events.getEventsSchemaLegacy(config).fields
    refused(404, events.getEvent, config, event_id=str(uuid.uuid4()))


def datasets_and_datapoints(event_id):
    dataset = client.datasets.create(m.CreateDatasetRequest(name="set", description="d")).result.insertedId
    made = client.datapoints.create(
        m.CreateDatapointRequest(inputs={"q": 1}, ground_truth={"a": 2}, history=[{"role": "user", "content": "x"}],
                                 metadata={"m": 1}, linked_event=event_id, linked_datasets=[dataset])
    ).result.insertedIds[0]
    point = client.datapoints.get(made).datapoint[0]
    assert point.inputs == {"q": 1} and point.linked_datasets == [dataset] and point.linked_event == event_id
    updated = client.datapoints.update(made, m.UpdateDatapointRequest(ground_truth={"a": 3}))
    assert updated.updated and updated.result.modifiedCount == 1
    assert client.datapoints.get(made).datapoint[0].ground_truth == {"a": 3}
    added = client.datasets.add_datapoints(
        dataset,
        m.AddDatapointsToDatasetRequest(
            data=[{"q": "x", "a": "y", "rest": 1}], mapping=m.DatapointMapping(inputs=["q"], ground_truth=["a"], history=[])
        ),
    ).datapoint_ids
    assert client.datapoints.get(added[0]).datapoint[0].metadata == {"rest": 1}
    assert client.datasets.list(name="set").datasets[0].id == client.datasets.get_dataset(dataset).datasets[0].id
    listed = client.datasets.list(dataset_id=dataset).datasets[0]
    assert listed.name == "set" and listed.datapoints == [made, *added]
    assert {point.id for point in client.datapoints.list(dataset_name="set").datapoints} == {made, *added}
    assert len(client.datapoints.list(datapoint_ids=[made, *added]).datapoints) == 2
    assert client.datapoints.list(datapoint_ids=[made] + [str(uuid.uuid4()) for _ in range(150)]).datapoints[0].id == made
    assert client.datasets.remove_datapoint(dataset, added[0]).dereferenced
    assert datasets.removeDatapoint(config, dataset_id=dataset, datapoint_id=made).dereferenced
    renamed = client.datasets.update(m.UpdateDatasetRequest(dataset_id=dataset, name="new", datapoints=added)).result
    assert renamed.name == "new" and renamed.datapoints == added
    datasets.updateDataset(config, dataset_id=dataset, data=m.UpdateDatasetRequest(description="e"))
    of_events = datapoints.batchCreateDatapoints(
        config,
        data=m.BatchCreateDatapointsRequest(
            events=[event_id], dataset_id=dataset,
            mapping=m.DatapointMapping(inputs=["inputs.question"], ground_truth=["outputs.answer"]),
        ),
    ).insertedIds
    point = client.datapoints.get(of_events[0]).datapoint[0]
    assert point.inputs == {"question": "why?"} and point.ground_truth == {"answer": "new"}
    assert client.datapoints.delete(made).deleted
    refused(404, client.datapoints.get, made)
    assert client.datasets.delete(dataset).result.id == dataset
    assert client.datasets.list(dataset_id=dataset).datasets == []
    refused(404, client.datapoints.get, of_events[0])
    refused(404, client.datasets.delete, dataset)


def metrics_and_versions():
    made = client.metrics.create(
        m.CreateMetricRequest(name="quality", type="LLM", criteria="is it good?", model_provider="p", model_name="n",
                              threshold={"min": 0.5})
    ).metric_id
    metric = client.metrics.get_metric(made)[0]
    assert [one.id for one in client.metrics.list(type="LLM")] == [made] and not client.metrics.list(type="HUMAN")
    assert metric.name == "quality" and metric.threshold == {"min": 0.5} and metric.filters.filterArray == []
    assert client.metrics.update(m.UpdateMetricRequest(id=made, description="better")).updated
    metrics.updateMetric(config, metric_id=made, data=m.UpdateMetricRequest(enabled_in_prod=True))
    content = m.MetricVersionContentRequest(name="quality", type="LLM", criteria="v", model_provider="p", model_name="n")
    draft = client.metric_versions.create(made, m.CreateMetricVersionRequest(message="draft", content=content)).data
    assert not draft.deployed
    deployed = client.metric_versions.deploy(made, draft.name).data
    assert deployed.deployed and deployed.name == draft.name
    versions = client.metric_versions.list(made).data
    assert [v.name for v in versions if v.deployed] == [draft.name] and len(versions) == 4
    refused(501, metrics.runMetric, config, named="Python", data=m.RunMetricRequest(
        metric={"name": "p", "type": "PYTHON", "criteria": "def f(): pass"}, event={"inputs": {}}))
    ran = metrics.runMetricLegacy(config, data=m.LegacyRunMetricRequest(
        metric={"name": "c", "type": "COMPOSITE", "criteria": "c",
                "child_metrics": [{"name": "a", "weight": 1.0}, {"name": "b", "weight": 3.0}]},
        event={"metrics": {"a": 1.0, "b": 0.0}}))
    assert ran.result == 0.25 and ran.success
    assert client.metrics.delete(made).deleted
    refused(404, client.metric_versions.list, made)


def configurations():
    parameters = {"call_type": "chat", "model": "gpt-4o", "template": [{"role": "user", "content": "{{q}}"}]}
    made = client.configurations.create(
        m.CreateConfigurationRequest(name="prompt", provider="openai", parameters=parameters, env=["dev"], tags=["t"])
    ).insertedId
    one = [c for c in client.configurations.list() if c.id == made][0]
    assert one.parameters.model == "gpt-4o" and one.env == ["dev"] and one.type == "LLM"
    changed = client.configurations.update(made, m.UpdateConfigurationRequest(name="prompt-2"))
    assert changed.modifiedCount == 1
    assert [c.name for c in client.configurations.list() if c.id == made] == ["prompt-2"]
    assert client.configurations.delete(made).deletedCount == 1
    assert not [c for c in client.configurations.list() if c.id == made]


def charts():
    for project in [None, "p-1"]:
        where = {"project_id": project} if project else {}
        made = client.charts.create(m.CreateChartRequest(name="c", metric="duration"), **where).data
        assert client.charts.get(made.id, **where).data.name == "c"
        assert client.charts.update(made.id, m.UpdateChartRequest(name="d"), **where).data.name == "d"
        assert [chart.id for chart in client.charts.list(**where).data] == [made.id]
        assert client.charts.delete(made.id, **where).success
        refused(404, client.charts.get, made.id, **where)


def queues_and_keys():
    made = queues.createQueue(config, data=m.CreateAnnotationQueueRequest(name="q", event_ids=["e1"])).queue
    assert queues.getQueue(config, queue_id=made.id).name == "q"
    changed = queues.updateQueue(
        config, queue_id=made.id, data=m.UpdateAnnotationQueueRequest(id=made.id, enabled=False, add_event_ids=["e2"])
    ).queue
    assert changed.enabled is False and changed.event_ids == ["e1", "e2"]
    assert [queue.id for queue in queues.getQueues(config, enabled=False).queues] == [made.id]
    assert queues.deleteQueue(config, queue_id=made.id).message
    refused(404, queues.getQueue, config, queue_id=made.id)
    key = ingestion_keys.createIngestionApiKey(config, project_id="p", data=m.CreateIngestionApiKeyRequest(name="k")).data
    HoneyHive(api_key="x", ingestion_api_key=key.key_value, base_url=url)
    key = data_plane_keys.createDataPlaneApiKey(
        config, project_id="p",
        data=m.CreateDataPlaneApiKeyRequest(name="k", permissions=["read"], expires_at="2030-01-01T00:00:00Z"),
    ).data
    HoneyHive(api_key="x", data_plane_api_key=key.key_value, base_url=url)


def runs(session):
    made = client.experiments.create_run(
        m.PostExperimentRunRequest(name="run", metadata={"a": 1}, event_ids=[session], configuration={"c": 1})
    )
    run = made.run_id
    assert made.evaluation.status == "pending"
    updated = client.experiments.update_run(run, m.PutExperimentRunRequest(status="completed", metadata={"b": 2}))
    assert updated.evaluation.metadata == {"a": 1, "b": 2} and updated.evaluation.event_ids == [session]
    assert client.experiments.get_run(run).evaluation.name == "run"
    listed = client.experiments.list_runs(name="run", status="completed", limit=5, page=1)
    assert [one.run_id for one in listed.evaluations] == [run]
    assert listed.pagination.total == 1 and listed.metrics == ["score"]
    assert client.experiments.list_runs(run_ids=[run] + [str(uuid.uuid4()) for _ in range(120)]).evaluations[0].run_id == run
    result = client.experiments.get_result(run, aggregate_function="sum")
    assert result["metrics"]["details"][0]["aggregate"] == 0.5
    assert experiments.getExperimentSummary(config, run_id=run, aggregate_function="p95").passed == [session]
    assert experiments.getExperimentRunMetrics(config, run_id=run).totalEvents == 1
    assert client.experiments.compare_runs(run, run)["event_details"][0]["presence"] == "both"
    assert experiments.getExperimentComparison(config, new_run_id=run, old_run_id=run).metrics
    assert client.experiments.compare_run_events(run, run).totalEvents == 0
    assert experiments.getExperimentCompareEvents(config, new_run_id=run, old_run_id=run, event_type="model").totalEvents == 0
    assert client.experiments.get_schema(evaluation_id=run).mappings["ask"]
    assert experiments.getRunSchema(config, run_id=run).fields
    assert experiments.getRunsSchema(config).fields
    refused(400, client.experiments.create_run, m.PostExperimentRunRequest(name=" "), named="name")
    refused(400, client.experiments.get_result, run, aggregate_function="mode", named="aggregate_function")
    assert client.experiments.delete_run(run).deleted
    refused(404, client.experiments.get_run, run)


session, event = session_and_events()
export(session)
other_event_routes()
datasets_and_datapoints(event)
metrics_and_versions()
configurations()
charts()
queues_and_keys()
runs(session)
print("all of it")
