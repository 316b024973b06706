// Runs the compiled design on commands from the standard input: one a line, one line of JSON in answer to each.
//
//   memory LATENCY RATE DUPLEX OUTSTANDING   cycles, bytes a cycle x 256 (0: no limit), half or full, bursts each way
//   stalls PERCENT SEED                      random stalls on every channel
//   image BASE SIZE                          memory of zeros
//   load ADDRESS PATH / dump ADDRESS SIZE PATH
//   fault read|write ADDRESS SIZE / fault none
//   reset CYCLES / step CYCLES
//   write OFFSET VALUE / read OFFSET         registers
//   clear                                    statistics
//   wait LIMIT EVERY                         until the interrupt; a progress line every EVERY cycles (0: none)
//   stats                                    of all layers since `clear`
//   keep SECONDS PATH                        save the simulation while it waits: so often, and at a signal to end
//   restore PATH                             a saved simulation, in place of everything but the faults
//   timeline FIRST LAST MOST                 spans of these cycles of each run to come, so many at most
//   spans PATH                               write them: track, state (32 bits each), start, end (64 bits each)
//   trace [PATH]

#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "bench.hpp"

namespace {

FILE* answers;  // the first standard output; what the design prints goes to the standard error

bool fail(const std::string& text) {
    fprintf(answers, "{\"error\": \"%s\"}\n", text.c_str());
    return false;
}

std::string rest(std::istringstream& words) {
    std::string text;
    std::getline(words >> std::ws, text);
    return text;
}

bool transfer(Memory& memory, uint64_t address, uint64_t size, const std::string& path, bool load) {
    FILE* file = fopen(path.c_str(), load ? "rb" : "wb");
    if (!file) return fail("a file cannot be opened");
    if (load) {
        fseek(file, 0, SEEK_END);
        size = ftell(file);
        rewind(file);
    }
    bool good = memory.inside(address, size);
    if (good && size) good = (load ? fread(memory.at(address), 1, size, file) : fwrite(memory.at(address), 1, size, file)) == size;
    fclose(file);
    return good || fail("the bytes are not all in the memory image, or the file cannot be read or written");
}

// Saves a simulation now and then, and when a signal asks the process to end.
class Keeper {
  public:
    void keep(unsigned seconds, const std::string& path) {
        seconds_ = std::chrono::seconds(seconds);
        path_ = path;
        last_ = Clock::now();
        struct sigaction action {};  // without SA_RESTART: a process that waits for a command ends at once
        action.sa_handler = [](int) { stopped_ = 1; };
        sigaction(SIGINT, &action, nullptr);
        sigaction(SIGTERM, &action, nullptr);
    }
    bool on() const { return !path_.empty(); }
    bool stopped() const { return stopped_; }
    // False if the process shall end.
    bool turn(Bench& bench) {
        if (!on() || (!stopped_ && Clock::now() - last_ < seconds_)) return true;
        bench.save(path_);  // a full disk is no reason to stop
        last_ = Clock::now();
        return !stopped_;
    }

