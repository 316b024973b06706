"""A timeline as a trace file that Chrome (chrome://tracing) and Perfetto (ui.perfetto.dev) show.

Format: "Trace Event Format", complete events (ph "X") of one process, a thread for each track.  A cycle is shown as a
microsecond.
"""

import json
from dataclasses import dataclass

from rowcast.emit import write_atomic

__all__ = ["TraceSpan", "prediction_spans", "trace_events", "write_trace"]

# What a unit's work of that kind is coloured with (names of Chrome's palette).
_VECTOR_COLOUR = "thread_state_iowait"


@dataclass(frozen=True)
class TraceSpan:
    """Something that lasts.

    Parameters
    ----------
    track : the line on which it is shown.
    name : as shown.
    start, end : first cycle, and first one after.
    details : shown when it is chosen, a dict.
    colour : of Chrome's palette; "" for its own choice.
    """

    track: str
    name: str
    start: int
    end: int
    details: dict | None = None
    colour: str = ""


def trace_events(spans, *, process="rowcast", tracks=()):
    """The trace of these spans as a dict; tracks that are named in `tracks` come first, in this order.

    A span is a TraceSpan, or a tuple of its first members (track, name, start, end).  A track whose spans overlap takes as many lines as it needs.
    """
    spans = [span if isinstance(span, TraceSpan) else TraceSpan(*span) for span in spans]
    order = dict.fromkeys([*tracks, *(span.track for span in spans)])
    spans = sorted(spans, key=lambda span: (span.start, -span.end))
    lines = {track: [] for track in order}  # the end of the last span of each line
    placed = []
    for span in spans:
        ends = lines[span.track]
        line = next((at for at, end in enumerate(ends) if end <= span.start), len(ends))
        ends[line:line + 1] = [span.end]
        placed.append((span, line))
    number, events = {}, [{"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": process}}]
    for track, ends in lines.items():
        for line in range(len(ends)):
            number[track, line] = at = len(number) + 1
            name = f"{track} ({line + 1})" if line else track
            events.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": at, "args": {"name": name}})
            events.append({"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": at, "args": {"sort_index": at}})
    events += [_event(span, number[span.track, line]) for span, line in placed]
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"unit": "1 us is a cycle"}}


def _event(span, thread):
    event = {
        "ph": "X", "name": span.name, "pid": 1, "tid": thread, "ts": span.start, "dur": max(span.end - span.start, 0),
        "args": span.details or {},
    }  # fmt: skip
    return event | ({"cname": span.colour} if span.colour else {})


def write_trace(path, spans, **options):
    """Write the trace of these spans; options are those of `trace_events`."""
    write_atomic(path, json.dumps(trace_events(spans, **options), separators=(",", ":")) + "\n")


def prediction_spans(prediction, layers=()):
    """The spans of a `rowcast_models.cycles.Prediction` with a timeline, and of its layers.

    Parameters
    ----------
    layers : names of the layers, by number.
    """
    names = {number: name for number, name in enumerate(layers)}
    spans, start = [], 0
    for layer in prediction.layers:
        name = names.get(layer.layer, f"layer {layer.layer}")
        spans.append(TraceSpan("layers", name, start, start + layer.cycles, layer.causes))
        start += layer.cycles
    for span in prediction.timeline:
        layer = names.get(span.layer, f"layer {span.layer}")
        name = f"{span.name} (vector)" if span.vector else span.name
        details = {"instruction": span.index, "layer": layer}
        colour = _VECTOR_COLOUR if span.vector else ""
        spans.append(TraceSpan(span.unit.name, name, span.start, span.end, details, colour))
    return spans
