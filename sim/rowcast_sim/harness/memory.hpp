// AXI4 memory: latency, bandwidth, stalls and errors on one side, the rules of the protocol on the other.
//
// Everything the model drives comes from its own state: `sample` looks at the design just before a clock edge, `drive`
// sets the inputs that the design sees from that edge on.

#pragma once

#include <array>
#include <cinttypes>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "Vdut.h"

// xorshift64*: one number a cycle is enough for all channels.
class Random {
  public:
    void seed(uint64_t value) { state_ = value * 0x9E3779B97F4A7C15ull | 1; }
    uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545F4914F6CDD1Dull;
    }

  private:
    uint64_t state_ = 1;
};

class Memory {
  public:
    static constexpr unsigned kBytes = sizeof(std::declval<Vdut&>().m_axi_wdata);  // of a beat
    static constexpr unsigned kSlots = 64;                                          // bursts under way, at most

    // Settings, free to change between any two cycles.
    uint64_t latency = 20;          // cycles from an address's handshake to its first beat; from a last beat to its answer
    uint64_t rate = 0;              // bytes a cycle, in 1/256; 0: no limit
    bool half_duplex = false;       // reads and writes share `rate`
    unsigned outstanding = 16;      // bursts taken before the first is answered, each way
    unsigned stall_threshold = 0;   // of 256: how often a channel does nothing for a cycle
    Random random;
    struct Fault {
        bool write;
        uint64_t first, last;
    };
    std::vector<Fault> faults;

    // What a cycle did, for the statistics; what went wrong first.
    bool read_beat = false, write_beat = false;
    bool violated = false;
    std::string violation;

    void image(uint64_t base, uint64_t size) {
        base_ = base;
        bytes_.assign(size, 0);
    }
    bool inside(uint64_t address, uint64_t size) const {
        return address >= base_ && size <= bytes_.size() && address - base_ <= bytes_.size() - size;
    }
    uint8_t* at(uint64_t address) { return bytes_.data() + (address - base_); }
    unsigned under_way() const { return unsigned(read_tail_ - read_head_ + write_tail_ - write_answered_); }

    // Called between the settled logic and the clock edge.
    void sample(Vdut& dut, uint64_t now) {
        refill();
        const uint64_t dice = stall_threshold ? random.next() : 0;
        read_beat = write_beat = false;
        if (dut.m_axi_arvalid | ar_waits_) sample_ar(dut, now);
        if (dut.m_axi_awvalid | aw_waits_) sample_aw(dut);
        if (dut.m_axi_wvalid | w_waits_) sample_w(dut, now);
        sample_r(dut, now, stalls(dice, 0));
        sample_b(dut, now, stalls(dice, 1));
        ar_ready_ = read_tail_ - read_head_ < outstanding && !stalls(dice, 2);
        aw_ready_ = write_tail_ - write_answered_ < outstanding && !stalls(dice, 3);
        w_ready_ = write_received_ != write_tail_ && affordable(write_budget()) && !stalls(dice, 4);
    }

    // Called before the clock edge, for after it.
    void drive(Vdut& dut) const {
        dut.m_axi_arready = ar_ready_;
        dut.m_axi_awready = aw_ready_;
        dut.m_axi_wready = w_ready_;
        dut.m_axi_rvalid = r_valid_;
        dut.m_axi_bvalid = b_valid_;
        if (r_valid_) {
            std::memcpy(&dut.m_axi_rdata, r_data_, kBytes);
            dut.m_axi_rlast = r_last_;
            dut.m_axi_rresp = r_resp_;
            dut.m_axi_rid = r_id_;
        }
        if (b_valid_) {
            dut.m_axi_bresp = b_resp_;
            dut.m_axi_bid = b_id_;
        }
    }

    // During reset: nothing may be valid, and nothing is answered.
    void sample_reset(Vdut& dut) {
        if (dut.m_axi_arvalid | dut.m_axi_awvalid | dut.m_axi_wvalid) violate("valid during reset");
        read_head_ = read_tail_ = read_beat_ = write_tail_ = write_received_ = write_answered_ = write_beat_ = 0;
        ar_ready_ = aw_ready_ = w_ready_ = r_valid_ = b_valid_ = ar_waits_ = aw_waits_ = w_waits_ = false;
    }

