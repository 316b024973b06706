"""Spans of time as a trace file for Perfetto (ui.perfetto.dev) or chrome://tracing."""

import json

from rowcast.emit import write_atomic

__all__ = ["write_trace"]


def write_trace(path, spans, *, process="rowcast"):
    """Write spans in the Trace Event Format; a cycle is a microsecond there.

    Parameters
    ----------
    spans : (track, name, start, end) in cycles; tracks are shown in the order in which they first come.
    process : the name above the tracks.
    """
    tracks = {}
    lines = [_metadata("process_name", 0, name=process)]
    for track, name, start, end in spans:
        if track not in tracks:
            tracks[track] = number = len(tracks) + 1
            lines += [_metadata("thread_name", number, name=track), _metadata("thread_sort_index", number, sort_index=number)]
        event = {"name": name, "ph": "X", "ts": int(start), "dur": int(end - start), "pid": 1, "tid": tracks[track]}
        lines.append(json.dumps(event))
    write_atomic(path, '{"traceEvents": [\n' + ",\n".join(lines) + "\n]}\n")


def _metadata(what, thread, **values):
    return json.dumps({"name": what, "ph": "M", "pid": 1, "tid": thread, "args": values})
