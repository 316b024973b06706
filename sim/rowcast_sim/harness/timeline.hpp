// What each unit did in each cycle of a run, as spans: a span a change, within a window of cycles.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

class Timeline {
  public:
    // Tracks: the units in the order of the register UNITS, the vector run, the cause.
    static constexpr unsigned kUnits = 6, kVector = kUnits, kCause = kUnits + 1, kTracks = kUnits + 2;
    enum State : uint32_t { kIdle, kBusy, kWaiting };  // of a unit; of the cause, its index + 1
    struct Span {
        uint32_t track, state;
        uint64_t start, end;
    };

    // Cycles from `first` to before `last` are kept, until there are `most` spans; no cycle if `most` is 0.
    void watch(uint64_t first, uint64_t last, uint64_t most) {
        first_ = first;
        last_ = last;
        most_ = most;
        clear();
    }
    void clear() {
        spans_.clear();
        states_.fill(kIdle);
        starts_.fill(0);
        end_ = first_;
    }
    bool watches(uint64_t cycle) const { return cycle >= first_ && cycle < last_ && spans_.size() < most_; }

    // A cycle of a run: the trace port `cause`; bits of busy units, from bit 8 waiting ones, bit 13 for a vector run.
    void add(uint64_t cycle, unsigned cause, unsigned units) {
        for (unsigned unit = 0; unit < kUnits; ++unit) {
            const bool busy = units >> unit & 1, waits = unit + 1 < kUnits && units >> (8 + unit) & 1;
            put(cycle, unit, busy ? kBusy : waits ? kWaiting : kIdle);
        }
        put(cycle, kVector, units >> 13 & 1);
        put(cycle, kCause, cause + 1);
        end_ = cycle + 1;
    }

    // Spans that are still open end with the last cycle that was added.
    std::vector<Span> spans() const {
        std::vector<Span> all = spans_;
        for (unsigned track = 0; track < kTracks; ++track)
            if (states_[track] != kIdle) all.push_back({track, states_[track], starts_[track], end_});
        return all;
    }
    uint64_t end() const { return end_; }

    template <class Way>
    void visit(Way& way) {
        way(first_);
        way(last_);
        way(most_);
        way(end_);
        way(states_);
        way(starts_);
        way(spans_);
    }

  private:
    void put(uint64_t cycle, unsigned track, uint32_t state) {
        if (states_[track] == state) return;
        if (states_[track] != kIdle) spans_.push_back({track, states_[track], starts_[track], cycle});
        states_[track] = state;
        starts_[track] = cycle;
    }

    uint64_t first_ = 0, last_ = 0, most_ = 0, end_ = 0;
    std::array<uint32_t, kTracks> states_{};
    std::array<uint64_t, kTracks> starts_{};
    std::vector<Span> spans_;
};