    // Everything but the faults; `way` saves or restores.
    template <class Way>
    void visit(Way& way) {
        way(latency), way(rate), way(half_duplex), way(outstanding), way(stall_threshold), way(random);
        way(base_), way(bytes_), way(budget_), way(reads_);
        for (Write& write : writes_) way(write.a), way(write.ready_at), way(write.data), way(write.strobes);
        way(read_head_), way(read_tail_), way(write_answered_), way(write_received_), way(write_tail_);
        way(read_beat_), way(write_beat_), way(ar_before_), way(aw_before_), way(w_before_);
        way(ar_waits_), way(aw_waits_), way(w_waits_), way(ar_ready_), way(aw_ready_), way(w_ready_);
        way(r_valid_), way(r_last_), way(b_valid_), way(r_resp_), way(r_id_), way(b_resp_), way(b_id_), way(r_data_);
    }

    void violate(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        if (violated) return;
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        violated = true;
        violation = text;
    }

  private:
    struct Address {
        uint64_t address;
        unsigned length, size, burst, id;
        bool operator==(const Address& o) const {
            return address == o.address && length == o.length && size == o.size && burst == o.burst && id == o.id;
        }
    };
    struct Read {
        Address a;
        uint64_t ready_at;
    };
    struct Write {
        Address a;
        uint64_t ready_at;
        std::vector<uint8_t> data;      // held until the answer: a manager that does not wait for it reads old data
        std::vector<uint64_t> strobes;
    };
    struct Beat {
        uint8_t data[kBytes];
        uint64_t strobe;
        bool last;
    };

    bool stalls(uint64_t dice, int channel) const { return (dice >> (8 * channel) & 255) < stall_threshold; }

    void refill() {
        if (!rate) return;
        const int64_t most = int64_t(rate) + kBytes * 256;  // at most one beat in hand beside what a cycle adds
        for (int64_t& budget : budget_) budget = budget + int64_t(rate) > most ? most : budget + int64_t(rate);
    }
    int64_t& write_budget() { return budget_[half_duplex ? 0 : 1]; }
    bool affordable(int64_t budget) const { return !rate || budget >= int64_t(kBytes) * 256; }
    void pay(int64_t& budget) const {
        if (rate) budget -= int64_t(kBytes) * 256;
    }

    void check_address(const char* what, const Address& a) {
        const uint64_t first = a.address & ~uint64_t(kBytes - 1), size = uint64_t(a.length + 1) * kBytes;
        if (1u << a.size != kBytes) violate("%s: size %u, but a beat has %u bytes", what, a.size, kBytes);
        if (a.burst != 1) violate("%s: burst type %u, only INCR is served", what, a.burst);
        if ((first & 4095) + size > 4096) violate("%s: %" PRIu64 " bytes at 0x%" PRIx64 " cross 4 KiB", what, size, a.address);
        if (!inside(first, size)) violate("%s: %" PRIu64 " bytes at 0x%" PRIx64 " are outside the memory", what, size, a.address);
    }

    // A valid that meets no ready must stay, with its payload, until it does.
    void check_stable(const char* what, bool waits, bool valid, bool equal) {
        if (!waits) return;
        if (!valid) violate("%s: valid withdrawn before ready", what);
        else if (!equal) violate("%s: payload changed before ready", what);
    }

    void sample_ar(Vdut& dut, uint64_t now) {
        const Address a{dut.m_axi_araddr, dut.m_axi_arlen, dut.m_axi_arsize, dut.m_axi_arburst, dut.m_axi_arid};
        check_stable("AR", ar_waits_, dut.m_axi_arvalid, a == ar_before_);
        ar_waits_ = dut.m_axi_arvalid && !ar_ready_;
        ar_before_ = a;
        if (!dut.m_axi_arvalid || !ar_ready_) return;
        check_address("AR", a);
        reads_[read_tail_++ % kSlots] = {a, now + latency};
    }

    void sample_aw(Vdut& dut) {
        const Address a{dut.m_axi_awaddr, dut.m_axi_awlen, dut.m_axi_awsize, dut.m_axi_awburst, dut.m_axi_awid};
        check_stable("AW", aw_waits_, dut.m_axi_awvalid, a == aw_before_);
        aw_waits_ = dut.m_axi_awvalid && !aw_ready_;
        aw_before_ = a;
        if (!dut.m_axi_awvalid || !aw_ready_) return;
        check_address("AW", a);
        Write& write = writes_[write_tail_++ % kSlots];
        write.a = a;
        write.data.resize(size_t(a.length + 1) * kBytes);
        write.strobes.resize(a.length + 1);
    }

