"""The official Python client, sending what a small agent sends. Prints the id of its session."""

import sys

from honeyhive import HoneyHiveTracer, enrich_span, trace

tracer = HoneyHiveTracer.init(
    api_key="hh_peer",
    server_url=sys.argv[1],
    project="peers",
    source="ci",
    session_name="python-agent",
)


@trace(event_type="tool", tracer=tracer)
def look_up(query):
    return {"documents": [query, "flush"], "count": 2}


@trace(event_type="model", tracer=tracer)
def ask(question):
    enrich_span(
        metadata={"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
        config={"model": "gpt-4o"},
        metrics={"score": 0.5},
    )
    return f"an answer to {question}"


@trace(event_type="chain", tracer=tracer)
def agent(question):
    look_up(question)
    return ask(question)


@trace(event_type="tool", tracer=tracer)
def fails():
    raise ValueError("as told")


agent("why <b>?")
try:
    fails()
except ValueError:
    pass
tracer.enrich_session(metadata={"reviewed": True}, feedback={"rating": 5})
tracer.force_flush()
print("session", tracer.session_id)
