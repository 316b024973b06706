// The design with its clock, its memory, a host on AXI4-Lite, and what is counted in every cycle.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "Vdut.h"
#include "memory.hpp"
#include "state.hpp"
#include "timeline.hpp"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

class Bench {
  public:
    static constexpr unsigned kCauses = 8;
    static constexpr unsigned kEvents = sizeof(Vdut::events) / sizeof(CData);
    struct Layer {
        uint64_t first;  // cycle of the run in which it began
        uint64_t causes[kCauses], read_beats, write_beats, events[kEvents];
    };

    Memory memory;
    Timeline timeline;
    uint64_t now = 0;  // cycles since the process began

    // The arguments are Verilator's own, and count from the moment in which the design is made.
    Bench(int argc, char** argv) : dut_(context(argc, argv)), layers_(1 << 16) {}
    ~Bench() {
        trace("");
        dut_.final();
    }

    void reset(unsigned cycles) {
        drive_lite_idle();
        for (unsigned i = 0; i < cycles + 2; ++i) {
            dut_.rst = i <= cycles;
            settle();
            if (i > 1) memory.sample_reset(dut_);  // the second edge has reset the design
            edge();
        }
    }

    // One clock cycle.
    void step() {
        settle();
        sample_and_edge();
    }

    // Cycles until the interrupt or the limit; true if it came.  Stops at a violation.
    bool wait(uint64_t limit) {
        while (limit-- && !memory.violated) {
            settle();
            if (dut_.irq) return true;
            sample_and_edge();
        }
        return false;
    }

    void step(uint64_t cycles) {
        while (cycles-- && !memory.violated) step();
    }

    // A register access; false if the answer is an error or does not come.
    bool write(unsigned address, uint32_t value) {
        dut_.s_axil_awaddr = address;
        dut_.s_axil_wdata = value;
        dut_.s_axil_wstrb = 15;
        // With stalls either channel may come first.
        unsigned aw_delay = delay(), w_delay = delay(), b_delay = delay();
        bool aw_done = false, w_done = false;
        for (unsigned i = 0; i < kPatience && !memory.violated; ++i) {
            dut_.s_axil_awvalid = !aw_done && i >= aw_delay;
            dut_.s_axil_wvalid = !w_done && i >= w_delay;
            dut_.s_axil_bready = i >= b_delay;
            settle();
            aw_done |= dut_.s_axil_awvalid && dut_.s_axil_awready;
            w_done |= dut_.s_axil_wvalid && dut_.s_axil_wready;
            const bool done = dut_.s_axil_bvalid && dut_.s_axil_bready;
            if (dut_.s_axil_bvalid && !(aw_done && w_done)) memory.violate("s_axil: write answered before it was taken");
            const unsigned answer = dut_.s_axil_bresp;
            sample_and_edge();
            if (done) return finish_lite(answer);
        }
        return finish_lite(3);
    }

    bool read(unsigned address, uint32_t& value) {
        dut_.s_axil_araddr = address;
        unsigned ar_delay = delay(), r_delay = delay();
        bool ar_done = false;
        for (unsigned i = 0; i < kPatience && !memory.violated; ++i) {
            dut_.s_axil_arvalid = !ar_done && i >= ar_delay;
            dut_.s_axil_rready = i >= r_delay;
            settle();
            ar_done |= dut_.s_axil_arvalid && dut_.s_axil_arready;
            const bool done = dut_.s_axil_rvalid && dut_.s_axil_rready;
            if (dut_.s_axil_rvalid && !ar_done) memory.violate("s_axil: read answered before it was taken");
            const unsigned answer = dut_.s_axil_rresp;
            value = dut_.s_axil_rdata;
            sample_and_edge();
            if (done) return finish_lite(answer);
        }
        return finish_lite(3);
    }

    // Statistics: (layer, cause) of every cycle of a run, and the beats on the memory bus.
    void clear() {
        for (unsigned i = 0; i < used_layers_; ++i) layers_[i] = {};
        used_layers_ = 0;
        run_cycle_ = 0;
        timeline.clear();
    }
    unsigned used_layers() const { return used_layers_; }
    const Layer& layer(unsigned i) const { return layers_[i]; }
    unsigned running_layer() const { return dut_.layer; }

    // The whole simulation to or from a file; false if that cannot be.
    bool save(const std::string& path) {
        StateWriter out(path);
        Saving way(out);
        visit(way);
        return out.finish();
    }
    bool restore(const std::string& path) {
        StateReader in(path);
        if (!in.whole()) return false;
        Restoring way(in);
        visit(way);
        return true;
    }

    // A VCD from here on; an empty path ends it.  False if the model was built without.
    bool trace(const std::string& path) {
#if VM_TRACE
        if (vcd_) vcd_->close();
        vcd_.reset();
        if (path.empty()) return true;
        context_.traceEverOn(true);
        vcd_ = std::make_unique<VerilatedVcdC>();
        dut_.trace(vcd_.get(), 99);
        vcd_->open(path.c_str());
        return true;
#else
        return path.empty();
#endif
    }

  private:
    static constexpr unsigned kPatience = 10000;  // cycles for the answer to a register access

    VerilatedContext* context(int argc, char** argv) {
        context_.commandArgs(argc, argv);
        return &context_;
    }

    void settle() {
        dut_.clk = 0;
        dut_.eval();
        dump(0);
    }

    void sample_and_edge() {
        memory.sample(dut_, now);
        if (!dut_.running) return edge();
        const unsigned number = dut_.layer;
        Layer& layer = layers_[number];
        if (number >= used_layers_) {
            used_layers_ = number + 1;
            layer.first = run_cycle_;
        }
        ++layer.causes[dut_.cause % kCauses];
        layer.read_beats += memory.read_beat;
        layer.write_beats += memory.write_beat;
        if (timeline.watches(run_cycle_)) timeline.add(run_cycle_, dut_.cause, dut_.units);
        ++run_cycle_;
        edge();
        for (unsigned i = 0; i < kEvents; ++i) layer.events[i] += dut_.events[i];  // told after it
    }

    template <class Way>
    void visit(Way& way) {
        memory.visit(way);
        timeline.visit(way);
        way(now), way(used_layers_), way(run_cycle_);
        for (unsigned i = 0; i < used_layers_; ++i) way(layers_[i]);
        way.design(dut_);
    }

    void edge() {
        memory.drive(dut_);
        dut_.clk = 1;
        dut_.eval();
        dump(1);
        ++now;
    }

    void dump([[maybe_unused]] unsigned half) {
#if VM_TRACE
        if (vcd_) vcd_->dump(2 * now + half);
#endif
    }

    unsigned delay() { return memory.stall_threshold ? memory.random.next() >> 32 & 7 : 0; }

    void drive_lite_idle() {
        dut_.s_axil_awvalid = dut_.s_axil_wvalid = dut_.s_axil_bready = dut_.s_axil_arvalid = dut_.s_axil_rready = 0;
    }

    bool finish_lite(unsigned answer) {
        drive_lite_idle();
        return answer == 0;
    }

    VerilatedContext context_;
    Vdut dut_;
    std::vector<Layer> layers_;
    unsigned used_layers_ = 0;
    uint64_t run_cycle_ = 0;
#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> vcd_;
#endif
};