    void sample_w(Vdut& dut, uint64_t now) {
        Beat beat;
        std::memcpy(beat.data, &dut.m_axi_wdata, kBytes);
        beat.strobe = dut.m_axi_wstrb;
        beat.last = dut.m_axi_wlast;
        const bool equal = beat.strobe == w_before_.strobe && beat.last == w_before_.last &&
                           !std::memcmp(beat.data, w_before_.data, kBytes);
        check_stable("W", w_waits_, dut.m_axi_wvalid, equal);
        w_waits_ = dut.m_axi_wvalid && !w_ready_;
        w_before_ = beat;
        if (!dut.m_axi_wvalid || !w_ready_) return;
        write_beat = true;
        pay(write_budget());
        Write& write = writes_[write_received_ % kSlots];
        std::memcpy(&write.data[write_beat_ * kBytes], beat.data, kBytes);
        write.strobes[write_beat_] = beat.strobe;
        const bool last = write_beat_ == write.a.length;
        if (last != beat.last) violate("W: last is %d on beat %u of %u", beat.last, write_beat_ + 1, write.a.length + 1);
        ++write_beat_;
        if (last) {
            write.ready_at = now + latency;
            write_beat_ = 0;
            ++write_received_;
        }
    }

    void sample_r(Vdut& dut, uint64_t now, bool stall) {
        if (r_valid_ && dut.m_axi_rready) {
            r_valid_ = false;
            read_beat = true;
            if (r_last_) {
                read_beat_ = 0;
                ++read_head_;
            } else {
                ++read_beat_;
            }
        }
        if (r_valid_ || read_head_ == read_tail_ || stall || !affordable(budget_[0])) return;
        const Read& read = reads_[read_head_ % kSlots];
        if (now + 1 < read.ready_at) return;
        const uint64_t address = (read.a.address & ~uint64_t(kBytes - 1)) + uint64_t(read_beat_) * kBytes;
        if (!inside(address, kBytes)) return;  // reported already
        pay(budget_[0]);
        std::memcpy(r_data_, at(address), kBytes);
        r_valid_ = true;
        r_last_ = read_beat_ == read.a.length;
        r_resp_ = faulty(false, address, kBytes) ? 2 : 0;
        r_id_ = read.a.id;
    }

    void sample_b(Vdut& dut, uint64_t now, bool stall) {
        if (b_valid_ && dut.m_axi_bready) {
            b_valid_ = false;
            ++write_answered_;
        }
        if (b_valid_ || write_answered_ == write_received_ || stall) return;
        const Write& write = writes_[write_answered_ % kSlots];
        if (now + 1 < write.ready_at) return;
        const uint64_t address = write.a.address & ~uint64_t(kBytes - 1), size = write.data.size();
        if (!inside(address, size)) return;  // reported already
        for (size_t i = 0; i < size; ++i)
            if (write.strobes[i / kBytes] >> (i % kBytes) & 1) *at(address + i) = write.data[i];
        b_valid_ = true;
        b_resp_ = faulty(true, address, size) ? 2 : 0;
        b_id_ = write.a.id;
    }

    bool faulty(bool write, uint64_t address, uint64_t size) const {
        for (const Fault& fault : faults)
            if (fault.write == write && address <= fault.last && address + size > fault.first) return true;
        return false;
    }

    uint64_t base_ = 0;
    std::vector<uint8_t> bytes_;
    std::array<int64_t, 2> budget_{};

    // Bursts in rings; the counters only grow.
    std::array<Read, kSlots> reads_;
    std::array<Write, kSlots> writes_;
    uint64_t read_head_ = 0, read_tail_ = 0;
    uint64_t write_answered_ = 0, write_received_ = 0, write_tail_ = 0;
    unsigned read_beat_ = 0, write_beat_ = 0;

    Address ar_before_{}, aw_before_{};
    Beat w_before_{};
    bool ar_waits_ = false, aw_waits_ = false, w_waits_ = false;
    bool ar_ready_ = false, aw_ready_ = false, w_ready_ = false;
    bool r_valid_ = false, r_last_ = false, b_valid_ = false;
    unsigned r_resp_ = 0, r_id_ = 0, b_resp_ = 0, b_id_ = 0;
    uint8_t r_data_[kBytes];
};
