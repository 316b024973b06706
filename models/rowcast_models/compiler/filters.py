"""The filters and parameters of a convolution's passes: in memory, on chip, on the network."""

import numpy as np

from rowcast.isa import Space

from .geometry import ceil_div

__all__ = ["ConvFilters", "Shared"]


class Shared:
    """What lowerings of parts of a layer have in common: where its filters are in memory, and whose turn among the slots it is."""

    def __init__(self):
        self.streams, self.passes = {}, 0


class ConvFilters:
    """Part of `ConvLowering`: what sends its filters and finds its parameters."""

    def tag_counts(self, m0):
        """Row and column tags that a round needs: fewer in a last, partial round of a plain mapping."""
        m = self.map
        rows, columns = m.filter_rows, m.filter_columns
        rest = self.shape.out_words - m0
        if rest < m.filters and "g" not in (m.row_kind, m.column_kind):
            rows = min(rows, ceil_div(rest, m.column_filters))
            columns = min(columns, rest)
        return rows, columns

    def filters(self, u0, m0, numbers, ahead):
        """FILTER_RUN of these chunks; LOAD before it unless the filters are still on chip.

        Those that are there one behind the other, and as long as each other, take one FILTER_RUN.
        """
        rows, columns = self.tag_counts(m0)
        noc, numbers = self.config.noc_words, list(numbers)
        tasks = list(ahead) if 0 in numbers else []
        run = None  # (address, flits, chunks) of those that are there already

        def send(run):
            if run is None:
                return
            address, flits, chunks = run
            end = address + chunks * flits * noc * rows * columns
            self.b.emit(
                "FILTER_RUN", reads=[("filter", address, end)], buffer=address, flits=flits, groups_row=rows,
                groups_column=columns, chunks=chunks,
            )  # fmt: skip
            while tasks:  # behind the filters of the first chunk
                tasks.pop(0)()

        for number in numbers:
            flits = ceil_div(self.map.chunks[number].macs(self.shape), noc)
            words = flits * noc * rows * columns
            key = self.filter_key(u0, m0, number)
            address = self.b.filter_ring.find(key)
            if address is not None:
                if run and run[1] == flits and run[0] + run[2] * words == address:
                    run = run[0], flits, run[2] + 1
                    continue
                send(run)
                run = address, flits, 1
                continue
            send(run)
            run = None
            if not self.job.tiling.whole and self.job.tiling.kept == len(self.map.chunks):
                self.b.filter_ring.oldest(words, self.kept)  # rounds go forwards and backwards: it is needed again last
            address = self.b.filter_ring.take(key, words, self.kept)
            self.b.load(Space.FILTER, self.filter_constant(u0, m0, number), address, words)
            send((address, flits, 1))
        send(run)

    def filter_key(self, u0, m0, number):
        """What stands for the filters of a chunk."""
        return self.common, self.tags, u0, m0, number

    def keep(self, u0, m0):
        """From now on the filters of this round that are to stay do so."""
        tiling = self.job.tiling
        kept = {self.filter_key(u0, m0, number) for number in range(tiling.kept)}
        if not tiling.whole and kept != self.kept:
            self.kept = kept
            if tiling.kept < len(self.map.chunks):
                self.b.filter_ring.next = 0  # those that stay have one end of the memory, the others take turns in the rest

    def filter_constant(self, u0, m0, number):
        """Word address in memory of one chunk's filters, in the order in which FILTER sends them."""
        key = self.filter_key(u0, m0, number)
        if key not in self.common.streams:
            chunk, m = self.map.chunks[number], self.map
            lanes = self.config.lanes
            rows, columns = self.tag_counts(m0)
            k = chunk.macs(self.shape)
            padded = ceil_div(k, self.config.noc_words) * self.config.noc_words
            stream = np.zeros((rows, columns, padded, lanes), np.int8)
            for i in range(rows):
                for j in range(columns):
                    unit = u0 + self.unit_of(i // m.row_filters, j // m.column_filters)
                    group = m0 + (i % m.row_filters) * m.column_filters + j % m.column_filters
                    if group < self.shape.out_words:
                        part = self.job.weights[
                            chunk.part, unit, group * lanes : (group + 1) * lanes, chunk.r0 : chunk.r0 + chunk.r, :,
                            chunk.c0 * lanes : chunk.c0 * lanes + chunk.channels,
                        ]  # fmt: skip
                        stream[i, j, :k] = part.transpose(1, 2, 3, 0).reshape(k, lanes)
            self.common.streams[key] = self.b.constant(stream.tobytes())
        return self.common.streams[key]

    def unit_of(self, row_group, column_group):
        """Unit of a PE within its round."""
        m = self.map
        row = row_group if m.row_kind == "g" else 0
        column = column_group if m.column_kind == "g" else 0
        return row * (m.column_groups if m.column_kind == "g" else 1) + column

    def parameters(self, u0, m0):
        """The round's parameters: unit by unit, `filters` slots each."""
        lanes, m = self.config.lanes, self.map
        items = np.zeros((m.units, m.filters * lanes, 4), np.uint32)
        part = self.job.params[u0 : u0 + m.units, m0 * lanes : (m0 + m.filters) * lanes]
        items[:, : part.shape[1]] = part
        return items.reshape(-1, 4)
