"""ARG_MAX, on the host."""

import numpy as np

from ...frontend import OperatorKind

__all__ = ["OPERATOR"]


def golden(op, x, axis):
    """Position of the first largest along `axis`."""
    return (np.argmax(x, axis=int(axis.reshape(-1)[0])).astype(op.attributes["output_type"]),)


OPERATOR = OperatorKind(kind="ARG_MAX", golden=golden, lower=None, supports="any axis; on the host", source="reference/arg_min_max.h")