  private:
    using Clock = std::chrono::steady_clock;
    static volatile std::sig_atomic_t stopped_;
    Clock::duration seconds_{};
    Clock::time_point last_{};
    std::string path_;
};
volatile std::sig_atomic_t Keeper::stopped_ = 0;
Keeper keeper;

// Waits in slices, with a line of progress where `every` cycles end.  False if the process was asked to end.
bool wait(Bench& bench, uint64_t limit, uint64_t every) {
    constexpr uint64_t kTurn = 50000;  // cycles from one look at clock and signals to the next
    bool done = false;
    uint64_t next = every;
    for (uint64_t waited = 0; waited < limit && !done && !bench.memory.violated;) {
        uint64_t part = limit - waited;
        if (every && next - waited < part) part = next - waited;
        if (keeper.on() && kTurn < part) part = kTurn;
        done = bench.wait(part);
        waited += part;
        if (done || waited == limit) break;
        if (!keeper.turn(bench)) return fail("the simulation was stopped; it is saved");
        if (waited == next) {
            next += every;
            fprintf(answers, "{\"progress\": %" PRIu64 ", \"layer\": %u}\n", bench.now, bench.running_layer());
            fflush(answers);
        }
    }
    fprintf(answers, "{\"interrupt\": %d, \"cycle\": %" PRIu64 ", \"under_way\": %u", done, bench.now, bench.memory.under_way());
    return true;
}

void print_stats(const Bench& bench) {
    fprintf(answers, "{\"layers\": [");
    for (unsigned i = 0; i < bench.used_layers(); ++i) {
        const Bench::Layer& layer = bench.layer(i);
        fprintf(answers, "%s[", i ? ", " : "");
        for (uint64_t cause : layer.causes) fprintf(answers, "%" PRIu64 ", ", cause);
        for (uint64_t event : layer.events) fprintf(answers, "%" PRIu64 ", ", event);
        fprintf(answers, "%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", layer.read_beats, layer.write_beats, layer.first);
    }
    fprintf(answers, "]");
}

bool write_spans(const Bench& bench, const std::string& path) {
    const std::vector<Timeline::Span> spans = bench.timeline.spans();
    FILE* file = fopen(path.c_str(), "wb");
    const bool good = file && fwrite(spans.data(), sizeof spans[0], spans.size(), file) == spans.size();
    if ((file && fclose(file)) || !good) return fail("the spans cannot be written");
    fprintf(answers, "{\"spans\": %zu, \"end\": %" PRIu64, spans.size(), bench.timeline.end());
    return true;
}

// Prints an answer without its closing brace, or a complete error (false).
bool execute(Bench& bench, const std::string& name, std::istringstream& words) {
    Memory& memory = bench.memory;
    uint64_t a = 0, b = 0;
    std::string text;
    words >> std::setbase(0);
    if (name == "memory") {
        std::string duplex;
        words >> memory.latency >> memory.rate >> duplex >> memory.outstanding;
        memory.half_duplex = duplex == "half";
        if (memory.outstanding < 1 || memory.outstanding > Memory::kSlots) return fail("outstanding bursts: 1 to 64");
    } else if (name == "stalls") {
        words >> a >> b;
        memory.stall_threshold = unsigned(a * 256 / 100);
        memory.random.seed(b);
    } else if (name == "image") {
        words >> a >> b;
        memory.image(a, b);
    } else if (name == "load") {
        words >> a;
        if (!transfer(memory, a, 0, rest(words), true)) return false;
    } else if (name == "dump") {
        words >> a >> b;
        if (!transfer(memory, a, b, rest(words), false)) return false;
    } else if (name == "fault") {
        words >> text >> a >> b;
        if (text == "none") memory.faults.clear();
        else memory.faults.push_back({text == "write", a, a + b - 1});
    } else if (name == "reset") {
        words >> a;
        bench.reset(unsigned(a));
    } else if (name == "step") {
        words >> a;
        bench.step(a);
    } else if (name == "write") {
        words >> a >> b;
        if (!bench.write(unsigned(a), uint32_t(b)) && !memory.violated) return fail("a register write was refused");
    } else if (name == "read") {
        uint32_t value = 0;
        words >> a;
        if (!bench.read(unsigned(a), value) && !memory.violated) return fail("a register read was refused");
        fprintf(answers, "{\"value\": %u, \"cycle\": %" PRIu64, value, bench.now);
        return true;
    } else if (name == "clear") {
        bench.clear();
    } else if (name == "wait") {
        words >> a >> b;
        return wait(bench, a, b);
    } else if (name == "keep") {
        words >> a;
        keeper.keep(unsigned(a), rest(words));
    } else if (name == "restore") {
        if (!bench.restore(rest(words))) return fail("the saved simulation is not complete");
    } else if (name == "timeline") {
        uint64_t most = 0;
        words >> a >> b >> most;
        bench.timeline.watch(a, b, most);
    } else if (name == "spans") {
        return write_spans(bench, rest(words));
    } else if (name == "stats") {
        print_stats(bench);
        return true;
    } else if (name == "trace") {
        if (!bench.trace(rest(words))) return fail("the model was built without trace");
    } else {
        return fail("there is no such command");
    }
    fprintf(answers, "{\"cycle\": %" PRIu64, bench.now);
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // do not outlive the program that asked
    answers = fdopen(dup(STDOUT_FILENO), "w");
    dup2(STDERR_FILENO, STDOUT_FILENO);
    Bench bench(argc, argv);  // +verilator+seed+N and the like
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string name;
        if (!(words >> name)) continue;
        if (execute(bench, name, words)) {
            if (bench.memory.violated) fprintf(answers, ", \"violation\": \"%s\"", bench.memory.violation.c_str());
            fprintf(answers, "}\n");
        }
        fflush(answers);
        if (keeper.stopped()) break;
    }
    return 0;
}
